"""Plotly charts of the pages: same palette as the papers' figures, right on light and dark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from common.plotting import VERDICT_COLOURS, colours
from dashboard.words import accepted, interval, missing, number, with_unit

if TYPE_CHECKING:
    import pandas as pd

# Visible on white and on black alike.
NEUTRAL = "#8A8A8A"
SHADE = "rgba(0, 158, 115, 0.18)"
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "star")
CONFIG = {"displayModeBar": False, "scrollZoom": False}


def claim_chart(verdict: dict[str, Any]) -> go.Figure | None:
    """One claim: accepted range shaded, the paper's value marked, our estimate with interval.

    None when there is neither an estimate nor a value of the paper to draw.
    """
    ours, paper = verdict["estimate"], verdict["paper_value"]
    paper_ends = [] if missing(paper) else list(paper) if isinstance(paper, list) else [paper]
    if missing(ours) and not paper_ends:
        return None
    low, high = verdict["accept_low"], verdict["accept_high"]
    marks = [ours, verdict["low"], verdict["high"], low, high, *paper_ends]
    first, last = _span([mark for mark in marks if not missing(mark)])
    figure = go.Figure()
    figure.add_shape(
        type="rect",
        x0=first if missing(low) else low,
        x1=last if missing(high) else high,
        y0=0,
        y1=1,
        yref="paper",
        fillcolor=SHADE,
        line_width=0,
        layer="below",
    )
    for end in (low, high):
        if not missing(end):
            figure.add_vline(x=end, line_color=VERDICT_COLOURS["reproduced"], line_width=1.5)
    if paper_ends:
        figure.add_trace(_paper_mark(paper_ends, verdict["paper_unit"] or verdict["unit"]))
    if not missing(ours):
        figure.add_trace(_our_mark(verdict))
    figure.update_yaxes(visible=False, range=[-0.75, 1.75], fixedrange=True)
    figure.update_xaxes(
        range=[first, last],
        title=verdict["unit"] or None,
        nticks=6,
        fixedrange=True,
        zeroline=False,
        showline=True,
        linecolor=NEUTRAL,
    )
    return _finish(figure, height=150 if verdict["unit"] else 130)


def _span(marks: list[float]) -> tuple[float, float]:
    first, last = min(marks), max(marks)
    margin = 0.14 * ((last - first) or abs(last) or 1.0)
    return first - margin, last + margin


def _paper_mark(ends: list[float], unit: str) -> go.Scatter:
    text = " to ".join(number(end) for end in ends)
    return go.Scatter(
        x=ends,
        y=[1.0] * len(ends),
        mode="lines+markers+text",
        marker={"symbol": "diamond", "size": 11, "color": NEUTRAL},
        line={"color": NEUTRAL, "width": 2},
        text=["paper", *[""] * (len(ends) - 1)],
        textposition="top center",
        hovertemplate=f"paper: {with_unit(text, unit)}<extra></extra>",
        showlegend=False,
        cliponaxis=False,
    )


def _our_mark(verdict: dict[str, Any]) -> go.Scatter:
    ours, low, high = verdict["estimate"], verdict["low"], verdict["high"]
    colour = VERDICT_COLOURS.get(verdict["verdict"], NEUTRAL)
    hover = (
        f"here: {with_unit(number(ours), verdict['unit'])} {interval(low, high)}, "
        f"n = {verdict['n']:.0f}<br>accepted: "
        f"{accepted(verdict['accept_low'], verdict['accept_high'])}"
    )
    return go.Scatter(
        x=[ours],
        y=[0.0],
        mode="markers+text",
        marker={"size": 13, "color": colour, "line": {"color": NEUTRAL, "width": 1}},
        error_x=_bars([ours], [low], [high], colour),
        text=["here"],
        textposition="top center",
        hovertemplate=f"{hover}<extra></extra>",
        showlegend=False,
        cliponaxis=False,
    )


def interval_chart(
    table: pd.DataFrame, xlabel: str, *, reference: float | None = None
) -> go.Figure:
    """Means with intervals, a row per method and a colour and symbol per series.

    Parameters
    ----------
    table : DataFrame
        Columns ``method, series, value, low, high, n``.
    xlabel : str
        Metric and unit.
    reference : float, optional
        Value to mark with a dashed line.
    """
    methods = list(dict.fromkeys(table["method"]))[::-1]
    series = list(dict.fromkeys(table["series"]))
    palette = colours(series if len(series) > 1 else methods)
    step = min(0.22, 0.7 / len(series))
    figure = go.Figure()
    for place, name in enumerate(series):
        rows = table[table["series"] == name]
        shift = (len(series) - 1) / 2 * step - place * step
        colour = palette[name] if len(series) > 1 else [palette[m] for m in rows["method"]]
        figure.add_trace(
            go.Scatter(
                name=name,
                x=rows["value"],
                y=[methods.index(method) + shift for method in rows["method"]],
                mode="markers",
                marker={
                    "size": 11,
                    "color": colour,
                    "symbol": _SYMBOLS[place % len(_SYMBOLS)],
                    "line": {"color": NEUTRAL, "width": 1},
                },
                error_x=_bars(
                    rows["value"],
                    rows["low"],
                    rows["high"],
                    palette[name] if len(series) > 1 else NEUTRAL,
                ),
                text=[
                    f"{row.method}: {number(row.value)} {interval(row.low, row.high)}, n = {row.n}"
                    for row in rows.itertuples()
                ],
                hovertemplate=f"%{{text}}<br>{_plain(name)}<extra></extra>",
                showlegend=len(series) > 1,
            )
        )
    if reference is not None:
        figure.add_vline(x=reference, line_dash="dash", line_color=NEUTRAL)
    figure.update_yaxes(
        tickvals=list(range(len(methods))),
        ticktext=[_plain(method) for method in methods],
        range=[-0.6, len(methods) - 0.4],
        fixedrange=True,
        automargin=True,
    )
    figure.update_xaxes(title=_plain(xlabel), zeroline=False, fixedrange=True, nticks=6)
    rows_high = max(34, 20 * len(series))
    return _finish(figure, height=90 + rows_high * len(methods) + 24 * len(series))


def _bars(values: Any, lows: Any, highs: Any, colour: str) -> dict[str, Any]:
    triples = list(zip(values, lows, highs, strict=True))
    return {
        "type": "data",
        "symmetric": False,
        "array": [0 if missing(high) else high - value for value, _, high in triples],
        "arrayminus": [0 if missing(low) else value - low for value, low, _ in triples],
        "color": colour,
        "thickness": 3,
        "width": 5,
    }


def _plain(text: str) -> str:
    """Text that plotly does not read as its own HTML."""
    return text.replace("<", "&lt;").replace("%{", "% {")


def _finish(figure: go.Figure, height: int) -> go.Figure:
    return figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        font={"size": 13},
    )
