"""The figures of the paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

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


def fidelity(observations: pd.DataFrame) -> Figure:
    return _correlations(observations)


def diversity(observations: pd.DataFrame) -> Figure:
    return _correlations(observations)


def _correlations(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"] == "spearman"]
    kinds = list(dict.fromkeys(rows["kind"]))
    fig, axes = figure(len(kinds), 1, width=10, height=3.4 * len(kinds))
    for ax, kind in zip(np.atleast_1d(axes), kinds, strict=True):
        part = rows[rows["kind"] == kind]
        distribution_by_group(ax, part, ylabel="rank correlation")
        ax.set(title=kind, ylim=(min(-0.05, part["value"].min() - 0.05), 1.05))
    return fig


def curves(observations: pd.DataFrame) -> Figure:
    rows = observations[
        (observations["metric"] == "distance")
        & (observations["kind"] == "rewiring")
        & observations["variant"].isin(["jl id", "jl first_seen", "released"])
    ]
    names = sorted(rows["dataset"].unique())
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    fig, axes = figure(lines, columns, width=3.6 * columns, height=2.9 * lines, sharey=True)
    palette, shapes = colours(rows["variant"]), markers(rows["variant"])
    cells = np.atleast_1d(axes).ravel()
    for ax in cells[len(names) :]:
        ax.set_visible(False)
    for ax, name in zip(cells, names, strict=False):
        for variant, part in rows[rows["dataset"] == name].groupby("variant"):
            mean = -part.groupby("p")["value"].mean()
            look = {"color": palette[variant], "marker": shapes[variant], "label": variant}
            ax.plot(mean.index, mean.values, **look)
        ax.set(title=name, xlabel="share of rewired edges", ylabel="cosine")
    cells[0].legend()
    return fig


def sample_efficiency(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"] == "events_needed"]
    contrasts = sorted(rows["contrast"].unique())
    fig, axes = figure(1, len(contrasts), width=11, height=4.6)
    for ax, contrast in zip(np.atleast_1d(axes), contrasts, strict=True):
        part = rows[rows["contrast"] == contrast].dropna(subset=["value"])
        dot_interval(ax, interval_table(part), xlabel="events needed")
        ax.set_title(f"against {contrast}")
    return fig


def ranking(observations: pd.DataFrame) -> Figure:
    aligns = sorted(observations["align"].unique())
    fig, axes = figure(1, len(aligns), width=10, height=3)
    for ax, align in zip(np.atleast_1d(axes), aligns, strict=True):
        part = observations[observations["align"] == align]
        dot_interval(ax, interval_table(part), xlabel="JL-Metric")
        ax.set_title(f"rows by {align}")
    return fig


def runtime(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"] == "score_wall_time"]
    fig, ax = figure(1, 1, width=9, height=4.2)
    palette, shapes = colours(rows["variant"]), markers(rows["variant"])
    for name, part in rows.groupby("variant"):
        median = part.groupby("events")["value"].median()
        look = {"color": palette[name], "marker": shapes[name], "label": name}
        ax.plot(median.index, median.values, **look)
        if name == "jl gaussian" and (large := median[median.index >= 1e4]).size >= 2:
            slope, offset = np.polyfit(np.log(large.index), np.log(large.values), 1)
            fit = np.exp(offset) * np.array(large.index, float) ** slope
            ax.plot(large.index, fit, "--", color="#555555", label=f"fit: events^{slope:.2f}")
    ax.set(xscale="log", yscale="log", xlabel="events", ylabel="time [s]")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return fig


def ablation(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"] == "spearman"]
    fig, ax = figure(1, 1, width=6.5, height=3.8)
    palette = colours(rows["kind"])
    for kind, part in rows.groupby("kind"):
        mean = part.groupby("dims")["value"].mean()
        ax.plot(mean.index, mean.values, "o-", color=palette[kind], label=kind)
    ax.set(xscale="log", xlabel="n = o", ylabel="rank correlation")
    ax.legend()
    return fig
