"""The figures of live mode and of the recorded contention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from common.plotting import colours, dot_interval, figure, interval_table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHADES = {"memory": "#E69F00", "compute": "#56B4E9"}
SHOWN = ("ALERT", "static big", "static small", "App-only")


def live_timeline(observations: pd.DataFrame) -> Figure:
    """Response of every input beside the deadline, and what ALERT chose."""
    rows = observations[observations["metric"] == "timeline_response"]
    names = [name for name in SHOWN if name in set(rows["variant"])]
    fig, axes = figure(len(names) + 1, 1, width=9, height=1.7 * len(names) + 2.2, sharex=True)
    top = float(np.quantile(rows["value"] / rows["deadline"], 0.98)) * 1.15
    palette = colours(rows["model"])
    for ax, name in zip(axes, names, strict=False):
        part = rows[rows["variant"] == name].sort_values("index")
        _shade(ax, part)
        relative = part["value"] / part["deadline"]
        ax.scatter(part["index"], relative, s=7, c=[palette[m] for m in part["model"]])
        ax.axhline(1, color="#555555", linestyle="--", linewidth=1)
        missed = float((relative > 1).mean())
        ax.set(title=f"{name}: {missed:.0%} late", ylim=(0, max(top, 1.2)))
    axes[len(names) // 2].set_ylabel("response / deadline")
    chosen = rows[rows["variant"] == "ALERT"].sort_values("index")
    _choices(axes[-1], chosen, palette)
    _legend(fig, palette, set(rows["load"]) - {"none"})
    return fig


def _choices(ax: Axes, rows: pd.DataFrame, palette: dict[str, str]) -> None:
    """Network, stage and setting of every input of ALERT."""
    names = sorted(palette)
    _shade(ax, rows)
    place = {name: number for number, name in enumerate(names)}
    heights = [place[m] + 0.15 * (s - 1) for m, s in zip(rows["model"], rows["stage"], strict=True)]
    ax.scatter(rows["index"], heights, s=9, c=[palette[m] for m in rows["model"]])
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(-0.5, len(names) - 0.2)
    ax.set(title="ALERT: network (higher within a row: later stage) and setting", xlabel="input")
    beside = ax.twinx()
    beside.step(rows["index"], rows["setting"], color="#7F7F7F", linewidth=1, where="mid")
    beside.set_ylim(0, 1.1 * float(rows["setting"].max()))
    beside.set_ylabel("setting")
    beside.grid(visible=False)


def live_summary(observations: pd.DataFrame) -> Figure:
    """Misses, error and energy of every scheme, quiet and under each load."""
    panels = {
        "misses": "share of late answers",
        "error": "error at the deadline",
        "energy": "modelled energy [J per input]",
    }
    loads = [load for load in ("none", "memory", "compute") if load in set(observations["load"])]
    fig, axes = figure(len(panels), len(loads), width=4 * len(loads), height=2.6 * len(panels))
    grid = np.atleast_2d(axes).reshape(len(panels), len(loads))
    for (metric, label), line in zip(panels.items(), grid, strict=True):
        rows = observations[observations["metric"] == metric]
        for load, ax in zip(loads, line, strict=True):
            table = interval_table(rows[rows["load"] == load])
            dot_interval(ax, table, xlabel=label)
            ax.set_title("quiet" if load == "none" else f"{load} load")
    return fig


def contention(observations: pd.DataFrame) -> Figure:
    """Recorded slow-down input by input, with the interval that each filter foresaw."""
    presets = list(dict.fromkeys(_series(observations, "series_mean")["variant"]))
    fig, axes = figure(len(presets), 1, width=9, height=2.2 * len(presets), sharex=True)
    for ax, preset in zip(np.atleast_1d(axes), presets, strict=True):
        ratio, mean, deviation = (
            part[part["variant"] == preset].sort_values("index")
            for part in (
                _series(observations, f"series_{what}") for what in ("ratio", "mean", "sd")
            )
        )
        _shade(ax, ratio)
        place, centre = mean["index"].to_numpy(), mean["value"].to_numpy()
        half = 1.96 * deviation["value"].to_numpy()
        ax.fill_between(
            place, centre - half, centre + half, color="#0072B2", alpha=0.25, linewidth=0
        )
        ax.scatter(ratio["index"], ratio["value"], s=3, color="#222222", linewidths=0)
        ax.set(title=preset, ylabel="slow-down", ylim=(0, 1.1 * float(ratio["value"].max())))
    np.atleast_1d(axes)[-1].set_xlabel("input")
    _legend(fig, {"95 % interval before the input": "#0072B2"}, set(ratio["load"]) - {"none"})
    return fig


def _series(observations: pd.DataFrame, metric: str) -> pd.DataFrame:
    return observations[observations["metric"] == metric]


def _shade(ax: Axes, rows: pd.DataFrame) -> None:
    """Colour the background of every stretch with a load."""
    loads, places = rows["load"].to_numpy(), rows["index"].to_numpy()
    edges = np.flatnonzero(np.r_[True, loads[1:] != loads[:-1]])
    for begin, end in zip(edges, [*edges[1:], len(loads)], strict=True):
        if loads[begin] in SHADES:
            ax.axvspan(places[begin], places[end - 1] + 1, color=SHADES[loads[begin]], alpha=0.25)


def _legend(fig: Figure, palette: dict[str, str], loads: Any) -> None:
    from matplotlib.patches import Patch

    entries = [Patch(color=colour, label=name) for name, colour in palette.items()]
    entries += [
        Patch(color=SHADES[name], alpha=0.25, label=f"{name} load") for name in sorted(loads)
    ]
    fig.legend(handles=entries, loc="outside lower center", ncols=min(len(entries), 6))
