"""The figures of the replay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from common.plotting import colours, dot_interval, figure, interval_table, markers
from projects.alert.replay import MODES
from projects.alert.summary import ALLOWED, MEANS, mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ORDER = (
    "Oracle",
    "ALERT",
    "ALERT-Any",
    "ALERT-Trad",
    "App-only",
    "Sys-only",
    "No-coord",
    "PI",
    "LinUCB",
    "Lookup",
)
SHADE = "#E9E4D8"
# characters, as mathtext takes 20 ms to parse each of hundreds of cells
SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def candidates(observations: pd.DataFrame) -> Figure:
    platforms = sorted(observations["platform"].unique())
    fig, axes = figure(len(platforms), 1, width=7.5, height=3.6 * len(platforms), squeeze=False)
    for ax, platform in zip(axes[:, 0], platforms, strict=True):
        table = _pairs(observations[observations["platform"] == platform])
        error = 100 * (1 - table["accuracy"])
        dots = ax.scatter(
            1e3 * table["latency"],
            error,
            c=np.log10(table["run_energy"]),
            cmap="viridis",
            s=22,
            linewidths=0,
        )
        for setting, part in table[table["model"].isin(_several(table))].groupby("setting"):
            if setting == table["setting"].max():
                ax.plot(1e3 * part["latency"], 100 * (1 - part["accuracy"]), "k--", linewidth=0.9)
        fig.colorbar(dots, ax=ax, label="energy of the run (log10 J)")
        ax.set(xscale="log", xlabel="latency (ms)", ylabel="error (%)", title=platform)
    return fig


def power(observations: pd.DataFrame) -> Figure:
    platforms = sorted(observations["platform"].unique())
    fig, axes = figure(len(platforms), 2, width=9, height=3.2 * len(platforms), squeeze=False)
    for row, platform in zip(axes, platforms, strict=True):
        part = observations[observations["platform"] == platform]
        unit = part["unit_of_setting"].iloc[0]
        table = _pairs(part)
        last = table[table["stage"] == table.groupby("model")["stage"].transform("max")]
        for ax, column, label in (
            (row[0], "latency", "latency"),
            (row[1], "run_energy", "energy of the run"),
        ):
            curves = last.pivot(index="model", columns="setting", values=column)
            curves = curves.div(curves.iloc[:, -1], axis=0)
            # Many networks take the same measured curve: one line for all of them.
            for _, same in curves.groupby(curves.round(6).apply(tuple, axis=1), sort=False):
                name, others = same.index[0], len(same) - 1
                networks = f"{name} and {others} more" if others else name
                ax.plot(same.columns, same.iloc[0], "o-", markersize=3, label=networks)
            ax.legend(fontsize=7)
            ax.set(xlabel=f"setting ({unit})", ylabel=f"{label} / highest setting", title=platform)
    return fig


def _pairs(observations: pd.DataFrame) -> pd.DataFrame:
    """One row per network, stage and setting."""
    index = ["variant", "stage", "setting"]
    table = observations.pivot_table(index=index, columns="metric", values="value").reset_index()
    return table.rename(columns={"variant": "model"})


def _several(table: pd.DataFrame) -> list[str]:
    depth = table.groupby("model")["stage"].max()
    return list(depth[depth > 1].index)


def timeline(observations: pd.DataFrame) -> Figure:
    presets = list(dict.fromkeys(observations["variant"]))
    chosen = observations[observations["metric"] == "chosen"].sort_values("value")
    rank = {name: place for place, name in enumerate(dict.fromkeys(chosen["model"]))}
    fig, axes = figure(3, len(presets), width=11, height=7.5, sharex=True, sharey="row")
    axes = axes.reshape(3, len(presets))
    for column, preset in enumerate(presets):
        part = observations[observations["variant"] == preset]
        table = part.pivot(index="item", columns="metric", values="value").reset_index(drop=True)
        names = part.drop_duplicates("item").sort_values("item")["model"].to_list()
        _over_time(axes[:, column], table, [rank[name] for name in names])
        axes[1, column].set_yticks(list(rank.values()), [name[:22] for name in rank])
        axes[0, column].set_title(preset)
    return fig


def _over_time(axes: np.ndarray, table: pd.DataFrame, chosen: list[int]) -> None:
    step = table.index
    for ax in axes:
        _shade(ax, table["busy"].to_numpy() > 0)
    axes[0].plot(step, table["slow_down"], ".", color="#777777", markersize=2.5)
    axes[0].plot(step, table["mu"], color="#0B6E99", linewidth=1, label="mean")
    low, high = table["mu"] - table["sd"], table["mu"] + table["sd"]
    axes[0].fill_between(step, low, high, color="#0B6E99", alpha=0.25, linewidth=0, label="± 1 sd")
    axes[0].set_ylabel("slow-down")
    axes[0].legend(loc="upper right", ncols=2)
    axes[1].plot(step, chosen, drawstyle="steps-mid", linewidth=1)
    axes[2].plot(step, table["setting"], drawstyle="steps-mid", linewidth=1)
    axes[2].set(ylabel="power limit (W)", xlabel="input")


def _shade(ax: Axes, busy: np.ndarray) -> None:
    """Shade the stretches in which a load was co-running."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], busy.astype(int), [0]])))
    for begin, end in edges.reshape(-1, 2):
        ax.axvspan(begin - 0.5, end - 0.5, color=SHADE, zorder=0, linewidth=0)


