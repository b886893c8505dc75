"""The figures of the paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from common.plotting import colours, dot_interval, figure, interval_table, markers

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ORDERED = ["joint", "osgd", "osgd reversed"]


def digits(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"] == "error"]
    stages = sorted(rows["stage"].unique())
    fig, axes = figure(1, len(stages), width=11, height=0.9 + 0.28 * rows["variant"].nunique())
    for ax, stage in zip(np.atleast_1d(axes), stages, strict=True):
        table = interval_table(rows[rows["stage"] == stage])
        dot_interval(ax, table, xlabel="test error [%]")
        ax.set_title(f"stage {stage:.0f}")
        if stage != stages[0]:
            ax.set_yticklabels([])
    return fig


def differences(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"] == "error"]
    table = rows.pivot_table(index=["item", "stage"], columns="variant", values="value")
    gains = (-table.sub(table["joint"], axis=0)).drop(columns="joint")
    gains = gains.stack().rename("value").reset_index().assign(dataset="digits")
    stages = sorted(gains["stage"].unique())
    fig, axes = figure(1, len(stages), width=11, height=0.9 + 0.28 * gains["variant"].nunique())
    for ax, stage in zip(np.atleast_1d(axes), stages, strict=True):
        part = interval_table(gains[gains["stage"] == stage])
        dot_interval(ax, part, xlabel="points gained", reference=0.0)
        ax.set_title(f"stage {stage:.0f}")
        if stage != stages[0]:
            ax.set_yticklabels([])
    return fig


def order(observations: pd.DataFrame) -> Figure:
    rows = observations[(observations["metric"] == "error") & observations["variant"].isin(ORDERED)]
    fig, ax = figure(width=6.4, height=3.6)
    _lines(ax, rows, "stage")
    ax.set(xlabel="stage", ylabel="test error [%]", xticks=sorted(rows["stage"].unique()))
    ax.legend()
    return fig


def cifar(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"] == "error"]
    names = list(dict.fromkeys(rows["topology"]))
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    fig, axes = figure(lines, columns, width=3.8 * columns, height=3.2 * lines, sharey=True)
    cells = np.atleast_1d(axes).ravel()
    for ax in cells[len(names) :]:
        ax.set_visible(False)
    for ax, name in zip(cells, names, strict=False):
        _lines(ax, rows[rows["topology"] == name], "macs")
        ax.set(title=name, xscale="log", xlabel="multiply-accumulates", ylabel="test error [%]")
        ax.legend(fontsize=7)
    return fig


def topologies(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"] == "error"]
    methods = [name for name in ("joint", "osgd") if name in set(rows["variant"])]
    fig, axes = figure(1, len(methods), width=10, height=3.8, sharey=True)
    for ax, method in zip(np.atleast_1d(axes), methods, strict=True):
        _lines(ax, rows[rows["variant"] == method], "macs", by="topology")
        ax.set(title=method, xscale="log", xlabel="multiply-accumulates", ylabel="test error [%]")
        ax.legend()
    return fig


def cosines(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"] == "cosine"]
    methods, epochs = sorted(rows["variant"].unique()), sorted(rows["epoch"].unique())
    stages = int(rows["second"].max())
    fig, axes = figure(
        len(methods), len(epochs), width=1.7 * len(epochs) + 1, height=2.1 * len(methods) + 0.3
    )
    axes = np.reshape(axes, (len(methods), len(epochs)))
    for line, method in zip(axes, methods, strict=True):
        for ax, epoch in zip(line, epochs, strict=True):
            part = rows[(rows["variant"] == method) & (rows["epoch"] == epoch)]
            mean = part.groupby(["first", "second"])["value"].mean()
            matrix = np.eye(stages)
            for (first, second), value in mean.items():
                i, j = int(first) - 1, int(second) - 1
                matrix[i, j] = matrix[j, i] = value
            _heat(ax, matrix)
            ax.set_title(f"epoch {epoch:.0f}", fontsize=9)
        line[0].set_ylabel(f"{method}\nstage")
    return fig


def step_time(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"] == "step_wall_time"]
    keys = ["network", "stages", "variant", "layout", "backward"]
    medians = rows.groupby(keys)["value"].median().reset_index()
    joint = medians[medians["variant"] == "joint"].groupby(["network", "stages"])["value"].min()
    medians = medians[medians["variant"] == "osgd"].set_index(["network", "stages"])
    medians["ratio"] = medians["value"] / joint
    medians["name"] = medians["layout"] + ", " + medians["backward"]
    names = sorted(medians.index.get_level_values("network").unique())
    fig, axes = figure(1, len(names), width=10, height=3.4, sharey=True)
    palette, shapes = colours(medians["name"]), markers(medians["name"])
    for ax, network in zip(np.atleast_1d(axes), names, strict=True):
        for name, part in medians.loc[network].groupby("name"):
            look = {"color": palette[name], "marker": shapes[name], "label": name}
            ax.plot(part.index, part["ratio"], **look)
        ax.axhline(2.2, color="#555555", linestyle="--", linewidth=1, label="target at 4 stages")
        ax.set(title=network, xlabel="stages", ylabel="OSGD step / joint step")
        ax.set_xticks(sorted(set(medians.loc[network].index)))
    np.atleast_1d(axes)[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return fig


# -- parts ---------------------------------------------------------------------------------


def _lines(ax: Axes, rows: pd.DataFrame, along: str, by: str = "variant") -> None:
    """One line with its intervals per value of ``by``."""
    table = interval_table(rows, by=[by, along])
    palette, shapes = colours(table[by]), markers(table[by])
    for name, part in table.groupby(by):
        spread = np.abs(part[["low", "high"]].sub(part["value"], axis=0).to_numpy().T)
        look = {"color": palette[name], "marker": shapes[name], "label": name, "capsize": 2}
        ax.errorbar(part[along], part["value"], yerr=np.nan_to_num(spread), **look)


def _heat(ax: Axes, matrix: np.ndarray) -> None:
    ax.imshow(matrix, cmap="RdBu", vmin=-1, vmax=1)
    for i, j in np.ndindex(matrix.shape):
        dark = abs(matrix[i, j]) > 0.6
        colour = "white" if dark else "#222222"
        ax.text(j, i, f"{matrix[i, j]:.1f}", ha="center", va="center", fontsize=7, color=colour)
    ticks = range(len(matrix))
    ax.set_xticks(ticks, [str(stage + 1) for stage in ticks])
    ax.set_yticks(ticks, [str(stage + 1) for stage in ticks])
    ax.grid(visible=False)
