"""The charts that papers declare as explorers, drawn from observations alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from common.plotting import PALETTE, VERDICT_COLOURS, colours
from dashboard import comparison
from dashboard.charts import NEUTRAL, SYMBOLS, finish, interval_chart, plain, upright

if TYPE_CHECKING:
    import pandas as pd

    from common.explorers import Explorer

_LATE = VERDICT_COLOURS["not reproduced"]
_BUSY = "rgba(138, 138, 138, 0.25)"
_PANEL_HEIGHT = 170
# Between panels, as a share of the whole height.
_GAP = 0.04


def table(explorer: Explorer, rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Numbers behind a chart, one row per point.

    Parameters
    ----------
    explorer : Explorer
        What to draw.
    rows : DataFrame
        Observations, filtered.
    metric : str
        The metric that the reader picked, for a curve.

    Returns
    -------
    DataFrame
        Curve: ``line, x, y``, and ``along`` where points are paired. Dots: ``row, value, low,
        high, n``, largest first. Timeline: ``x`` and a column per metric. Heat: rows by columns.
        Spans: ``row, end, mark, limit``, shortest first.
    """
    shapes = {"timeline": _timeline_table, "heat": _heat_table, "spans": _spans_table}
    if explorer.kind == "curve":
        return _curve_table(explorer, rows, metric)
    if explorer.kind == "dots":
        return _dots_table(explorer, rows, metric)
    return shapes[explorer.kind](explorer, rows)


def draw(explorer: Explorer, found: pd.DataFrame, metric: str, units: dict[str, str]) -> go.Figure:
    """Chart of a table of :func:`table`; ``units`` are those of the metrics."""
    if explorer.kind == "curve":
        return _curve(explorer, found, metric, units)
    if explorer.kind == "dots":
        named = found.rename(columns={"row": "method"}).assign(series="")
        return interval_chart(named, _axis(metric, units))
    shapes = {"timeline": _timeline, "heat": _heat, "spans": _spans}
    return shapes[explorer.kind](explorer, found, units)


def _axis(name: str, units: dict[str, str]) -> str:
    unit = units.get(name, "")
    return plain(f"{name} ({unit})" if unit else name)


# -- curve ---------------------------------------------------------------------------------


