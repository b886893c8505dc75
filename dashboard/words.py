"""Numbers, verdicts and labels in the words and HTML of the pages."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from common.plotting import NOTICE, VERDICT_COLOURS, VERDICT_SYMBOLS, WARNING

if TYPE_CHECKING:
    import pandas as pd


def number(value: Any) -> str:
    """Three significant digits; empty for a missing number.

    Examples
    --------
    >>> number(0.12345), number(12345.6), number(None)
    ('0.123', '12,346', '')
    """
    if missing(value):
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value + 0.0:.3g}"  # no -0


def missing(value: Any) -> bool:
    """Whether a number is None or NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def interval(low: Any, high: Any) -> str:
    """Interval in brackets, or that there is none."""
    return "no interval" if missing(low) or missing(high) else f"[{number(low)}, {number(high)}]"


def with_unit(text: str, unit: str) -> str:
    """Append a unit when there are both."""
    return f"{text} {unit}".strip() if text else ""


def accepted(low: Any, high: Any) -> str:
    """Accepted range in words.

    Examples
    --------
    >>> accepted(0.1, None), accepted(0.1, 0.5)
    ('≥ 0.1', '0.1 to 0.5')
    """
    if missing(low):
        return f"≤ {number(high)}"
    return f"≥ {number(low)}" if missing(high) else f"{number(low)} to {number(high)}"


def paper_value(value: Any, unit: str = "") -> str:
    """The paper's number; one that could not be obtained says so.

    Examples
    --------
    >>> paper_value(None), paper_value([1, 2], "s")
    ('not available', '1 to 2 s')
    """
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2:
        return with_unit(f"{number(value[0])} to {number(value[1])}", unit)
    if missing(value) or isinstance(value, str):
        return "not available"
    return with_unit(number(value), unit)


def commit(text: str, dirty: bool) -> str:
    """Short commit, flagged when the tree differed from it."""
    return f"{text[:8] or 'no commit'}{' (dirty)' if dirty else ''}"


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them.

    Examples
    --------
    >>> duration(0.5), duration(200), duration(7200)
    ('0.5 s', '3.3 min', '2.0 h')
    """
    if missing(seconds):
        return ""
    if seconds < 100:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def link(page: str, **query: str) -> str:
    """Address of a page with its selection, relative to where the browser is served."""
    chosen = {name: value for name, value in query.items() if value}
    return f"{page}?{urlencode(chosen)}" if chosen else page


def verdict_colour(verdict: str) -> str:
    """Colour of a verdict; one of another version gets that of ``untested``."""
    return VERDICT_COLOURS.get(verdict, VERDICT_COLOURS["untested"])


def verdict_text(verdict: str) -> str:
    """Symbol and word."""
    return f"{VERDICT_SYMBOLS.get(verdict, '?')} {verdict}"


def plain(text: str) -> str:
    r"""Text that Streamlit's Markdown shows as it stands.

    Examples
    --------
    >>> print(plain("a*b costs $5"))
    a\*b costs \$5
    """
    return re.sub(r"([\\`*_{}\[\]()#+\-!|$:~<>])", r"\\\1", text)


def claims_table(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Claims with verdict, estimate, interval and the paper's number, as text."""
    import pandas as pd

    rows = list(verdicts.itertuples())
    return pd.DataFrame(
        {
            "verdict": [verdict_text(row.verdict) for row in rows],
            "paper": [row.paper for row in rows],
            "claim": [row.title for row in rows],
            "here": [with_unit(number(row.estimate), row.unit) for row in rows],
            "95 % interval": [
                "" if missing(row.estimate) else interval(row.low, row.high) for row in rows
            ],
            "in the paper": [paper_value(row.paper_value, row.paper_unit) for row in rows],
            "n": ["" if missing(row.n) else f"{row.n:.0f}" for row in rows],
            "data": [row.data for row in rows],
            "measurement": [row.measurement for row in rows],
        }
    )


# -- HTML; every text from the store passes through html.escape ----------------------------


def chip(text: str, colour: str, *, on: str = "#111111") -> str:
    """Small coloured label."""
    return (
        f'<span style="background:{colour};color:{on};border-radius:0.6rem;padding:0.1rem 0.55rem;'
        f'font-size:0.85rem;font-weight:600;white-space:nowrap">{html.escape(text)}</span>'
    )


def verdict_chip(verdict: str, count: int | None = None) -> str:
    """Verdict as a chip, with a count where several are summed up."""
    text = verdict_text(verdict) if count is None else f"{count} {verdict_text(verdict)}"
    return chip(text, verdict_colour(verdict))


def label_chips(data: str, measurement: str) -> str:
    """The two labels; whatever is synthetic or was not measured is loud."""
    chips = []
    for kind, label, loud in (
        ("data", data, "synthetic" in data),
        ("", measurement, bool(measurement) and measurement != "measured"),
    ):
        if label:
            text = f"{kind}: {label}" if kind else label
            chips.append(chip(text, WARNING) if loud else chip(text, NOTICE, on="#FFFFFF"))
    return " ".join(chips)


def anchor(address: str, text: str, *, new_tab: bool = False) -> str:
    """Link in the colour of the text around it, legible on light and dark."""
    target = '_blank" rel="noopener' if new_tab else "_self"
    place = html.escape(address, quote=True)
    return f'<a href="{place}" target="{target}" style="color:inherit">{html.escape(text)}</a>'


def row(*parts: str) -> str:
    """Parts side by side that wrap on a narrow screen."""
    inner = "".join(part for part in parts if part)
    style = "display:flex;flex-wrap:wrap;gap:0.4rem;align-items:center"
    return f'<div style="{style}">{inner}</div>'


def table(rows: Sequence[dict[str, str]]) -> str:
    """Table with a column for every name in the rows; nothing for no rows.

    Examples
    --------
    >>> table([{"name": "a", "size": "<1"}])
    '<table><tr><th>name</th><th>size</th></tr><tr><td>a</td><td>&lt;1</td></tr></table>'
    """
    if not rows:
        return ""
    names = dict.fromkeys(name for row in rows for name in row)
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    lines = (
        "".join(f"<td>{html.escape(row.get(name, ''))}</td>" for name in names) for row in rows
    )
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
