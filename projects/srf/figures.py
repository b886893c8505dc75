"""The figures of the paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.plotting import (
    colours,
    distribution_by_group,
    dot_interval,
    figure,
    interval_table,
    markers,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

ORDERS = ("canonical", "permuted")


def orders(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"] == "accuracy"]
    sets = sorted(rows["dataset"].unique())
    fig, axes = figure(len(sets), 2, width=10, height=3.2 * len(sets))
    for line, name in zip(_grid(axes, len(sets)), sets, strict=True):
        own = rows[rows["dataset"] == name]
        names = list(own.groupby("variant", sort=False).size().index)
        for ax, order in zip(line, ORDERS, strict=True):
            part = own[own["order"] == order]
            distribution_by_group(ax, part, ylabel="test accuracy", order=names)
            ax.set(title=f"{name}, {order} order", ylim=(-0.03, 1.05))
    return fig


def tree(observations: pd.DataFrame) -> Figure:
    shown = [order for order in ORDERS if order in set(observations["order"])]
    fig, axes = figure(1, len(shown), width=5 * len(shown), height=3.6)
    palette, shapes = colours(observations["variant"]), markers(observations["variant"])
    for ax, order in zip(_grid(axes, 1)[0], shown, strict=True):
        own = observations[observations["order"] == order]
        for metric, style in (("accuracy", "-"), ("train_accuracy", ":")):
            part = own[own["metric"] == metric]
            for name, curve in part.groupby("variant"):
                mean = curve.groupby("depth")["value"].mean()
                look = {"color": palette[name], "marker": shapes[name]}
                label = name if style == "-" else None
                ax.plot(mean.index, mean.values, style, label=label, **look)
        ax.set(title=f"{order} order", xlabel="depth r", ylabel="accuracy", ylim=(-0.03, 1.05))
        ax.set_xticks(sorted(own["depth"].unique()))
    _grid(axes, 1)[0][-1].legend()
    return fig


def oversmoothing(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"] == "energy"]
    fig, axes = figure(1, 1, width=7, height=4)
    ax = _grid(axes, 1)[0][0]
    labels = [
        "plain" if not k else f"{name}, k={int(k)}"
        for name, k in zip(rows["variant"], rows["k"], strict=True)
    ]
    rows = rows.assign(line=labels)
    palette = colours(rows["line"])
    for name, part in rows.groupby("line", sort=False):
        mean = part.groupby("layer")["value"].mean().clip(lower=1e-16)
        ax.plot(mean.index, mean.values, label=name, color=palette[name])
    ax.set(yscale="log", xlabel="layer", ylabel="Dirichlet energy per node")
    ax.legend()
    return fig


def sets(observations: pd.DataFrame) -> Figure:
    names = sorted(observations["dataset"].unique())
    fig, axes = figure(len(names), 2, width=10, height=2.6 * len(names))
    for line, name in zip(_grid(axes, len(names)), names, strict=True):
        for ax, protocol in zip(line, ("nested", "released"), strict=True):
            own = observations[
                (observations["dataset"] == name)
                & (observations["protocol"] == protocol)
                & (observations["metric"] == "accuracy")
            ]
            dot_interval(ax, interval_table(own), xlabel="accuracy")
            ax.set_title(f"{name}, {protocol}")
    return fig


def cost(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"] == "encode_wall_time"]
    fig, axes = figure(1, 1, width=7, height=4)
    ax = _grid(axes, 1)[0][0]
    palette, shapes = colours(rows["variant"]), markers(rows["variant"])
    for name, part in rows.groupby("variant"):
        median = part.groupby("nodes")["value"].median()
        ax.plot(median.index, median.values, label=name, color=palette[name], marker=shapes[name])
    ax.set(xscale="log", yscale="log", xlabel="nodes", ylabel="time [s]")
    ax.legend()
    return fig


def _grid(axes: object, rows: int) -> list[list]:
    """Axes as a list of rows, whatever shape they came in."""
    import numpy as np

    return [list(line) for line in np.atleast_1d(axes).reshape(rows, -1)]
