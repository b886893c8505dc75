"""Figures of the recorded networks on a watch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.plotting import colours, figure, markers

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def wearable(observations: pd.DataFrame) -> Figure:
    """Time until every answer at the highest clock, and energy of the run against the clock."""
    rows = observations[observations["metric"].isin(["latency", "energy"])]
    platforms = list(dict.fromkeys(rows["platform"]))
    fig, (left, right) = figure(1, 2, width=11, height=3.6)
    palette, shapes = colours(platforms), markers(platforms)
    names = list(dict.fromkeys(rows["item"]))
    last = rows.groupby("variant")["stage"].transform("max") == rows["stage"]
    largest = rows.loc[rows["value"].idxmax(), "variant"]
    for place, platform in enumerate(platforms):
        part = rows[rows["platform"] == platform]
        look = {"color": palette[platform], "marker": shapes[platform], "label": platform}
        fastest = part[(part["metric"] == "latency") & (part["setting"] == part["setting"].max())]
        _ranges(left, fastest, names, 0.16 * (place - (len(platforms) - 1) / 2), look)
        energy = part[(part["metric"] == "energy") & last & (part["variant"] == largest)]
        right.plot(energy["setting"], 1e3 * energy["value"], **look)
    left.set_yticks(range(len(names)), names)
    left.set_ylim(len(names) - 0.5, -0.5)
    left.grid(axis="y", visible=False)
    left.set(xscale="log", xlabel="time until the answer [ms]", title="highest clock")
    right.set(xlabel="clock [GHz]", ylabel="energy of a run [mJ]", title=largest, ylim=(0, None))
    right.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return fig


def _ranges(
    ax: Axes, rows: pd.DataFrame, names: list[str], shift: float, look: dict[str, str]
) -> None:
    """One dot with the range of the model per network and stage."""
    places = [names.index(item) + shift for item in rows["item"]]
    ax.hlines(places, 1e3 * rows["low"], 1e3 * rows["high"], color=look["color"], linewidth=2)
    ax.plot(1e3 * rows["value"], places, linestyle="", **look)
