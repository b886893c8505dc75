"""Reports and crates: complete, escaped, self-contained, and readable by others."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from typer.testing import CliRunner

from common import cli
from common.claims import judge_paper
from common.errors import ConfigError
from common.reports import gather, write_report
from common.reports.card import sections
from common.reports.crate import CRATE, crate
from common.reports.render import as_html, as_markdown, card_html, escape_markdown

EVIL = '</p><script>alert("1")</script> | [x](javascript:alert(1)) `'
PNG = b"\x89PNG\r\n\x1a\n not a whole image"
CARD = """\
# A card
## Use it
```python
## not a heading
```
## Claims and verdicts
<!-- verdicts -->
| generated |
<!-- /verdicts -->
Why it came out so, see [the recipe](recipe.py).
## Deviations
| option | default |
| --- | --- |
| `x` | <b>1</b> |
## Data and licences
CC0, <https://example.org/data>.
"""
DATASETS = {
    "numbers": {
        "title": f"Numbers {EVIL}",
        "label": "original",
        "source": "mirror",
        "sha256": {f"{i}.csv": "ab" * 32 for i in range(9)},
        "licence": "CC0",
        "citation": "Someone 2020",
        "url": "javascript:alert(1)",
    },
    "made here": {"label": "synthetic", "source": "generator", "description": "drawn"},
    "log": {"label": "substitute", "source": "recorded", "sha256": "cd" * 32},
}
MEASURED = {
    "region": "fit",
    "quantity": "wall_time",
    "total": 1.5,
    "unit": "s",
    "count": 3,
    "meter": "clock",
    "measurement": "measured",
}


@pytest.fixture
def tree(shelf, lay, table, entry, tmp_path):
    """Results of a toy paper at size quick, judged and drawn."""
    figure = {"title": "A figure", "caption": f"What {EVIL} shows.", "experiments": ["speed"]}
    folder = shelf.write(
        claims=[entry(statement=EVIL, paper={"value": 2, "unit": "ms"}), entry(id="other")],
        figures={"line": figure, "lost": {**figure, "title": "A lost figure"}},
        authors=["A. Author", "B. Author"],
    )
    (folder / "README.md").write_text(CARD)
    root = tmp_path / "results"
    done = lay(
        root,
        table({"ours": [2.0, 3.0, 2.5]}),
        datasets=DATASETS,
        measurements=[MEASURED],
        versions={"numpy": "2.0"},
        config={"n": 4, "text": EVIL},
        skipped=[{"variant": v, "reason": f"slow {EVIL}"} for v in ("svm", "knn")],
        stand_ins={"other data": EVIL},
    )
    for name in ("figures/line.png", "logs/run.log", "figures/.hidden", "data.txt"):
        path = done.path.parent / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(PNG)
    judge_paper(root, "quick", "cpu", "toy")
    return root


class Page(HTMLParser):
    """Tags, addresses and visible text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.words = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]
        self.addresses += [value for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def test_page_needs_no_other_file_and_executes_nothing(tree):
    page = Page(as_html(gather(tree, "quick", "cpu", "toy")))
    assert not page.tags & {"script", "link", "iframe", "object"}
    assert not [a for a in page.addresses if not re.match(r"(https?://|#|data:image/png;)", a)]
    (image,) = [a for a in page.addresses if a.startswith("data:")]
    assert base64.b64decode(image.partition(",")[2]) == PNG


def text_of_markdown(text):
    return Page(MarkdownIt("commonmark", {"html": True}).enable("table").render(text)).text


@pytest.mark.parametrize("kind", ["html", "markdown"])
def test_report_says_everything(tree, kind):
    report = gather(tree, "quick", "cpu", "toy")
    markdown = as_markdown(report, report.folder)
    text = Page(as_html(report)).text if kind == "html" else text_of_markdown(markdown)
    for words in (
        *("The toy paper", "A. Author, B. Author", "TOYCONF 2020", "It does little."),
        *("2 claims", "A claim", "section 1", "2 ms", "2.5 [2, 3]", "≥ 1", "n = 3"),
        *("original data, measured", "A figure", "A lost figure", "Not drawn"),
        *("Why it came out so, see the recipe", "<b>1</b>" if kind == "html" else "1", "CC0"),
        *("c" * 40, "a machine", "numpy 2.0", "9 files", "cd" * 32, "Someone 2020"),
        *("fit wall time", "1.5 s in 3 readings", "clock", "svm; knn", "generator", "drawn"),
        *("speed ran without the data other data", "0123456789abcdef", "javascript:alert(1)"),
    ):
        assert words in text, words
    assert text.count('<script>alert("1")</script>') >= 5  # as text
    assert "not a heading" not in text and "generated |" not in text


def test_markdown_links_its_figures_from_where_it_stands(tree, tmp_path):
    out = tmp_path / "a folder" / "reports"
    text = as_markdown(gather(tree, "quick", "cpu", "toy"), out)
    ((address),) = re.findall(r"!\[A figure\]\((.*)\)", text)
    out.mkdir(parents=True)
    assert Path(os.path.normpath(out / unquote(address))).read_bytes() == PNG


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
@example("1 < 2 & 3 > 2 &amp; *a* _b_ ~~c~~ $d$ | `e` [f](g) ![h](i) <https://j> \\ \\*")
def test_escaped_text_comes_back_from_markdown(text):
    rendered = MarkdownIt("commonmark", {"html": True}).render(f"x {escape_markdown(text)} x")
    assert html.unescape(rendered) == f"<p>x {' '.join(text.split())} x</p>\n"


def test_card_shows_html_and_fetches_nothing():
    rendered = card_html("<img src=x> ![y](https://example.org/y.png) [z](javascript:z)")
    assert not Page(rendered).tags & {"img", "script"}
    assert [a for a in Page(rendered).addresses if not a.startswith("https://")] == []


def test_headings_in_code_are_no_sections():
    assert list(sections(CARD)) == ["", "Use it", *list(sections(CARD))[2:]]
    assert "## not a heading" in sections(CARD)["Use it"]


def test_what_is_missing_or_mixed_is_said(shelf, lay, table, tmp_path):
    names = ("done", "broken", "unreadable", "never", "elsewhere")
    shelf.write(experiments={name: {"title": name, "sizes": {"quick": None}} for name in names})
    frame = table({"ours": [1.0]})
    lay(tmp_path, frame, experiment="done", git={"commit": "a" * 40, "dirty": True})
    lay(tmp_path, frame, experiment="broken", status="failed", reason="no luck")
    lay(tmp_path, frame, experiment="elsewhere", machine={"id": "b", "label": "another"})
    record = lay(tmp_path, frame, experiment="unreadable").path / "run.json"
    record.write_text("{")
    report = gather(tmp_path, "quick", "cpu", "toy")
    notes = "\n".join(report.notes)
    for words in ("broken: failed: no luck", "never: not run", "different commits"):
        assert words in notes
    assert "different machines" in notes and "changes in the checkout" in notes
    assert re.search("unreadable: its record cannot be read .*not valid JSON", notes)
    assert f"{'a' * 40}, with local changes" in report.commits
    assert not report.remarks  # no card, no remarks
    assert all(part.title in as_html(report) for part in report.parts)


def test_verdicts_older_than_a_run_are_judged_again(tree, lay, table):
    lay(tree, table({"ours": [0.0, 0.1]}))
    os.utime(tree / "quick/cpu/toy/verdicts.json", (0, 0))
    assert [v.verdict for v in gather(tree, "quick", "cpu", "toy").verdicts] == [
        "not reproduced",
        "not reproduced",
    ]


def test_verdicts_of_other_claims_are_judged_again(tree, shelf, entry):
    shelf.write(claims=[entry(id="new")])
    assert [v.claim for v in gather(tree, "quick", "cpu", "toy").verdicts] == ["new"]


def test_without_results_the_command_that_makes_them_is_named(shelf, tmp_path):
    shelf.add()
    with pytest.raises(ConfigError, match="reprise run toy --size full --target gpu"):
        write_report(tmp_path, "full", "gpu", "toy")
    with pytest.raises(ConfigError, match="unknown paper 'tou'; did you mean 'toy'"):
        write_report(tmp_path, "full", "gpu", "tou")


def test_command_writes_the_papers_that_have_results(tree, shelf, tmp_path):
    shelf.write("other")
    out = tmp_path / "out"
    done = CliRunner().invoke(cli.app, ["report", "--results", str(tree), "--out", str(out)])
    assert done.exit_code == 0, done.output
    written = [Path(line) for line in done.output.split()]
    assert written == [
        out / "toy/report.html",
        out / "toy/report.md",
        tree / "quick/cpu/toy" / CRATE,
    ]
    assert all(path.is_file() for path in written)
    missing = CliRunner().invoke(cli.app, ["report", "other", "--results", str(tree)])
    assert isinstance(missing.exception, ConfigError)


# -- the crate -----------------------------------------------------------------------------


def test_crate_is_read_by_another_library(tree):
    from rocrate.rocrate import ROCrate

    folder = tree / "quick/cpu/toy"
    write_report(tree, "quick", "cpu", "toy")
    read = ROCrate(folder)
    root = read.root_dataset
    assert "The toy paper" in root["name"] and root["license"].id.endswith("Apache-2.0")
    assert root["citation"].type == "ScholarlyArticle"
    assert [person["name"] for person in root["citation"]["author"]] == ["A. Author", "B. Author"]

    files = {entity.id: entity for entity in read.data_entities if entity.type == "File"}
    assert set(files) == {
        *("data.txt", "verdicts.json", "report.html", "report.md", "figures/line.png"),
        *("speed/run.json", "speed/observations.parquet"),
    }
    for name, entity in files.items():
        content = (folder / name).read_bytes()
        assert entity["contentSize"] == str(len(content))
        assert entity["sha256"] == hashlib.sha256(content).hexdigest()
    assert EVIL in files["figures/line.png"]["description"]

    (action,) = [e for e in read.get_entities() if e.type == "CreateAction"]
    assert (action["startTime"], action["endTime"]) == (
        "2020-01-01T00:00:00+00:00",
        "2020-01-01T00:00:01+00:00",
    )
    assert "c" * 40 in action["instrument"]["softwareVersion"]
    assert {item.id for item in action["result"]} == {f for f in files if f.startswith("speed/")}
    assert {item["name"] for item in action["object"]} == {
        DATASETS["numbers"]["title"],
        "made here",
        "log",
    }


def references(value):
    if isinstance(value, dict):
        yield from [value["@id"]] if set(value) == {"@id"} else references(list(value.values()))
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_crate_names_known_terms_and_no_thing_that_it_does_not_describe(tree):
    import rocrate

    content = crate(gather(tree, "quick", "cpu", "toy"))
    graph = {entity["@id"]: entity for entity in content["@graph"]}
    assert len(graph) == len(content["@graph"])
    outside = {"https://w3id.org/ro/crate/1.1"}
    assert set(references(content["@graph"])) <= set(graph) | outside
    context = Path(rocrate.__file__).parent / "data/ro-crate.jsonld"
    terms = json.loads(context.read_text())["@context"]
    terms = (
        set().union(*(part for part in terms if isinstance(part, dict)))
        if isinstance(terms, list)
        else set(terms)
    )
    for entity in graph.values():
        assert set(entity) - {"@id", "@type"} <= terms
        assert entity["@type"] in terms


def test_failed_run_is_a_failed_action(shelf, lay, table, tmp_path):
    shelf.add()
    lay(tmp_path, table({"ours": [1.0]}), status="failed", reason="no luck")
    graph = crate(gather(tmp_path, "quick", "cpu", "toy"))["@graph"]
    (action,) = [entity for entity in graph if entity["@type"] == "CreateAction"]
    assert action["actionStatus"].endswith("FailedActionStatus") and action["error"] == "no luck"
