"""The documents: written from cards, declarations and recorded verdicts, and up to date."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from common.claims import judge_paper
from common.papers import projects_root, slugs
from common.reports import pages
from common.results import write_json

ROOT = projects_root().parent
README = ROOT / "README.md"
DOCUMENTS = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def name(path):
    return str(path.relative_to(ROOT))


def test_committed_pages_are_up_to_date():
    for path, text in pages.pages().items():
        assert path.read_text(encoding="utf-8") == text, (
            f"{name(path)} is older than what it is written from: reprise verdicts --write-docs"
        )


def test_every_page_is_of_a_paper():
    assert [path.stem for path in sorted((ROOT / "docs/papers").glob("*.md"))] == slugs()


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_links_lead_somewhere(path):
    tokens = MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8"))
    links = [
        child.attrs.get("href") or child.attrs.get("src")
        for token in tokens
        for child in token.children or ()
        if child.type in ("link_open", "image")
    ]
    for link in map(urlsplit, links):
        if not link.scheme and link.path:
            assert (path.parent / unquote(link.path)).exists(), f"{name(path)}: {link.path}"


def test_example_of_the_readme_prints_what_it_says(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        *lines, last = block.strip().splitlines()
        assert len(lines) <= 15
        code, _, printed = last.partition("  # ")
        exec("\n".join([*lines, code]), {})
        assert capsys.readouterr().out.strip() == printed


# -- on toy papers -------------------------------------------------------------------------


@pytest.fixture
def house(shelf, entry):
    """A README and two papers with cards, one with recorded verdicts."""
    (shelf.root.parent / "README.md").write_text(
        "top\n<!-- scorecard -->\nold\n<!-- /scorecard -->\nend\n"
    )
    (shelf.root.parent / "docs").mkdir()
    (shelf.root.parent / "docs/guide.md").write_text("# A guide\n\nText.\n")
    for slug in ("other", "toy"):
        folder = shelf.write(slug, claims=[entry(title="A | claim"), entry(id="new")])
        (folder / "README.md").write_text(
            f"# Card of {slug}\n[code](method.py) [data](../../data.yaml) [web](https://a.b)\n"
            "<!-- verdicts -->\nkept\n<!-- /verdicts -->\n"
        )
    place = {"size": "quick", "target": "cpu", "claim": "a-claim"}
    recorded = [
        {**place, "data": "original", "verdict": "weaker"},
        {**place, "data": "synthetic", "verdict": "consistent"},
        {**place, "data": "synthetic", "target": "gpu", "verdict": "error"},
    ]
    write_json(shelf.root / "toy/recorded/verdicts.json", recorded)
    return shelf.root.parent


def test_recorded_verdict_on_the_best_data_counts(house):
    assert pages.recorded_verdicts("toy") == {
        "quick cpu": {"a-claim": "weaker"},
        "quick gpu": {"a-claim": "error"},
    }
    assert pages.recorded_verdicts("other") == {}


def test_readme_counts_recorded_verdicts(house):
    text = pages.pages()[house / "README.md"]
    assert text.startswith("top\n") and text.endswith("\nend\n") and "old" not in text
    assert "| [toy](projects/toy/README.md#claims-and-verdicts) | 2 | 1 | 1 |" in text
    assert "| [other](projects/other/README.md#claims-and-verdicts) | 2 |  | 2 |" in text


def test_page_of_a_paper_holds_its_card_and_its_claims(house):
    page = pages.paper_page("toy")
    assert "[code](../../projects/toy/method.py)" in page
    assert "[data](../../data.yaml)" in page and "[web](https://a.b)" in page
    assert r"| A \| claim | It holds. | section 1 | value | ≥ 1 | ↓ weaker | ! error |" in page
    assert "| `speed` | Speed | smoke, quick, full | cpu, gpu | – |" in page
    assert "kept" in page and "\n\n\n" not in page


def test_index_leads_to_papers_and_guides(house):
    index = pages.pages()[house / "docs/index.md"]
    assert "[toy](papers/toy.md)" in index and "- **A guide:** [guide.md](guide.md)" in index


def test_cards_get_the_scorecards_of_judged_papers_alone(house, lay, table, tmp_path):
    lay(tmp_path, table({"ours": [2.0, 3.0]}))
    written = pages.write_docs(judge_paper(tmp_path, "quick", "cpu", "toy"))
    cards = {slug: (house / "projects" / slug / "README.md").read_text() for slug in slugs()}
    assert "2.5 [2, 3]" in cards["toy"] and "kept" not in cards["toy"]
    assert "kept" in cards["other"]
    assert "2.5 [2, 3]" in (house / "docs/papers/toy.md").read_text()
    assert all(Path(path).is_file() for path in written)
    assert pages.pages() == {path: path.read_text() for path in pages.pages()}


@given(st.text(), st.text())
def test_block_is_replaced_and_nothing_else(before, after):
    text = f"{before}<!-- x -->\nold\n<!-- /x -->{after}"
    if "<!-- x -->" in before:
        return
    once = pages.write_block(text, "x", "new\n")
    assert once == f"{before}<!-- x -->\nnew\n<!-- /x -->{after}"
    assert pages.write_block(once, "x", "new") == once


@pytest.mark.parametrize("text", ["", "<!-- x -->", "<!-- /x --><!-- x -->"])
def test_text_without_the_block(text):
    with pytest.raises(ValueError, match="no block <!-- x -->"):
        pages.write_block(text, "x", "new")
