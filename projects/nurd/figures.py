"""The figures of the paper, each from observations alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from common.plotting import (
    colours,
    distribution_by_group,
    figure,
    interval_table,
    label_figure,
    markers,
    weakest,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PROTOCOLS = ("leak_free", "warm_start", "authors")
NAMES = {
    "google-2011-straggler-jobs": "Google 2011",
    "wfinstances-tasks": "workflow tasks",
    "spark-recorded": "recorded Spark stages",
    "synthetic-jobs": "generated jobs",
}


def latencies(observations: pd.DataFrame) -> Figure:
    from matplotlib.ticker import LogLocator, NullFormatter

    rows = observations[observations["metric"].isin(["latency", "threshold"])]
    jobs = rows.groupby(["dataset", "item", "tail"], sort=True).size().index[:24]
    across = min(4, len(jobs))
    down = -(-len(jobs) // across)
    fig, axes = figure(down, across, width=2.4 * across, height=1.9 * down)
    for ax, (dataset, item, tail) in zip(np.ravel(axes), jobs, strict=False):
        job = rows[(rows["dataset"] == dataset) & (rows["item"] == item)]
        seconds = job.loc[job["metric"] == "latency", "value"]
        tau = job.loc[job["metric"] == "threshold", "value"].iloc[0]
        edges = np.geomspace(seconds.min(), seconds.max() * 1.001, 30)
        ax.hist(seconds, bins=edges, color=colours([dataset])[dataset])
        ax.axvline(tau, color="black", linestyle="--", linewidth=1)
        ax.set(xscale="log", yscale="log", xlabel="latency [s]")
        # A job's latencies span one decade or two: labels between the decades would overlap.
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0), numticks=6))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter(NullFormatter())
        name = item.replace("-large", "").replace("synthetic-", "generated ")
        ax.set_title(f"{NAMES[dataset]}\n{name}, {tail} tail", fontsize=8)
    for ax in np.ravel(axes)[len(jobs) :]:
        ax.set_axis_off()
    return fig


def f1(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"] == "f1"]
    return _grid(rows, lambda ax, part: _distribution(ax, part, "F1"))


def completion(observations: pd.DataFrame) -> Figure:
    rows = observations[
        (observations["metric"] == "jct_reduction")
        & (observations["machines"] == -1)
        & (observations["policy"] == "copy")
        & (observations["variant"] != "none")
    ]
    return _grid(rows, lambda ax, part: _distribution(ax, part, "reduction [%]"))


def rates(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"].isin(["tpr", "fpr"])]

    def draw(ax: Axes, part: pd.DataFrame) -> None:
        table = part.pivot_table(index="variant", columns="metric", values="value")
        palette, shapes = colours(table.index), markers(table.index)
        for name, rate in table.iterrows():
            ax.plot(rate["fpr"], rate["tpr"], shapes[name], color=palette[name], label=name)
        ax.plot([0, 1], [0, 1], color="0.7", linewidth=1, zorder=0)
        ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="FPR", ylabel="TPR")

    return _grid(rows, draw, legend=True)


def recall_over_time(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"] == "tpr_until"]

    def draw(ax: Axes, part: pd.DataFrame) -> None:
        _lines(ax, part, "progress")
        ax.set(ylim=(-0.03, 1.03), xlabel="time / straggler threshold", ylabel="TPR")

    return _grid(rows, draw, legend=True)


def machines(observations: pd.DataFrame) -> Figure:
    rows = observations[
        (observations["metric"] == "jct_reduction")
        & (observations["machines"] >= 0)
        & (observations["policy"] == "copy")
        & (observations["variant"] != "none")
    ]

    def draw(ax: Axes, part: pd.DataFrame) -> None:
        _lines(ax, part, "machines")
        ax.set(xlabel="spare machines / tasks", ylabel="reduction [%]")

    return _grid(rows, draw, legend=True)


def sensitivity(observations: pd.DataFrame) -> Figure:
    import matplotlib.pyplot as plt

    protocols = [name for name in PROTOCOLS if name in set(observations["protocol"])]
    fig, axes = figure(len(protocols), 3, width=9, height=2.7 * len(protocols))
    shades = plt.get_cmap("viridis")
    floors = sorted(observations["eps"].unique())
    for line, protocol in zip(np.atleast_2d(axes), protocols, strict=True):
        part = observations[observations["protocol"] == protocol]
        for ax, metric in zip(line, ("f1", "tpr", "fpr"), strict=True):
            for place, eps in enumerate(floors):
                table = interval_table(
                    part[(part["metric"] == metric) & (part["eps"] == eps)], by="alpha"
                ).sort_values("alpha")
                colour = shades(0.85 * place / max(len(floors) - 1, 1))
                ax.plot(table["alpha"], table["value"], "o-", color=colour, label=f"eps {eps:g}")
                ax.fill_between(
                    table["alpha"], table["low"], table["high"], color=colour, alpha=0.15, lw=0
                )
            ax.set(ylim=(-0.03, 1.03), xlabel="alpha", title=f"{metric.upper()}, {protocol}")
    np.atleast_2d(axes)[0, 0].legend()
    return fig


def decision(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"] == "decide_wall_time"]
    fig, ax = figure(height=3.6)
    palette, shapes = colours(rows["variant"]), markers(rows["variant"])
    for name, part in rows.groupby("variant"):
        seconds = part.groupby("tasks")["value"]
        middle = 1e3 * seconds.median()
        ax.plot(middle.index, middle, shapes[name] + "-", color=palette[name], label=name)
        ax.fill_between(
            middle.index,
            1e3 * seconds.min(),
            1e3 * seconds.max(),
            color=palette[name],
            alpha=0.15,
            lw=0,
        )
    ax.set(xscale="log", yscale="log", xlabel="tasks of the job", ylabel="one decision [ms]")
    ax.legend()
    return fig


def _lines(ax: Axes, part: pd.DataFrame, x: str) -> None:
    """One line per method of the mean over jobs."""
    table = part.pivot_table(index=x, columns="variant", values="value")
    palette, shapes = colours(table.columns), markers(table.columns)
    for name in table:
        ax.plot(table.index, table[name], f"{shapes[name]}-", color=palette[name], label=name, ms=4)


def _distribution(ax: Axes, part: pd.DataFrame, ylabel: str) -> None:
    distribution_by_group(ax, part, ylabel=ylabel)
    ax.tick_params(axis="x", labelrotation=50, labelsize=8)
    for label in ax.get_xticklabels():
        label.set(ha="right", rotation_mode="anchor")


def _grid(
    rows: pd.DataFrame, draw: Callable[[Axes, pd.DataFrame], None], legend: bool = False
) -> Figure:
    """One line of axes per data set, one column per protocol; data without time has one axis."""
    datasets = [name for name in NAMES if name in set(rows["dataset"])]
    protocols = [name for name in PROTOCOLS if name in set(rows["protocol"])]
    fig, axes = figure(
        len(datasets), len(protocols), width=3.4 * len(protocols), height=2.9 * len(datasets)
    )
    axes = np.reshape(axes, (len(datasets), len(protocols)))
    handles: dict[str, object] = {}
    for line, dataset in zip(axes, datasets, strict=True):
        for ax, protocol in zip(line, protocols, strict=True):
            part = rows[(rows["dataset"] == dataset) & (rows["protocol"] == protocol)]
            if protocol != "leak_free" and "clean" in part:
                part = part[part["clean"] == part["clean"].max()] if len(part) else part
            if not len(part):
                ax.set_axis_off()
                continue
            draw(ax, part)
            jobs, label = part["item"].nunique(), part["data"].iloc[0]
            where = protocol if part["series"].iloc[0] else "no time series"
            ax.set_title(f"{NAMES[dataset]} ({label}), {jobs} jobs\n{where}", fontsize=9)
            handles |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    if legend:
        fig.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=6)
    return label_figure(fig, *weakest(rows))
