"""The figures of the paper, each from observations alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from common.plotting import colours, figure, interval_table, markers

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ORDERS = ("canonical", "permuted")
PROTOCOLS = ("nested", "released")


def orders(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"] == "accuracy"]
    panels = [key for key, _ in rows.groupby(["dataset", "folds"], sort=False)]
    most = max(rows.groupby(["dataset", "folds"])["variant"].nunique())
    across = len(panels)
    fig, axes = figure(1, across, width=4.6 * across, height=1.2 + 0.38 * most, squeeze=False)
    for ax, (name, rule) in zip(axes[0], panels, strict=True):
        own = rows[(rows["dataset"] == name) & (rows["folds"] == rule)]
        _paired(ax, own, "order", ORDERS)
        chance = 1 / _classes(name)
        ax.axvline(chance, color="#555555", linestyle="--", linewidth=1)
        title = f"{name}, random folds" if rule == "random" else name
        ax.set(title=title, xlabel="test accuracy", xlim=(-0.03, 1.05))
    _legend(fig, axes[0][0])
    return fig


def tree(observations: pd.DataFrame) -> Figure:
    shown = [order for order in ORDERS if order in set(observations["order"])]
    fig, axes = figure(2, len(shown), width=4.6 * len(shown), height=5.6, squeeze=False)
    palette, shapes = colours(observations["variant"]), markers(observations["variant"])
    names = {"train_accuracy": "training accuracy", "accuracy": "test accuracy"}
    handles: dict[str, object] = {}
    for line, (metric, label) in zip(axes, names.items(), strict=True):
        for ax, order in zip(line, shown, strict=True):
            own = observations[
                (observations["order"] == order) & (observations["metric"] == metric)
            ]
            for name, part in own.groupby("variant"):
                table = interval_table(part, by="depth").sort_values("depth")
                look = {"color": palette[name], "marker": shapes[name]}
                ax.plot(table["depth"], table["value"], label=name, **look)
                ax.vlines(table["depth"], table["low"], table["high"], color=palette[name])
            depths = sorted(own["depth"].unique())
            ax.plot(depths, [2.0**-depth for depth in depths], color="0.6", ls="--", lw=1)
            ax.set(title=f"{order} order", xlabel="depth r", ylabel=label, ylim=(-0.03, 1.05))
            ax.set_xticks(depths)
            handles |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    fig.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
    return fig


def oversmoothing(observations: pd.DataFrame) -> Figure:
    import matplotlib.pyplot as plt

    rows = observations[observations["metric"] == "energy"]
    kernels = [name for name in sorted(rows["variant"].unique()) if name != "plain"]
    across = len(kernels)
    fig, axes = figure(1, across, width=2 + 4.4 * across, height=4, squeeze=False)
    orders_k = sorted(k for k in rows["k"].unique() if k)
    shades = plt.get_cmap("viridis")(np.linspace(0.85, 0.1, len(orders_k)))
    for ax, kernel in zip(axes[0], kernels, strict=True):
        for k, shade in zip((0, *orders_k), ("black", *shades), strict=True):
            own = rows[(rows["variant"] == (kernel if k else "plain")) & (rows["k"] == k)]
            curves = own.groupby("layer")["value"]
            mean, low, high = (getattr(curves, part)() for part in ("mean", "min", "max"))
            ax.plot(mean.index, mean, color=shade, label=f"k = {k:g}" if k else "plain")
            # On this axis zero has no place; a plain network gets there.
            ax.fill_between(mean.index, low.clip(lower=1e-16), high, color=shade, alpha=0.2, lw=0)
        ax.set(yscale="log", xlabel="layer", ylabel="Dirichlet energy", title=kernel)
    axes[0][-1].legend()
    return fig


def sets(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"] == "accuracy"]
    names = sorted(rows["dataset"].unique())
    across = min(3, len(names))
    down = -(-len(names) // across)
    most = max(rows.groupby("dataset")["variant"].nunique())
    fig, axes = figure(
        down, across, width=3.6 * across, height=(1.2 + 0.38 * most) * down, squeeze=False
    )
    for ax, name in zip(axes.flat, names, strict=False):
        own = rows[rows["dataset"] == name]
        _paired(ax, own, "protocol", PROTOCOLS)
        ax.set(title=f"{name}, {own['item'].nunique()} folds", xlabel="test accuracy")
    for ax in list(axes.flat)[len(names) :]:
        ax.set_axis_off()
    _legend(fig, axes[0][0])
    return fig


def cost(observations: pd.DataFrame) -> Figure:
    fig, axes = figure(1, 2, width=10, height=3.8)
    palette, shapes = colours(observations["variant"]), markers(observations["variant"])
    panels = {"encode_wall_time": "time [s]", "tensor_memory": "peak of live tensors [MiB]"}
    for ax, (metric, label) in zip(axes, panels.items(), strict=True):
        rows = observations[observations["metric"] == metric]
        for name, part in rows.groupby("variant"):
            median = part.groupby("nodes")["value"].median()
            look = {"color": palette[name], "marker": shapes[name]}
            ax.plot(median.index, median, label=name, **look)
        ax.set(xscale="log", yscale="log", xlabel="nodes", ylabel=label)
    axes[0].legend(fontsize=8)
    return fig


def _paired(ax: Axes, rows: pd.DataFrame, column: str, values: Sequence[str]) -> None:
    """Two dots with intervals a line: filled for the first value of a column, hollow for the other.

    Every unit stands behind them as a small dot.
    """
    variants = list(rows.groupby("variant", sort=False).size().index)
    palette = colours(variants)
    for value, offset in zip(values, (-0.14, 0.14), strict=True):
        part = rows[rows[column] == value]
        for row in interval_table(part).to_dict("records") if len(part) else []:
            place = variants.index(row["variant"]) + offset
            colour = palette[row["variant"]]
            units = part.loc[part["variant"] == row["variant"], "value"]
            ax.plot(units, [place] * len(units), ".", color=colour, alpha=0.3, ms=5, mew=0)
            ax.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2)
            face = colour if value == values[0] else "white"
            ax.plot([row["value"]], [place], "o", color=colour, mfc=face, ms=7, zorder=3)
    for value, face in zip(values, ("#555555", "white"), strict=True):
        ax.plot([], [], "o", color="#555555", mfc=face, ms=7, label=value)
    ax.set_yticks(range(len(variants)), variants)
    ax.set_ylim(len(variants) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)


def _legend(fig: Figure, ax: Axes) -> None:
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2)


def _classes(name: str) -> int:
    """Classes of the sets whose chance level is drawn: all are balanced."""
    return 10 if name == "CSL" else 2
