"""Figures of the experiment on a watch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from common.plotting import colours, figure, interval_table, markers, message_figure
from projects.osgd.wearable_experiments import DENSE, STAGES, STRIPES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def wearable(observations: pd.DataFrame) -> Figure:
    """Accuracy of every stage against the time until it, a line for each part."""
    accuracy = interval_table(observations[observations["metric"] == "accuracy"], by="stage")
    accuracy = accuracy.set_index("stage")[["value", "low", "high"]] * 100
    rows = observations[
        (observations["metric"] == "latency_until") & (observations["variant"] == STAGES)
    ]
    fig, ax = figure(width=7.4, height=4.0)
    palette, shapes = colours(rows["part"]), markers(rows["part"])
    spread = np.abs(accuracy[["low", "high"]].sub(accuracy["value"], axis=0).to_numpy().T)
    for place, (part, line) in enumerate(rows.groupby("part")):
        line = line.set_index("stage")
        x, y = 1e3 * line["value"], accuracy["value"][line.index]
        look = {"color": palette[part], "marker": shapes[part]}
        ax.errorbar(x, y, yerr=np.nan_to_num(spread), label=part, capsize=2, **look)
        ends = 1e3 * line[["low", "high"]].to_numpy()
        beside = y - 0.2 * (place + 1)  # ranges of several chips would hide each other
        ax.hlines(beside, *ends.T, color=palette[part], linewidth=1.5, alpha=0.6)
    ax.set(xscale="log", xlabel="time until the answer [ms]", ylabel="accuracy [%]")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return fig


def instructions(observations: pd.DataFrame) -> Figure:
    """Emulated instructions, the stages stacked."""
    rows = observations[(observations["metric"] == "instructions") & (observations["stage"] > 0)]
    if not len(rows):
        return message_figure("Emulated instructions", "no emulator here: `reprise doctor`")
    fig, ax = figure(width=7.4, height=2.4)
    for place, variant in enumerate((STAGES, STRIPES, DENSE)):
        left = 0.0
        for number, value in (
            rows[rows["variant"] == variant].groupby("stage")["value"].first().items()
        ):
            label = f"stage {number:.0f}" if variant == STAGES else None
            colour = f"C{number - 1:.0f}" if variant == STAGES else "#7F7F7F"
            ax.barh(place, value / 1e6, left=left, color=colour, label=label)
            left += value / 1e6
    ax.set_yticks(range(3), (STAGES, STRIPES, DENSE))
    ax.set_ylim(2.5, -0.5)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("instructions of one image [million]")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return fig
