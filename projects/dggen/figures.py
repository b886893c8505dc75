"""The figures of the paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from common.plotting import colours, dot_interval, figure, interval_table, markers

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

REFERENCE = "degree_preserving"


def topology(observations: pd.DataFrame) -> Figure:
    from common.graphs.snapshots import TIGGER_TEN

    rows = observations[
        observations["metric"].isin(TIGGER_TEN) & (observations["windows"] == "count")
    ]
    datasets = sorted(rows["dataset"].unique())
    variants = ["dggen", "dggen-empty", "tigger", "activity_driven", "bootstrap", "replay"]
    variants = [name for name in [*variants, "uniform"] if name in set(rows["variant"])]
    fig, axes = figure(len(datasets), 1, width=9, height=2.9 * len(datasets))
    for ax, dataset in zip(np.atleast_1d(axes), datasets, strict=True):
        part = rows[rows["dataset"] == dataset]
        table = part.pivot_table(index=["variant", "seed"], columns="metric", values="value")
        ratios = np.full((len(variants), len(TIGGER_TEN)), np.nan)
        for line, variant in enumerate(variants):
            for column, metric in enumerate(TIGGER_TEN):
                if metric in table:
                    ratios[line, column] = _ratio(table[metric], variant)
        _heat(ax, ratios, variants, [name.replace("_", " ") for name in TIGGER_TEN])
        ax.set_title(f"{dataset}: error / error of the degree-preserving generator")
    return fig


def _ratio(errors: pd.Series, variant: str) -> float:
    """Geometric mean over seeds of error over the reference's; NaN where one of them is 0."""
    if not {variant, REFERENCE} <= set(errors.index.get_level_values("variant")):
        return float("nan")
    both = errors[variant] / errors[REFERENCE]
    both = both[np.isfinite(both) & (both > 0)]
    return float(np.exp(np.log(both).mean())) if len(both) else float("nan")


def _heat(ax, ratios: np.ndarray, rows: list[str], columns: list[str]) -> None:
    ax.imshow(np.log2(ratios), cmap="RdBu_r", vmin=-2.5, vmax=2.5, aspect="auto")
    for (line, column), value in np.ndenumerate(ratios):
        if np.isfinite(value):
            shade = "white" if abs(np.log2(value)) > 1.6 else "#222222"
            text = f"{value:.2g}" if value < 10 else f"{value:.0f}"
            ax.text(column, line, text, ha="center", va="center", fontsize=8, color=shade)
    ax.set_xticks(range(len(columns)), columns, rotation=25, ha="right", fontsize=8)
    ax.set_yticks(range(len(rows)), rows, fontsize=8)
    ax.grid(visible=False)


def likelihood(observations: pd.DataFrame) -> Figure:
    terms = {"nll_src": "source", "nll_dst": "destination", "nll_time": "span"}
    terms["nll_features"] = "features"
    rows = observations[observations["metric"].isin(terms)]
    datasets, variants = sorted(rows["dataset"].unique()), ["dggen", "marginal", "backoff"]
    names = {"dggen": "DG-Gen", "marginal": "counts, marginal", "backoff": "counts, pairs"}
    palette = colours(variants)
    fig, axes = figure(1, len(datasets), width=3.0 * len(datasets), height=3.4)
    for ax, dataset in zip(np.atleast_1d(axes), datasets, strict=True):
        part = rows[rows["dataset"] == dataset]
        shown = [metric for metric in terms if metric in set(part["metric"])]
        for place, variant in enumerate(variants):
            table = interval_table(part[part["variant"] == variant], by="metric")
            table = table.set_index("metric")
            for x, metric in enumerate(shown):
                if metric not in table.index:
                    continue
                value, low, high, _ = table.loc[metric]
                at, width = x + 0.27 * (place - 1), 0.25
                label = names[variant] if x == (1 if variant == "backoff" else 0) else None
                ax.bar(at, value, width, color=palette[variant], label=label)
                if np.isfinite(low):
                    ax.plot([at, at], [low, high], color="#222222", linewidth=1.2)
        # Only the destination has a third bar.
        middles = [x if metric == "nll_dst" else x - 0.135 for x, metric in enumerate(shown)]
        ax.set_xticks(middles, [terms[metric] for metric in shown], fontsize=8)
        ax.grid(axis="x", visible=False)
        ax.set_title(dataset)
    first = np.atleast_1d(axes)[0]
    first.set_ylabel("nats per event")
    handles, labels = first.get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=3)
    return fig