def _curve_table(explorer: Explorer, rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    place = explorer.along or explorer.x
    lines = [explorer.lines, *explorer.split]
    keys = [*lines, place, "metric"]
    means = rows.groupby(keys, dropna=False, sort=False)["value"].mean().unstack().reset_index()
    means = means.dropna(subset=[explorer.x, metric]).sort_values(
        [*lines, explorer.x], ignore_index=True
    )
    means["line"] = comparison.method_names(means, explorer.split, explorer.lines)
    kept = ["line", explorer.x, metric, *([explorer.along] if explorer.along else [])]
    return means[kept].rename(columns={explorer.x: "x", metric: "y"})


def _curve(
    explorer: Explorer, found: pd.DataFrame, metric: str, units: dict[str, str]
) -> go.Figure:
    names = list(dict.fromkeys(found["line"]))
    palette = colours(map(str, names))
    figure = go.Figure()
    used: list[str] = []
    for name in names:
        part = found[found["line"] == name]
        # Names that share a colour never share a symbol.
        place = PALETTE.index(palette[str(name)]) + used.count(palette[str(name)])
        used.append(palette[str(name)])
        mark = {"size": 9, "symbol": SYMBOLS[place % len(SYMBOLS)]}
        figure.add_trace(
            go.Scatter(
                name=plain(str(name)),
                x=part["x"],
                y=part["y"],
                text=part[explorer.along].astype(str) if explorer.along else None,
                mode="lines+markers",
                line={"color": palette[str(name)], "width": 2},
                marker=mark,
                hovertemplate="%{x:.4g}, %{y:.4g} %{text}" if explorer.along else None,
            )
        )
    kinds = dict.fromkeys(explorer.log, "log")
    return finish(
        figure,
        height=470 + 12 * len(names),
        xaxis={"title": _axis(explorer.x, units), "type": kinds.get("x")},
        yaxis={"title": _axis(metric, units), "type": kinds.get("y")},
    )


# -- dots ----------------------------------------------------------------------------------


def _dots_table(explorer: Explorer, rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    rows = rows[rows["metric"] == metric]
    named = rows.assign(method=rows[explorer.rows].astype(str), series="")
    return comparison.means(named).rename(columns={"method": "row"}).drop(columns="series")


# -- timeline ------------------------------------------------------------------------------


def _timeline_table(explorer: Explorer, rows: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    wide = rows.groupby([explorer.x, "metric"])["value"].mean().unstack().reset_index()
    wide = wide.rename(columns={explorer.x: "x"})
    wide["x"] = pd.to_numeric(wide["x"])
    kept = [name for name in dict.fromkeys(explorer.named_metrics) if name in wide]
    return wide[["x", *kept]].sort_values("x", ignore_index=True)


def _timeline(explorer: Explorer, found: pd.DataFrame, units: dict[str, str]) -> go.Figure:
    panels, figure = explorer.panels, go.Figure()
    high = (1 + _GAP) / len(panels) - _GAP
    palette = colours([name for panel in panels for name in panel])
    layout: dict[str, Any] = {}
    for place, panel in enumerate(panels, 1):
        axis = f"y{place if place > 1 else ''}"
        for name in panel:
            if name in explorer.bands:
                figure.add_traces(_band(found, name, explorer.bands[name], palette[name], axis))
            line = {"color": palette[name], "width": 1.5, "shape": "hv"}
            figure.add_trace(
                go.Scatter(name=plain(name), x=found["x"], y=found[name], line=line, yaxis=axis)
            )
        top = 1 - (place - 1) * (high + _GAP)
        domain = [max(0, top - high), top]
        layout[f"yaxis{axis[1:]}"] = {"title": _axis(" / ".join(panel), units), "domain": domain}
    if explorer.shade:
        layout["shapes"] = _shade(found["x"].to_list(), (found[explorer.shade] > 0).to_list())
    layout["xaxis"] = {"title": plain(explorer.x), "anchor": axis}
    return finish(figure, height=80 + _PANEL_HEIGHT * len(panels), **layout)


def _band(found: pd.DataFrame, name: str, sd: str, colour: str, axis: str) -> list[go.Scatter]:
    return [
        go.Scatter(
            x=found["x"],
            y=found[name] + side * found[sd],
            yaxis=axis,
            line={"width": 0, "color": colour, "shape": "hv"},
            fill=fill,
            name=plain(f"{name} ± {sd}"),
            showlegend=side > 0,
            hoverinfo="skip",
            opacity=0.3,
        )
        for side, fill in ((-1, None), (1, "tonexty"))
    ]


def _shade(x: list[float], busy: list[bool]) -> list[dict[str, Any]]:
    """Grey behind every stretch of true values, on all panels."""
    shapes = []
    start = None
    grey = {"type": "rect", "y0": 0, "y1": 1, "yref": "paper", "fillcolor": _BUSY}
    for place, on in enumerate([*busy, False]):
        if on and start is None:
            start = place
        elif not on and start is not None:
            ends = {"x0": x[start], "x1": x[min(place, len(x) - 1)]}
            shapes.append({**grey, **ends, "line": {"width": 0}, "layer": "below"})
            start = None
    return shapes


# -- heat ----------------------------------------------------------------------------------


def _heat_table(explorer: Explorer, rows: pd.DataFrame) -> pd.DataFrame:
    counts = rows.pivot_table(
        index=explorer.rows,
        columns=explorer.columns,
        values="value",
        aggfunc="sum",
        fill_value=0,
    )
    if explorer.share:
        counts = counts.div(counts.sum(axis=1), axis=0)
    # A confusion matrix has its diagonal: the same order, and what was never answered too.
    if not set(counts.index).isdisjoint(counts.columns):
        others = [name for name in counts.columns if name not in counts.index]
        counts = counts.reindex(columns=[*counts.index, *others], fill_value=0)
    return counts


def _heat(explorer: Explorer, found: pd.DataFrame, units: dict[str, str]) -> go.Figure:
    shown = go.Heatmap(
        z=found.to_numpy(),
        x=[plain(str(name)) for name in found.columns],
        y=[plain(str(name)) for name in found.index],
        colorscale="Cividis",
        zmin=0,
        zmax=1 if explorer.share else None,
        hovertemplate="%{y} → %{x}: %{z:.3g}<extra></extra>",
        colorbar={"thickness": 10, "title": "share" if explorer.share else ""},
    )
    figure = go.Figure(shown)
    return finish(
        figure,
        height=260 + 20 * len(found),
        yaxis={"title": plain(explorer.rows), "autorange": "reversed", "automargin": True},
        xaxis={"title": plain(explorer.columns), "automargin": True, "tickangle": -60},
    )


# -- spans ---------------------------------------------------------------------------------


def _spans_table(explorer: Explorer, rows: pd.DataFrame) -> pd.DataFrame:
    end, mark, limit = explorer.metrics
    whole = rows.loc[rows["metric"] == limit, "value"].mean()
    parts = rows[rows["metric"].isin([end, mark])]
    wide = parts.pivot_table(
        index=explorer.rows, columns="metric", values="value", dropna=False
    ).reindex(columns=[end, mark])
    wide = wide.rename(columns={end: "end", mark: "mark"}).assign(limit=whole)
    wide = wide.rename_axis(index="row", columns=None).reset_index()
    return wide.sort_values("end", ignore_index=True)


def _spans(explorer: Explorer, found: pd.DataFrame, units: dict[str, str]) -> go.Figure:
    import numpy as np

    end, mark, limit = explorer.metrics
    late = found["end"] >= found["limit"]
    figure = go.Figure()
    for name, chosen, colour in ((f"≥ {limit}", late, _LATE), (f"< {limit}", ~late, NEUTRAL)):
        place = found.index[chosen].to_numpy(dtype=float)
        x = np.column_stack([0 * place, found.loc[chosen, "end"], np.full(len(place), np.nan)])
        line = {"color": colour, "width": 1.5}
        options = {"mode": "lines", "line": line, "hoverinfo": "skip", "name": plain(name)}
        figure.add_trace(go.Scatter(x=x.ravel(), y=np.repeat(place, 3), **options))
    marked = found.dropna(subset=["mark"])
    figure.add_trace(
        go.Scatter(
            name=plain(mark),
            x=marked["mark"],
            y=marked.index,
            mode="markers",
            marker={"symbol": "diamond", "size": 7, "color": colours([mark])[mark]},
            text=marked["row"].astype(str),
            hovertemplate="%{text}: %{x:.4g}<extra></extra>",
        )
    )
    return finish(
        figure,
        left=44,
        height=520,
        shapes=[upright(x) for x in found["limit"][:1]],
        xaxis={"title": _axis(end, units), "rangemode": "tozero", "zeroline": False},
        yaxis={"title": plain(f"{explorer.rows}, by {end}"), "showticklabels": False},
    )
