"""The scorecard: verdicts as a table for the terminal, as Markdown for the README, as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from common.claims import VERDICTS_BEST_FIRST, Verdict
from common.errors import RepriseError
from common.papers import Claim
from common.plotting import VERDICT_SYMBOLS
from common.results import find

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = ("paper", "claim", "paper's value", "ours (95 % interval)", "n", "verdict", "data", "by")
TERMINAL_COLOURS = {
    "reproduced": "green",
    "consistent": "cyan",
    "weaker": "yellow",
    "not reproduced": "red",
    "untested": "bright_black",
    "error": "bold red",
}


def number(value: float | None) -> str:
    """Format a number with three significant digits, without needless zeros.

    Examples
    --------
    >>> number(0.123456), number(1234.0), number(None)
    ('0.123', '1230', '–')
    """
    if value is None:
        return "–"
    value += 0.0  # no "-0"
    return f"{float(f'{value:.3g}'):g}" if abs(value) >= 1e-4 else f"{value:.2g}"


def paper_value(verdict: Verdict) -> str:
    """The paper's own number, or "not available"."""
    value = verdict.paper_value
    if value is None:
        return "not available"
    ends = value if isinstance(value, tuple | list) else (value,)
    return f"{' to '.join(map(number, ends))} {verdict.paper_unit}".strip()


def estimate(verdict: Verdict) -> str:
    """Our number with its interval and unit."""
    if verdict.estimate is None:
        return "–"
    interval = ""
    if verdict.low is not None:
        interval = f" [{number(verdict.low)}, {number(verdict.high)}]"
    return f"{number(verdict.estimate)}{interval} {verdict.unit}".strip()


def accepted(verdict: Verdict) -> str:
    """The range that counts as reproduced, in the unit of our number."""
    unit = verdict.unit or verdict.paper_unit
    return f"{_range(verdict.accept_low, verdict.accept_high)} {unit}".strip()


def claim_range(claim: Claim) -> str:
    """The same of a claim that nobody has judged yet."""
    unit = claim.unit or claim.paper.unit
    return f"{_range(claim.accept.low, claim.accept.high)} {unit}".strip()


def _range(low: float | None, high: float | None) -> str:
    ends = " to ".join(number(end) for end in (low, high) if end is not None)
    sign = "≤ " if low is None else "≥ " if high is None else ""
    return sign + ends


def cells(verdict: Verdict) -> tuple[str, ...]:
    """One row of the scorecard."""
    return (
        verdict.paper,
        verdict.title,
        paper_value(verdict),
        estimate(verdict),
        str(verdict.n or "–"),
        f"{VERDICT_SYMBOLS[verdict.verdict]} {verdict.verdict}",
        verdict.data or "–",
        verdict.measurement or "–",
    )


def as_table(verdicts: Sequence[Verdict], title: str = "") -> Table:
    """Scorecard for the terminal."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", header_style="bold")
    for column in COLUMNS:
        table.add_column(column, overflow="fold")
    for verdict in verdicts:
        row = [Text(cell) for cell in cells(verdict)]  # Text: "[ms]" is a unit, no markup
        row[5].stylize(TERMINAL_COLOURS[verdict.verdict])
        table.add_row(*row)
    return table


def as_markdown(verdicts: Sequence[Verdict]) -> str:
    """Scorecard as a Markdown table."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    lines += ["| " + " | ".join(map(_markdown_cell, cells(v))) + " |" for v in verdicts]
    return "\n".join(lines) + "\n"


def as_overview(papers: Mapping[str, Sequence[str]]) -> str:
    """How many claims of each paper have which verdict, as a Markdown table.

    Parameters
    ----------
    papers : mapping
        Verdict of every claim, by the paper's slug.

    Examples
    --------
    >>> as_overview({"toy": ["reproduced", "weaker"]}).splitlines()[0]
    '| paper | claims | ✓ reproduced | ↓ weaker |'
    """
    present = {verdict for verdicts in papers.values() for verdict in verdicts}
    shown = [name for name in VERDICTS_BEST_FIRST if name in present]
    head = ["paper", "claims", *(f"{VERDICT_SYMBOLS[name]} {name}" for name in shown)]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for slug, verdicts in papers.items():
        counts = [str(verdicts.count(name) or "") for name in shown]
        link = f"[{slug}](projects/{slug}/README.md#claims-and-verdicts)"
        lines.append("| " + " | ".join([link, str(len(verdicts)), *counts]) + " |")
    return "\n".join(lines) + "\n"


def _markdown_cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def summary(verdicts: Sequence[Verdict]) -> str:
    """Count the verdicts, best first.

    Examples
    --------
    >>> summary([])
    'no claims'
    """
    counts = {name: sum(v.verdict == name for v in verdicts) for name in VERDICTS_BEST_FIRST}
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "no claims"


def reasons(verdicts: Sequence[Verdict]) -> list[str]:
    """Lines that explain every verdict which has something to explain."""
    return [f"{v.paper} {v.claim}: {v.verdict}: {v.reason}" for v in verdicts if v.reason]


def stand_ins(root: Path, size: str, target: str, papers: Sequence[str]) -> list[str]:
    """Lines that say which datasets were missing, and so stand behind none of the numbers."""
    lines = set()
    for slug in papers:
        for folder in find(root, paper=slug, size=size, target=target):
            try:
                missing = folder.record().stand_ins
            except RepriseError:  # an unreadable record; its claims are judged "error" already
                continue
            lines |= {f"STAND-IN: {slug} ran without {n}: {why}" for n, why in missing.items()}
    return sorted(lines)
