"""Plotly charts of the pages: same palette as the papers' figures, right on light and dark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from common.plotting import colours
from dashboard.words import interval, missing, number

if TYPE_CHECKING:
    import pandas as pd

# Visible on white and on black alike.
NEUTRAL = "#8A8A8A"
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "star")
CONFIG = {"displayModeBar": False, "scrollZoom": False}


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
                    "symbol": SYMBOLS[place % len(SYMBOLS)],
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
                hovertemplate=f"%{{text}}<br>{plain(name)}<extra></extra>",
                showlegend=len(series) > 1,
            )
        )
    rows_high = max(34, 20 * len(series))
    return finish(
        figure,
        left=18 + 6 * max(map(len, methods)),
        height=90 + rows_high * len(methods) + 24 * len(series),
        shapes=[] if reference is None else [upright(reference)],
        yaxis={
            "tickvals": list(range(len(methods))),
            "ticktext": [plain(method) for method in methods],
            "range": [-0.6, len(methods) - 0.4],
            "fixedrange": True,
            "automargin": True,
        },
        xaxis={"title": plain(xlabel), "zeroline": False, "fixedrange": True, "nticks": 6},
    )


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


def plain(text: str) -> str:
    """Text that plotly does not read as its own HTML."""
    return text.replace("<", "&lt;").replace("%{", "% {")


def upright(x: float) -> dict[str, Any]:
    """Dashed line from top to bottom."""
    line = {"dash": "dash", "color": NEUTRAL}
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": line}


def finish(figure: go.Figure, height: int, left: int = 76, **layout: Any) -> go.Figure:
    """Lay a chart out, all at once: plotly looks over the whole figure at every change.

    Margins hold the labels and a line of the legend: where they do not, plotly finds out when it
    has drawn the chart, and draws it again.
    """
    return figure.update_layout(
        height=height,
        margin={"l": left, "r": 8, "t": 50 if len(figure.data) > 1 else 8, "b": 64},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        font={"size": 13},
        **layout,
    )
