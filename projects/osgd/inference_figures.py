"""Figures of the experiments on inference and on nested transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from common.plotting import colours, figure, interval_table, markers

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STEPS = ("all stages", "slimmable")


def staircase(observations: pd.DataFrame) -> Figure:
    """Seconds until each answer, a panel for each network and runtime."""
    rows = observations[observations["metric"] == "seconds_until"]
    accuracy = observations[observations["metric"] == "accuracy"]
    panels = list(rows.groupby(["network", "runtime"], sort=False).groups)
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    fig, axes = figure(lines, columns, width=4.4 * columns, height=3.1 * lines)
    for ax, (network, runtime) in zip(np.atleast_1d(axes).ravel(), panels, strict=False):
        part = rows[(rows["network"] == network) & (rows["runtime"] == runtime)]
        _steps(ax, part)
        known = accuracy[accuracy["network"] == network].groupby("stage")["value"].mean()
        until = part[part["variant"] == STEPS[0]].groupby("stage")["value"].median()
        for stage, value in known.items():
            ax.annotate(
                f"{100 * value:.0f} %",
                (1000 * until[stage], stage),
                xytext=(4, 5),
                textcoords="offset points",
                fontsize=8,
            )
        ax.set(title=f"{network}, {runtime}", xlabel="ms", ylabel="answers", xlim=(0, None))
        ax.set_yticks(sorted(part["stage"].unique()))
    np.atleast_1d(axes).ravel()[0].legend(loc="lower right")
    return fig


def _steps(ax: Axes, part: pd.DataFrame) -> None:
    palette, shapes = colours(part["variant"]), markers(part["variant"])
    for name in STEPS:
        grouped = part[part["variant"] == name].groupby("stage")["value"]
        median = 1000 * grouped.median()
        look = {"color": palette[name], "marker": shapes[name], "label": name}
        ax.step(median.to_numpy(), median.index, where="post", **look)
        last = 1000 * grouped.quantile([0.0, 1.0]).unstack().iloc[-1]
        ax.plot(
            last.to_numpy(), [median.index[-1]] * 2, color=palette[name], linewidth=4, alpha=0.3
        )
    for name in ("last, dense", "last, stripes"):
        alone = 1000 * part.loc[part["variant"] == name, "value"].median()
        ax.axvline(alone, color=palette[name], linestyle="--", linewidth=1, label=name)


def matryoshka(observations: pd.DataFrame) -> Figure:
    """Error of every nested size, a panel for each kind of network."""
    rows = observations[(observations["metric"] == "error") & (observations["stage"] > 0)]
    kinds = list(dict.fromkeys(rows["network"]))
    fig, axes = figure(1, len(kinds), width=4.4 * len(kinds), height=3.2)
    palette, shapes = colours(rows["variant"]), markers(rows["variant"])
    for ax, kind in zip(np.atleast_1d(axes), kinds, strict=True):
        table = interval_table(rows[rows["network"] == kind], by=["variant", "stage"])
        for name, part in table.groupby("variant"):
            spread = np.abs(part[["low", "high"]].to_numpy().T - part["value"].to_numpy())
            ax.errorbar(
                part["stage"],
                100 * part["value"],
                yerr=100 * np.nan_to_num(spread),
                color=palette[name],
                marker=shapes[name],
                capsize=3,
                label=name,
            )
        ax.set(title=kind, xlabel="size", ylabel="test error (%)", ylim=(0, None))
        ax.set_xticks(sorted(table["stage"].unique()))
    np.atleast_1d(axes)[0].legend()
    return fig
