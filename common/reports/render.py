"""A report as HTML in one file, and as Markdown beside its figures."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import common
from common import scorecard
from common.plotting import VERDICT_COLOURS, VERDICT_SYMBOLS
from common.reports.content import Report, commit
from common.results import Measured, RunRecord

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent
# More digests than these are left to run.json, which holds all.
MOST_DIGESTS = 4


def as_html(report: Report) -> str:
    """One file that needs no other: figures inlined, foreign text escaped."""
    renderer = environment(escape=True)
    renderer.filters |= {"figure": data_uri, "markdown": card_html}
    return _render(renderer, "report.html.j2", report)


def as_markdown(report: Report, folder: Path) -> str:
    """Markdown for a file in ``folder``; figures are linked from there."""

    def figure(path: Path) -> str:
        return quote(Path(os.path.relpath(path, folder)).as_posix())

    renderer = environment(escape=False)
    renderer.filters |= {"figure": figure, "md": escape_markdown}
    return tidy(_render(renderer, "report.md.j2", report))


def escape_markdown(text: Any) -> str:
    r"""Text that means nothing to Markdown, on one line.

    Examples
    --------
    >>> print(escape_markdown("<b>|x|</b> [ms]"))
    \<b\>\|x\|\</b\> \[ms\]
    """
    return re.sub(r"([\\`*_\[\]<>|&~$])", r"\\\1", " ".join(str(text).split()))


def card_html(text: str) -> Any:
    """Markdown of a paper card as HTML; HTML inside it is shown, never executed."""
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    return Markup(parser.render(text))


def data_uri(path: Path) -> str:
    """A PNG file as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def facts(record: RunRecord) -> list[tuple[str, str]]:
    """What a run was, as pairs of name and value."""
    seeds = record.config.get("seeds", 1)
    listed = f"0 to {int(seeds) - 1}" if isinstance(seeds, int) and seeds > 1 else "0"
    return [
        ("commit", commit(record)),
        ("run", f"{record.started} to {record.finished}"),
        ("took", f"{record.seconds:.1f} s, {record.cpu_seconds:.1f} s of CPU time"),
        ("peak memory", f"{record.peak_memory_mb:.0f} MB"),
        ("observations", str(record.rows)),
        ("seeds", listed),
        ("data mode", record.data_mode),
        ("configuration digest", record.digest),
    ]


def provenance(dataset: dict[str, Any]) -> list[str]:
    """What a record says of one of its datasets, as phrases."""
    phrases = [f"{dataset.get('label', 'unlabelled')} data", f"from {dataset.get('source', '?')}"]
    phrases += [str(dataset[key]) for key in ("description", "citation") if dataset.get(key)]
    if dataset.get("licence"):
        phrases.append(f"licence: {dataset['licence']}")
    digests = dataset.get("sha256") or {}
    if isinstance(digests, str):
        phrases.append(f"sha256 {digests}")
    elif len(digests) > MOST_DIGESTS:
        phrases.append(f"{len(digests)} files, whose sha256 are in run.json")
    else:
        phrases += [f"{name} sha256 {digest}" for name, digest in digests.items()]
    return phrases


def total(measured: Measured) -> str:
    """Total of a meter's readings, with how many there were.

    Examples
    --------
    >>> reading = {"region": "fit", "quantity": "wall_time", "unit": "s", "meter": "clock"}
    >>> total(Measured(**reading, total=1.5, count=3, measurement="measured"))
    '1.5 s in 3 readings'
    """
    amount = f"{scorecard.number(measured.total)} {measured.unit}".strip()
    return f"{amount} in {measured.count} reading{'s' * (measured.count != 1)}"


def tidy(markdown: str) -> str:
    """One empty line where a template left several."""
    return re.sub(r"\n{3,}", "\n\n", markdown).strip() + "\n"


def environment(*, escape: bool) -> Environment:
    """Templates of this package, and the filters that all of them use."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    renderer = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., Any]] = {
        "accepted": scorecard.accepted,
        "estimate": scorecard.estimate,
        "facts": facts,
        "json": lambda content: json.dumps(content, indent=2, ensure_ascii=False),
        "paper_value": scorecard.paper_value,
        "provenance": provenance,
        "quantity": lambda m: f"{m.region} {m.quantity.replace('_', ' ')}".strip(),
        "total": total,
        "verdict": lambda v: f"{VERDICT_SYMBOLS[v.verdict]} {v.verdict}",
    }
    renderer.filters |= filters
    renderer.tests["weblink"] = lambda url: str(url).startswith(("https://", "http://"))
    return renderer


def _render(renderer: Environment, name: str, report: Report) -> str:
    packages = ", ".join(f"{package} {version}" for package, version in report.versions.items())
    return renderer.get_template(name).render(
        report=report,
        counts=scorecard.summary(report.verdicts),
        packages=f"Packages: {packages}." if packages else "No package versions are recorded.",
        colours=VERDICT_COLOURS,
        symbols=VERDICT_SYMBOLS,
        version=common.__version__,
    )
