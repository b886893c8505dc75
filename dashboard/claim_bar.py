"""One claim as a bar of HTML: far lighter than a chart, and as wide as the screen lets it be."""

from __future__ import annotations

import html
from typing import Any

from dashboard.words import accepted, interval, missing, number, paper_value, verdict_colour

# Numbers of the two accepted ends closer than this share of the bar become one.
_NEAR = 0.16


def scale(claim: dict[str, Any]) -> tuple[float, float, float, float] | None:
    """Ends of a claim's axis, and of the accepted range on it.

    None when there is neither an estimate nor a value of the paper to draw.

    Examples
    --------
    >>> claim = {"estimate": 1.0, "low": 0.5, "high": 1.5, "paper_value": None}
    >>> [round(end, 2) for end in scale({**claim, "accept_low": 0.5, "accept_high": None})]
    [0.36, 1.64, 0.5, 1.64]
    """
    if missing(claim["estimate"]) and not paper_ends(claim):
        return None
    low, high = claim["accept_low"], claim["accept_high"]
    marks = [claim["estimate"], claim["low"], claim["high"], low, high, *paper_ends(claim)]
    marks = [mark for mark in marks if not missing(mark)]
    margin = 0.14 * ((max(marks) - min(marks)) or abs(max(marks)) or 1.0)
    first, last = min(marks) - margin, max(marks) + margin
    return first, last, first if missing(low) else low, last if missing(high) else high


def paper_ends(claim: dict[str, Any]) -> list[float]:
    """The paper's number as none, one or two ends."""
    value = claim["paper_value"]
    if isinstance(value, list):
        return value
    return [] if missing(value) or isinstance(value, str) else [value]


def bar(claim: dict[str, Any]) -> str:
    """Accepted range shaded, the paper's number as a diamond, ours as a dot with its interval."""
    span = scale(claim)
    if span is None:
        return ""
    first, last, low, high = span

    def at(value: float) -> float:
        return 100 * (value - first) / (last - first)

    parts = [_stretch("range", at(low), at(high))]
    parts += _ticks(claim, at)
    ends = paper_ends(claim)
    if len(ends) == 2:
        parts.append(_stretch("between", *sorted(map(at, ends))))
    parts += [f'<i class="paper" style="left:{at(end):.2f}%"></i>' for end in ends]
    if not missing(claim["estimate"]):
        colour = f"background:{verdict_colour(claim['verdict'])}"
        if not missing(claim["low"]) and not missing(claim["high"]):
            parts.append(_stretch("interval", at(claim["low"]), at(claim["high"]), colour))
        parts.append(f'<i class="here" style="left:{at(claim["estimate"]):.2f}%;{colour}"></i>')
    told = html.escape(_told(claim), quote=True)
    return f'<div class="claim-bar" role="img" aria-label="{told}">{"".join(parts)}</div>'


def _stretch(kind: str, left: float, right: float, style: str = "") -> str:
    return f'<i class="{kind}" style="left:{left:.2f}%;width:{right - left:.2f}%;{style}"></i>'


def _ticks(claim: dict[str, Any], at: Any) -> list[str]:
    ends = [end for end in (claim["accept_low"], claim["accept_high"]) if not missing(end)]
    if len(ends) == 2 and at(ends[1]) - at(ends[0]) < 100 * _NEAR:
        middle, text = sum(ends) / 2, f"{number(ends[0])} to {number(ends[1])}"
        return [f'<b style="left:{at(middle):.2f}%">{text}</b>']
    return [f'<b style="left:{at(end):.2f}%">{number(end)}</b>' for end in ends]


def _told(claim: dict[str, Any]) -> str:
    here = "no estimate"
    if not missing(claim["estimate"]):
        here = f"here {number(claim['estimate'])} {interval(claim['low'], claim['high'])}"
    range_ = accepted(claim["accept_low"], claim["accept_high"])
    return f"{here}, accepted {range_}, paper {paper_value(claim['paper_value'])}"