def links(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"] == "auc"]
    datasets = sorted(rows["dataset"].unique())
    kinds = ["random", "historical", "inductive"]
    order = ["dggen", "tgn", "edgebank", "edgebank-window", "counts"]
    size = {"width": 10, "height": 1.9 * len(datasets) + 0.3, "sharex": True}
    fig, axes = figure(len(datasets), len(kinds), **size)
    for line, dataset in zip(np.atleast_2d(axes), datasets, strict=True):
        for ax, kind in zip(line, kinds, strict=True):
            part = rows[(rows["dataset"] == dataset) & (rows["negatives"] == kind)]
            table = interval_table(part).set_index("variant")
            table = table.reindex([name for name in order if name in table.index])
            dot_interval(ax, table.reset_index(), reference=0.5)
            ax.set_xlim(-0.03, 1.03)
            ax.set_title(f"{dataset}, {kind}", fontsize=9)
    for ax in np.atleast_2d(axes)[-1]:
        ax.set_xlabel("ROC AUC")
    return fig


def curve(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"] == "curve_jl"]
    flat = observations[(observations["metric"] == "jl") & (observations["align"] == "id")]
    datasets = sorted(rows["dataset"].unique())
    names = ["bootstrap", REFERENCE, "replay", "uniform"]
    palette = colours(["dggen", *names])
    fig, axes = figure(1, len(datasets), width=3.0 * len(datasets), height=3.3)
    for ax, dataset in zip(np.atleast_1d(axes), datasets, strict=True):
        epochs = rows[rows["dataset"] == dataset].groupby("epoch")["value"]
        mean = epochs.mean()
        ax.plot(mean.index, mean, "o-", color=palette["dggen"], label="dggen")
        ax.fill_between(mean.index, epochs.min(), epochs.max(), color=palette["dggen"], alpha=0.2)
        part = flat[flat["dataset"] == dataset].groupby("variant")["value"].mean()
        for name in names:
            if name in part:
                ax.axhline(part[name], color=palette[name], linestyle="--", label=name)
        ax.set(xlabel="epoch", title=dataset)
        ax.xaxis.get_major_locator().set_params(integer=True)
    first = np.atleast_1d(axes)[0]
    first.set_ylabel("JL-Metric with the test")
    fig.legend(*first.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return fig


def features(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"] == "share"]
    pairs = list(dict.fromkeys(zip(rows["dataset"], rows["column"], strict=True)))
    across = min(4, len(pairs))
    down = -(-len(pairs) // across)
    fig, axes = figure(down, across, width=2.7 * across, height=2.5 * down)
    palette = colours(["real", "dggen"])
    cells = np.atleast_1d(axes).ravel()
    for ax in cells[len(pairs) :]:
        ax.set_visible(False)
    for ax, (dataset, column) in zip(cells, pairs, strict=False):
        part = rows[(rows["dataset"] == dataset) & (rows["column"] == column)]
        for variant, line in part.groupby("variant", sort=False):
            line = line.sort_values("centre")
            ax.step(line["centre"], line["value"], where="mid", color=palette[variant])
            ax.fill_between(
                line["centre"], line["value"], step="mid", color=palette[variant], alpha=0.25
            )
            ax.plot([], [], color=palette[variant], label=variant)
        if column == "span":
            ax.set(yscale="log", xlabel="time units")
        ax.set_title(f"{dataset}\n{column.replace('_', ' ')}", fontsize=8)
    cells[0].legend()
    return fig


def throughput(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"] == "events_per_second"]
    ours, rivals = rows[rows["variant"] == "dggen"], rows[rows["variant"] != "dggen"]
    fig, ax = figure(width=6.6, height=4.0)
    names = [f"DG-Gen, {nodes:,} nodes" for nodes in sorted(ours["nodes"].unique())]
    palette = colours([*names, *rivals["variant"].unique()])
    shapes = markers(names)
    for nodes, part in ours.groupby("nodes"):
        speeds, name = part.groupby("batch")["value"], f"DG-Gen, {nodes:,} nodes"
        look = {"color": palette[name], "marker": shapes[name], "label": name}
        ax.plot(speeds.median().index, speeds.median(), **look)
        ax.fill_between(
            speeds.median().index, speeds.min(), speeds.max(), color=palette[name], alpha=0.2
        )
    for name, part in rivals.groupby("variant"):
        ax.axhline(part["value"].median(), color=palette[name], linestyle="--", label=name)
    ax.axhline(1000, color="#555555", linewidth=1, linestyle=":")
    ax.set(xscale="log", yscale="log", xlabel="events drawn from one state", ylabel="events/s")
    ax.legend(fontsize=8)
    return fig


def ablation(observations: pd.DataFrame) -> Figure:
    terms = {"nll_src": "source", "nll_dst": "destination", "nll_time": "span"}
    rows = observations[observations["metric"].isin(terms)]
    fig, axes = figure(1, len(terms), width=11, height=3.6)
    for ax, (metric, title) in zip(axes, terms.items(), strict=True):
        dot_interval(ax, interval_table(rows[rows["metric"] == metric]), xlabel="nats per event")
        ax.set_title(title)
    return fig