def schemes(observations: pd.DataFrame) -> Figure:
    platforms = sorted(observations["platform"].unique())
    fig, axes = figure(len(platforms), 2, width=12.5, height=4.6 * len(platforms), squeeze=False)
    for line, platform in zip(axes, platforms, strict=True):
        for ax, mode in zip(line, MODES, strict=True):
            chosen = (observations["platform"] == platform) & (observations["mode"] == mode)
            _by_environment(ax, observations[chosen])
            ax.set_title(f"{platform}, least {mode}")
    return fig


def _by_environment(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw the paper's main table: one cell per scheme and environment."""
    names, rows_of, labels = _present(rows), [], []
    for (source, environment), here in rows.groupby(["source", "environment"], sort=False):
        kept = here[~here["excluded"].astype(bool)]
        labels.append(f"{environment}, {source}\n{_settings(kept)} of {_settings(here)} settings")
        rows_of.append(kept)
    _cells(ax, rows_of, ["harmonic"] * len(labels), names, labels)


def means(observations: pd.DataFrame) -> Figure:
    rows = observations[~observations["excluded"].astype(bool)]
    fig, axes = figure(1, 2, width=12.5, height=2.6)
    for ax, mode in zip(axes, MODES, strict=True):
        part = rows[rows["mode"] == mode]
        _cells(ax, [part] * len(MEANS), MEANS, _present(part), MEANS)
        ax.set_title(f"least {mode}, {_settings(part)} settings")
    return fig


def _present(rows: pd.DataFrame) -> list[str]:
    return [name for name in ORDER if name in set(rows["variant"])]


def _settings(rows: pd.DataFrame) -> int:
    return rows["item"].nunique()


def _cells(
    ax: Axes,
    lines: Sequence[pd.DataFrame],
    kinds: Sequence[str],
    names: Sequence[str],
    labels: Sequence[str],
) -> None:
    """One line of cells per table of observations: a mean, and how many settings are not met."""
    values = np.full((len(lines), len(names)), np.nan)
    for y, (rows, kind) in enumerate(zip(lines, kinds, strict=True)):
        for x, name in enumerate(names):
            cell = rows[rows["variant"] == name]
            values[y, x] = mean(cell.loc[cell["metric"] == "normalised", "value"], kind)
            broken = int((cell.loc[cell["metric"] == "met", "value"] == 0).sum())
            raised = str(broken).translate(SUPERSCRIPT) if broken else ""
            ax.text(x, y, f"{values[y, x]:.2f}{raised}", ha="center", va="center", fontsize=8.5)
    colour = np.log(np.clip(values, 0.5, 2.0))  # ends before the darkest, on which none could read
    ax.imshow(colour, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto", alpha=0.75)
    ax.set_xticks(range(len(names)), names, rotation=40, ha="right")
    ax.set_yticks(range(len(labels)), labels)
    ax.grid(visible=False)


def violations(observations: pd.DataFrame) -> Figure:
    rows = observations[~observations["excluded"].astype(bool)]
    fig, axes = figure(2, 2, width=10, height=7.5, sharex="row")
    for line, metric, label in zip(
        axes, ("violations", "late"), ("inputs that violate", "late inputs"), strict=True
    ):
        for ax, mode in zip(line, MODES, strict=True):
            part = rows[(rows["metric"] == metric) & (rows["mode"] == mode)]
            table = interval_table(part).set_index("variant")
            table = table.loc[_present(part)].reset_index()
            table[["value", "low", "high"]] *= 100
            limit = 100 * ALLOWED if metric == "violations" else None
            dot_interval(ax, table, xlabel=f"{label} (%)", reference=limit)
            ax.set_title(f"least {mode}")
    return fig


def ablation(observations: pd.DataFrame) -> Figure:
    rows = observations[~observations["excluded"].astype(bool)]
    rows = rows[rows["variant"] != "OracleStatic"]
    loads = list(dict.fromkeys(rows["environment"]))
    fig, axes = figure(3, len(loads), width=4 * len(loads), height=9, sharey=True, squeeze=False)
    looks = (
        ("normalised", "energy", "normalised energy", 1),
        ("normalised", "error", "normalised error", 1),
        ("violations", None, "inputs that violate (%)", 100),
    )
    for line, (metric, mode, label, scale) in zip(axes, looks, strict=True):
        for ax, load in zip(line, loads, strict=True):
            part = rows[(rows["metric"] == metric) & (rows["environment"] == load)]
            if mode is not None:
                part = part[part["mode"] == mode]
            table = interval_table(part)
            table = table.set_index("variant").loc[list(dict.fromkeys(part["variant"]))]
            table = table.reset_index()
            table[["value", "low", "high"]] *= scale
            dot_interval(ax, table, xlabel=label, reference=1 if scale == 1 else None)
            ax.set_title(load)
    return fig


def overhead(observations: pd.DataFrame) -> Figure:
    rows = observations[observations["metric"].isin(["p50", "p99"])].copy()
    rows["pairs"] = rows["models"] * rows["settings"]
    fig, ax = figure(1, 1, width=6.5, height=3.8)
    rows["what"] = rows["metric"] + ", least " + rows["mode"]
    palette, shapes = colours(rows["what"]), markers(rows["what"])
    for what, part in rows.groupby("what"):
        typical = 1e6 * part.groupby("pairs")["value"].median()
        look = {"color": palette[what], "marker": shapes[what], "label": what}
        ax.plot(typical.index, typical.values, **look)
    ax.axhline(50, color="#555555", linestyle="--", linewidth=1)
    ax.set(xscale="log", yscale="log", xlabel="pairs of network and setting", ylabel="time (µs)")
    ax.legend()
    return fig
