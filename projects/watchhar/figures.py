"""The figures of the paper on accuracy; those on speed are in ``speed_figures``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from common.plotting import colours, dot_interval, figure, interval_table, markers
from projects.watchhar.data import CLASSES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEVELS = ("frame", "file", "context")
CHANCE = 0.1  # of ten digits


def accuracy(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"] == "accuracy"]
    rows = rows.assign(variant=rows["experiment"] + ": " + rows["variant"])
    order = {name: place for place, name in enumerate(dict.fromkeys(rows["variant"]))}
    fig, axes = figure(1, len(LEVELS), width=11, height=1.4 + 0.4 * len(order), sharey=True)
    for ax, level in zip(axes, LEVELS, strict=True):
        table = interval_table(rows[rows["level"] == level])
        table = table.sort_values("variant", key=lambda names: names.map(order))
        dot_interval(ax, table, xlabel="balanced accuracy")
        ax.set(title=level, xlim=(0, 1.02))
    return fig


def confusion(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"] == "windows"]
    name = "watchhar" if (rows["variant"] == "watchhar").any() else rows["variant"].iloc[0]
    rows = rows[rows["variant"] == name]
    counts = rows.pivot_table(
        index="truth", columns="answer", values="value", aggfunc="sum", fill_value=0
    )
    names = [name for name in CLASSES if name in counts.index]
    counts = counts.reindex(index=names, columns=names, fill_value=0)
    shares = counts.to_numpy() / counts.to_numpy().sum(axis=1, keepdims=True)
    fig, ax = figure(width=8.5, height=7.5)
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ax.set_xticks(range(len(names)), names, rotation=90)
    ax.set_yticks(range(len(names)), names)
    ax.set(title=name, xlabel="answer", ylabel="activity")
    ax.grid(visible=False)
    fig.colorbar(image, ax=ax, shrink=0.7, label="share of the activity's windows")
    return fig


def events(observations: pd.DataFrame) -> Figure:
    windows = sorted(observations["windows"].dropna().unique())
    fig, axes = figure(1, 2 + len(windows), width=15, height=4)
    _operating_points(axes[0], observations[observations["windows"] == "recorded"])
    gates = observations[observations["metric"].isin(["gate_duty_cycle", "event_share"])]
    for ax, name in zip(axes[1:-1], windows, strict=True):
        part = gates[gates["windows"] == name]
        table = interval_table(part[part["metric"] == "gate_duty_cycle"])
        needed = part.loc[part["metric"] == "event_share", "value"].mean()
        dot_interval(ax, table, xlabel="share of time the microphone runs", reference=needed)
        ax.set_title(f"windows {name}")
    late = observations[observations["metric"] == "detection_delay"]
    table = interval_table(late[late["windows"] == "prolonged"].dropna(subset="value"))
    dot_interval(axes[-1], table, xlabel="seconds from onset to the microphone")
    axes[-1].set_title("windows prolonged")
    return fig


def _operating_points(ax: Axes, rows: pd.DataFrame) -> None:
    """Mean hits over mean false alarms of all subjects, at quantiles of each one's scores."""
    palette, shapes = colours(rows["variant"]), markers(rows["variant"])
    for name, part in rows.groupby("variant"):
        curve = part.pivot_table(index="quantile", columns="metric", values="value")
        x, y = curve["roc_false_alarms"], curve["roc_recall"]
        ax.plot(x, y, color=palette[name], marker=shapes[name], markersize=3, label=name)
    ax.plot([0, 1], [0, 1], "--", color="#999999", linewidth=1)
    ax.set(xlabel="false alarms", ylabel="recall", title="windows recorded")
    ax.legend(loc="lower right")


def rates(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"] == "accuracy"].copy()
    aliased = ~rows["low_pass"].astype(bool)
    rows.loc[aliased, "variant"] = rows.loc[aliased, "variant"] + ", aliased"
    table = interval_table(rows, by=["variant", "rate"])
    palette, shapes = colours(table["variant"]), markers(table["variant"])
    fig, ax = figure(width=8.5, height=4.2)
    for place, (name, part) in enumerate(table.groupby("variant")):
        part = part.sort_values("rate")
        spread = np.array([part["value"] - part["low"], part["high"] - part["value"]])
        shifted = part["rate"] * 1.02 ** (place - 2.5)  # so that intervals do not hide each other
        look = {"color": palette[name], "marker": shapes[name], "label": name, "capsize": 2}
        ax.errorbar(shifted, part["value"], yerr=spread.clip(0), **look)
    ax.axhline(CHANCE, color="#555555", linestyle="--", linewidth=1)
    ticks = sorted(rows["rate"].unique())
    ax.set(xscale="log", xlabel="samples a second", ylabel="digits recognised", ylim=(0, 1))
    ax.set_xticks(ticks, [f"{rate / 1000:g} kHz" for rate in ticks])
    ax.minorticks_off()
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return fig


def open_set(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"].isin(["curve_known", "curve_unknown"])]
    palette, shapes = colours(rows["variant"]), markers(rows["variant"])
    fig, ax = figure(width=6.5, height=4)
    for name, part in rows.groupby("variant"):
        curve = part.pivot_table(index="quantile", columns="metric", values="value")
        x, y = curve["curve_known"], curve["curve_unknown"]
        ax.plot(x, y, color=palette[name], marker=shapes[name], markersize=4, label=name)
    plain = observations[
        (observations["metric"] == "unknown_accepted") & (observations["variant"] == "no rejection")
    ]
    ax.axhline(plain["value"].mean(), color="#555555", linestyle="--", label="no rejection")
    ax.set(xlabel="known windows kept", ylabel="unseen windows accepted", xlim=(0, 1), ylim=(0, 1))
    ax.legend()
    return fig
