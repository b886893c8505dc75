"""The figures on speed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.plotting import colours, figure, interval_table, markers, message_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

PUBLISHED = {"event detector": 9.3, "classifier": 11.8}  # ms on the paper's watch
UNIFIED = "unified graph"
# What a bar adds up, by its label: variant and stages.
BARS = {
    "separate, librosa": ("separate, librosa", ("front end", "network")),
    "separate, numpy": ("separate, numpy", ("front end", "network")),
    UNIFIED: (UNIFIED, ("front end", "network")),
    "its stages, each alone": (
        UNIFIED,
        ("front end", "sound encoder", "motion encoder", "fusion and head"),
    ),
}

# What a counted bar adds up, by its label, and the variant that is counted as a whole.
COUNTED = {
    "separate, front end in C": (("front end, C", "network"), "separate, C"),
    UNIFIED: (("front end", "network"), "classifier"),
}


def speed(observations: pd.DataFrame) -> Figure:
    """Stages of each way of preprocessing, stacked."""
    rows = observations[observations["metric"] == "latency"]
    medians = rows.groupby(["variant", "stage"])["value"].median()
    stages = list(dict.fromkeys(stage for _, parts in BARS.values() for stage in parts))
    fig, ax = figure(1, 1, width=9, height=3.2)
    palette, labelled = colours(stages), set()
    for place, (label, (variant, parts)) in enumerate(BARS.items()):
        left = 0.0
        for stage in parts:
            width, name = medians[variant, stage], None if stage in labelled else stage
            ax.barh(place, width, left=left, color=palette[stage], label=name)
            labelled.add(stage)
            left += width
        if label == variant:
            ax.vlines(medians[variant, "total"], place - 0.45, place + 0.45, color="#222222")
    ax.set_yticks(range(len(BARS)), BARS)
    ax.set_ylim(len(BARS) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("time [ms]")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return fig


def wearable(observations: pd.DataFrame) -> Figure:
    """Latency of each stage on each part of the target."""
    rows = observations[
        (observations["metric"] == "latency") & observations["variant"].isin(PUBLISHED)
    ]
    torch = rows["format"].eq("executorch").map({True: "ExecuTorch ", False: ""})
    rows = rows.assign(file=torch + rows["precision"])
    names = sorted(rows["variant"].unique())
    fig, axes = figure(1, len(names), width=5.2 * len(names), height=3.4, squeeze=False)
    parts = sorted(rows["part"].unique())
    files = sorted(rows["file"].unique())
    palette, shapes = colours(files), markers(files)
    for ax, name in zip(axes[0], names, strict=True):
        for row in rows[rows["variant"] == name].to_dict("records"):
            file = row["file"]
            place = parts.index(row["part"]) + 0.15 * (files.index(file) - (len(files) - 1) / 2)
            ends = [1e3 * row["low"], 1e3 * row["high"]]
            ax.plot(ends, [place, place], color=palette[file], linewidth=2.4)
            shape = "D" if row["measurement"] == "measured" else shapes[file]
            ax.plot(1e3 * row["value"], place, shape, color=palette[file], label=file)
        ax.axvline(PUBLISHED[name], color="#555555", linestyle="--", linewidth=1)
        ax.set_yticks(range(len(parts)), parts)
        ax.set(title=name, xlabel="time of a window [ms]", xscale="log")
    handles, labels = axes[0, -1].get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    axes[0, -1].legend(unique.values(), unique.keys(), loc="center left", bbox_to_anchor=(1, 0.5))
    return fig


def instructions(observations: pd.DataFrame) -> Figure:
    """Counted instructions of a window, separate and unified, stacked."""
    rows = observations[
        (observations["metric"] == "instructions") & (observations["precision"] == "fp32")
    ]
    millions = rows.groupby("variant")["value"].first() / 1e6
    if not {part for parts, _ in COUNTED.values() for part in parts} <= {*millions.index}:
        return message_figure("Emulated instructions", "not counted here: `reprise doctor`")
    fig, ax = figure(1, 1, width=9, height=2.2)
    palette, labelled = colours(part for parts, _ in COUNTED.values() for part in parts), set()
    for place, (parts, whole) in enumerate(COUNTED.values()):
        left = 0.0
        for part in parts:
            label = None if part in labelled else f"{part}: {millions[part]:.2f}"
            ax.barh(place, millions[part], left=left, color=palette[part], label=label)
            labelled.add(part)
            left += millions[part]
        ax.vlines(millions[whole], place - 0.45, place + 0.45, color="#222222")
    ax.set_yticks(range(len(COUNTED)), COUNTED)
    ax.set_ylim(len(COUNTED) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("instructions of a window [million]")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return fig


def precision(observations: pd.DataFrame) -> Figure:
    """Accuracy against size of the file."""
    sizes = observations[observations["metric"] == "bytes"].set_index("variant")["value"] / 1e6
    table = interval_table(observations[observations["metric"] == "accuracy"])
    fig, ax = figure(1, 1, width=6.4, height=3.4)
    palette, shapes = colours(table["variant"]), markers(table["variant"])
    for row in table.to_dict("records"):
        name, size = row["variant"], sizes[row["variant"]]
        ax.plot([size, size], [row["low"], row["high"]], color=palette[name])
        ax.plot(size, row["value"], shapes[name], color=palette[name], label=name)
    ax.set(xlabel="file [MB]", ylabel="accuracy per window", ylim=(0, 1.02), xlim=(0, None))
    ax.legend()
    return fig
