"""The figures of the paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from common.plotting import colours, dot_interval, figure, interval_table, markers
from projects.cachegen.baselines import BASELINES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEVELS = ["high", "medium", "low", "lowest"]
PAPER_BAND = (2.4, 2.9)
STEPS = ("one step", "one table")


def locality(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"] == "variance_ratio"]
    kinds = ["keys", "keys before rotation", "values"]
    palette = colours(kinds)
    fig, ax = figure(1, 1, width=6.5, height=3.8)
    ax.axhspan(*PAPER_BAND, color="#dddddd", label="the paper, neighbours")
    ax.axhline(1, color="#222222", linewidth=0.8)
    for kind in kinds:
        table = interval_table(rows[rows["variant"] == kind], by="distance").sort_values("distance")
        x = table["distance"].astype(float)
        _band(ax, x, table, palette[kind], kind)
        rho = 1 - 1 / (2 * table["value"].iloc[0])
        if 0 < rho < 1:
            ax.plot(x, 1 / (2 * (1 - rho**x)), ":", color=palette[kind], linewidth=1)
    ax.set_xscale("log", base=2)
    ax.set_xticks([1, 2, 3, 5, 9, 16, 32], ["1", "2", "3", "5", "9", "16", "32"])
    ax.set_xlabel("tokens between the two")
    ax.set_ylabel("variance of values / of differences")
    fig.legend(loc="outside lower center", ncols=4)
    return fig


def entropy(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"] == "entropy"]
    fig, ax = figure(1, 1, width=6.5, height=2.6)
    table = interval_table(rows).set_index("variant")
    order = ["none", "token", "channel", "layer", "layer and channel"]
    dot_interval(ax, table.reindex([name for name in order if name in table.index]).reset_index())
    ax.set_xlabel("bits per symbol")
    return fig


def sensitivity(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"] == "perplexity_rise"]
    thirds = ["first third", "middle third", "last third"]
    palette = colours(thirds)
    fig, ax = figure(1, 1, width=6.0, height=3.4)
    for third in thirds:
        table = interval_table(rows[rows["variant"] == third], by="step").sort_values("step")
        _band(ax, table["step"].astype(float), table, palette[third], third)
    ax.axhline(0, color="#222222", linewidth=0.8)
    ax.set_xlabel("width of the bins [standard deviations]")
    ax.set_ylabel("rise of perplexity [%]")
    ax.legend()
    return fig


def rate_distortion(observations: pd.DataFrame) -> Figure:
    """One panel per kind of damage; levels of a codec joined, codecs of one level named."""
    bits = _means(observations[observations["dataset"] == "python-sources"], "bits")
    panels = {
        "perplexity_rise": ("rise of perplexity [%]", lambda x: x),
        "agreement": ("changed most likely tokens [%]", lambda x: 100 * (1 - x)),
        "recall": ("errors in key-value recall [%]", lambda x: 100 * (1 - x)),
    }
    fig, axes = figure(1, len(panels), width=13, height=4.8)
    for ax, (metric, (label, shown)) in zip(axes, panels.items(), strict=True):
        found = _means(observations, metric).map(shown)
        size = _means(observations, "recall_bits") if metric == "recall" else bits
        _curves(ax, size, found)
        if metric == "recall" and ("fp16", "medium") in found.index:
            ax.axhline(found["fp16", "medium"], color="#222222", linewidth=0.8, linestyle="--")
        if metric == "perplexity_rise":
            ax.set_yscale("symlog", linthresh=0.2)
        ax.set_xscale("log", base=2)
        ax.set_xticks([1, 2, 4, 8], ["1", "2", "4", "8"])
        ax.set_xlabel("bits per element")
        ax.set_ylabel(label)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=7)
    return fig


def _curves(ax: Axes, size: pd.Series, damage: pd.Series) -> None:
    """Lines through the levels of the codecs that have several, named points for the others."""
    lines = ["cachegen", "nodelta", "auto", "lmcache", "kvtc", "h2o+cachegen"]
    palette, marks = colours(lines), markers(lines)
    names = dict.fromkeys(name for name, _ in size.index)
    for name in names:
        levels = [level for v, level in size.index if v == name and (v, level) in damage.index]
        points = sorted((size[name, level], damage[name, level]) for level in levels)
        if name in lines and points:
            style = "--" if name in BASELINES else "-"
            options = {"color": palette[name], "marker": marks[name], "linestyle": style}
            ax.plot(*zip(*points, strict=True), label=name, **options)
        elif name not in ("fp16", *STEPS):
            for point in points:
                ax.plot(*point, ".", color="#555555")
                ax.annotate(name, point, (4, 2), textcoords="offset points", fontsize=7)


def steps(observations: pd.DataFrame) -> Figure:
    names = {
        ("uniform8", "medium"): "8-bit quantisation",
        ("one step", "medium"): "one step, one distribution, entropy coded",
        ("one table", "medium"): "+ steps by layer",
        ("nodelta", "medium"): "+ distributions by layer and channel",
        ("cachegen", "medium"): "+ differences to the anchor (the paper)",
        ("auto", "medium"): "predictor by measurement instead",
    }
    rows = observations[
        (observations["metric"] == "bits") & (observations["dataset"] == "python-sources")
    ]
    rows = rows.assign(key=[*zip(rows["variant"], rows["level"], strict=True)])
    rows = rows[rows["key"].isin(names)]
    rows = rows.assign(step=rows["key"].map(names))
    fig, ax = figure(1, 1, width=8, height=2.8)
    table = interval_table(rows, by="step").set_index("step")
    table = table.reindex([name for name in names.values() if name in table.index])
    dot_interval(ax, table.reset_index().rename(columns={"step": "variant"}))
    ax.set_xlabel("bits per element")
    ax.set_xlim(left=0)
    return fig


def bandwidth(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"] == "ttft"]
    variants = ["text", "fp16", "uniform8", "cachegen"]
    palette, marks = colours(variants), markers(variants)
    panels = {
        "bandwidth": ("gigabits", "link [Gbit/s]"),
        "length": ("tokens", "tokens of the context"),
        "concurrency": ("concurrency", "requests at once"),
    }
    devices = sorted(rows["device"].unique())
    fig, axes = figure(len(devices), len(panels), width=11, height=3.0 * len(devices))
    for line, device in zip(np.atleast_2d(axes), devices, strict=True):
        for ax, (sweep, (column, label)) in zip(line, panels.items(), strict=True):
            part = rows[(rows["sweep"] == sweep) & (rows["device"] == device)]
            for variant in variants:
                mean = part[part["variant"] == variant].groupby(column)["value"].mean()
                shown = variant if ax is np.atleast_2d(axes)[0][0] else None
                options = {"color": palette[variant], "marker": marks[variant]}
                ax.plot(mean.index, mean.to_numpy(), label=shown, **options)
            ax.set_xscale("log")
            ax.set_yscale("log")
            ax.set_xlabel(label)
            if sweep != "bandwidth":
                values = sorted(part[column].unique())
                ax.set_xticks(values, [f"{value:,.0f}" for value in values])
                ax.minorticks_off()
            fixed = {"bandwidth": "9,400 tokens", "length": "3 Gbit/s"}.get(sweep, "9,400 tokens")
            ax.set_title(f"{device.upper()}, {fixed}", fontsize=9)
        line[0].set_ylabel("time to the first token [s]")
    fig.legend(loc="outside lower center", ncols=4)
    return fig


def slo(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"].isin(["violated", "mean_level"])]
    devices = sorted(rows["device"].unique())
    kinds = {"bandwidth-traces": "real traces", "uniform-rates": "random rates"}
    kinds = {key: name for key, name in kinds.items() if key in set(rows["dataset"])}
    objectives = sorted(rows["slo"].unique())
    lines = len(devices) * len(kinds)
    fig, axes = figure(
        lines, len(objectives), width=3.6 * len(objectives), height=2.7 * lines, sharex=True
    )
    axes = np.reshape(axes, (lines, len(objectives)))
    places = [(device, kind) for device in devices for kind in kinds]
    for line, (device, kind) in zip(axes, places, strict=True):
        for ax, objective in zip(line, objectives, strict=True):
            at = (rows["device"] == device) & (rows["dataset"] == kind)
            _missed(ax, rows[at & (rows["slo"] == objective)])
            ax.set_title(f"{device.upper()}, {kinds[kind]}, {objective:g} s", fontsize=9)
        line[0].set_ylabel("missed objectives [%]")
    for ax in axes[-1]:
        ax.set_xlabel("mean level (0 is the finest, or text)")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return fig


def _missed(ax: Axes, rows: pd.DataFrame) -> None:
    """Fixed levels as a line, the policies as points."""
    mean = rows.groupby(["variant", "metric"])["value"].mean()
    there = set(rows["variant"])
    fixed = [name for name in (f"level-{n}" for n in range(4)) if name in there]
    x = [mean[name, "mean_level"] for name in fixed]
    y = [100 * mean[name, "violated"] for name in fixed]
    ax.plot(x, y, ".-", color="#888888", label="fixed levels 0 to 3")
    policies = ["adaptive", "adaptive+rate", "oracle", "artefact", "text"]
    palette, marks = colours(policies), markers(policies)
    for name in policies:
        if name in there:
            point = mean[name, "mean_level"], 100 * mean[name, "violated"]
            ax.plot(*point, marks[name], color=palette[name], markersize=8, label=name)
    quantised = 100 * mean["uniform8", "violated"]
    ax.axhline(quantised, color="#888888", linestyle="--", label="8-bit quantisation")
    ax.set_xlim(-0.2, 3.2)
    ax.set_ylim(-4, 104)


def transport(observations: pd.DataFrame) -> Figure:
    keys = ["variant", "item"]
    table = observations.pivot_table(index=keys, columns="metric", values="value").reset_index()
    policies = sorted(table["variant"].unique())
    palette, marks = colours(policies), markers(policies)
    fig, ax = figure(1, 1, width=4.8, height=4.2)
    most = 1.1 * float(table[["measured", "simulated"]].max().max())
    ax.plot([0, most], [0, most], color="#888888", linewidth=0.8)
    for policy in policies:
        part = table[table["variant"] == policy]
        options = {"color": palette[policy], "label": policy}
        ax.plot(part["simulated"], part["measured"], marks[policy], **options)
    ax.set_xlabel("simulated [s]")
    ax.set_ylabel("measured over HTTP [s]")
    ax.legend()
    return fig


def throughput(observations: pd.DataFrame) -> Figure:
    speeds = {
        verb: observations[observations["metric"] == f"{verb}_megabytes"]
        .groupby("variant")["value"]
        .agg(["median", "min", "max"])
        for verb in ("encode", "decode")
    }
    order = speeds["decode"].sort_values("median").index
    y, palette = np.arange(len(order)), colours(order)
    fig, axes = figure(1, 2, width=9, height=3.2, sharey=True)
    for ax, (verb, table) in zip(axes, speeds.items(), strict=True):
        table = table.loc[order]
        ax.barh(y, table["median"], color=[palette[name] for name in order])
        ax.hlines(y, table["min"], table["max"], color="#222222")
        ax.set_xlabel(f"{verb} [MB/s of float16]")
    axes[0].set_yticks(y, order)
    return fig


def prefill(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"] == "seconds"]
    cached = sorted(rows["cached"].unique())
    palette = colours([str(int(n)) for n in cached])
    fig, ax = figure(1, 1, width=6, height=3.8)
    for count in cached:
        colour = palette[str(int(count))]
        for variant, style in (("measured", "o"), ("formula", "-")):
            part = rows[(rows["cached"] == count) & (rows["variant"] == variant)]
            part = part.sort_values("new")
            label = f"after {int(count)}" if variant == "measured" else None
            ax.plot(part["new"], 1e3 * part["value"], style, color=colour, label=label)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xticks(sorted(rows["new"].unique()), [f"{n:g}" for n in sorted(rows["new"].unique())])
    ax.set_xlabel("new tokens")
    ax.set_ylabel("time [ms]")
    ax.legend(title="points measured, lines formula")
    return fig


# -- parts ---------------------------------------------------------------------------------


def _means(observations: pd.DataFrame, metric: str) -> pd.Series:
    """Mean of a metric over contexts by variant and level."""
    rows = observations[observations["metric"] == metric]
    return rows.groupby(["variant", "level"], sort=False)["value"].mean()


def _band(ax: Axes, x: pd.Series, table: pd.DataFrame, colour: str, label: str) -> None:
    ax.plot(x, table["value"], "o-", color=colour, label=label, markersize=4)
    ax.fill_between(x, table["low"], table["high"], color=colour, alpha=0.15, linewidth=0)
