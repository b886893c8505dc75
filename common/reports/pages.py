"""The documents of the repository that are written from cards, declarations and verdicts.

A card gets its scorecard from freshly judged verdicts. Everything else is written from what is
committed: the README's scorecard from the recorded verdicts, ``docs/papers/<slug>.md`` from the
paper's card, ``paper.yaml`` and ``claims.yaml``, ``docs/index.md`` from all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from common import scorecard
from common.claims import Verdict
from common.papers import SIZES, TARGETS, load_claims, load_paper, projects_root, slugs
from common.plotting import VERDICT_SYMBOLS
from common.reports.card import relink
from common.reports.render import environment, escape_markdown, tidy
from common.results import DATA_LABELS, read_json, write_bytes
from common.verify import recorded_path

# What the README's scorecard counts.
SHOWN = ("quick", "cpu")
UNTESTED = "untested"
Recorded = dict[str, dict[str, str]]


def write_docs(verdicts: Sequence[Verdict]) -> list[Path]:
    """Write the scorecards of the judged papers into their cards, then all derived pages."""
    written = []
    for slug in dict.fromkeys(verdict.paper for verdict in verdicts):
        own = [verdict for verdict in verdicts if verdict.paper == slug]
        path = load_paper(slug).path("README.md")
        text = path.read_text(encoding="utf-8")
        write_bytes(path, write_block(text, "verdicts", scorecard.as_markdown(own)).encode())
        written.append(path)
    for path, text in pages().items():
        write_bytes(path, text.encode())
        written.append(path)
    return written


def pages() -> dict[Path, str]:
    """Text of every derived page, from the committed files alone."""
    root = projects_root().parent
    readme = root / "README.md"
    counts = {slug: _shown(slug) for slug in slugs()}
    overview = write_block(
        readme.read_text(encoding="utf-8"), "scorecard", scorecard.as_overview(counts)
    )
    papers = {root / f"docs/papers/{slug}.md": paper_page(slug) for slug in slugs()}
    return {readme: overview, root / "docs/index.md": index_page(root / "docs"), **papers}


def paper_page(slug: str) -> str:
    """Page of one paper: its card, then what it declares, claim by claim."""
    paper, recorded = load_paper(slug), recorded_verdicts(slug)
    card = paper.path("README.md").read_text(encoding="utf-8").strip()
    renderer = environment(escape=False)
    renderer.filters |= {
        "md": escape_markdown,
        "symbol": lambda name: f"{VERDICT_SYMBOLS[name]} {name}" if name else "",
        "claim_range": scorecard.claim_range,
    }
    page = renderer.get_template("paper.md.j2").render(
        paper=paper,
        card=relink(card, lambda link: _from_docs(slug, link)),
        claims=load_claims(slug),
        recorded=recorded,
        places=list(recorded),
    )
    return tidy(page)


def index_page(docs: Path) -> str:
    """Page that leads to all others."""
    groups: dict[str, list[object]] = {}
    for slug in slugs():
        paper = load_paper(slug)
        groups.setdefault(paper.group, []).append(paper)
    guides = {path.name: _title(path) for path in sorted(docs.glob("*.md"))}
    guides.pop("index.md", None)
    renderer = environment(escape=False)
    renderer.filters |= {"md": escape_markdown}
    template = renderer.get_template("index.md.j2")
    return tidy(template.render(groups=dict(sorted(groups.items())), guides=guides))


def recorded_verdicts(slug: str) -> Recorded:
    """Recorded verdicts of a paper: for each place, such as "quick cpu", claim to verdict.

    A claim that is recorded on several kinds of data counts on the best of them, as it is judged.
    """
    path = recorded_path(slug)
    found: Recorded = {f"{size} {target}": {} for size in SIZES for target in TARGETS}
    # The best label comes last and stays.
    for entry in sorted(read_json(path) if path.exists() else [], key=_trust):
        found[f"{entry['size']} {entry['target']}"][entry["claim"]] = entry["verdict"]
    return {place: verdicts for place, verdicts in found.items() if verdicts}


def write_block(text: str, name: str, content: str) -> str:
    """Replace a generated block between ``<!-- name -->`` and ``<!-- /name -->`` in a text.

    Raises
    ------
    ValueError
        If the text has no such block.
    """
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"no block {begin} ... {end}")
    return f"{before}{begin}\n{content.strip()}\n{end}{after}"


def _shown(slug: str) -> list[str]:
    recorded = recorded_verdicts(slug).get(" ".join(SHOWN), {})
    return [recorded.get(claim.id, UNTESTED) for claim in load_claims(slug)]


def _trust(entry: dict[str, str]) -> int:
    labels = (*DATA_LABELS, "")
    return -labels.index(entry["data"])


def _from_docs(slug: str, link: str) -> str:
    """A link of a paper's card, as seen from ``docs/papers``."""
    parts: list[str] = []
    for part in PurePosixPath("projects", slug, link).parts:
        if part == ".." and parts:
            parts.pop()
        else:
            parts.append(part)
    return "/".join(("..", "..", *parts))


def _title(path: Path) -> str:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("# ").strip()
