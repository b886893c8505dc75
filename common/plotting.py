"""One figure style for all papers: colour-blind safe, labelled, reproducible to the byte."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.results import DATA_LABELS, MEASUREMENT_LABELS, atomic

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

# M. Okabe and K. Ito, Color Universal Design, 2008. Grey stands in for their black, which a dark
# page swallows; yellow comes last because it is faint on white.
PALETTE = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#7F7F7F",
    "#F0E442",
)
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
WARNING = "#D55E00"
NOTICE = "#555555"
# From the same palette; the symbol says it again for those who see no colour.
VERDICT_COLOURS = {
    "reproduced": "#009E73",
    "consistent": "#56B4E9",
    "weaker": "#E69F00",
    "not reproduced": "#D55E00",
    "untested": "#C4C4C4",
    "error": "#CC79A7",
}
VERDICT_SYMBOLS = {
    "reproduced": "✓",
    "consistent": "≈",
    "weaker": "↓",
    "not reproduced": "✗",
    "untested": "–",
    "error": "!",
}
DPI = 160
_LABEL_GID = "reprise-labels"
_STYLE = {
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "savefig.bbox": "tight",
    "savefig.pad_inches": 0.08,
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.labelsize": 10,
    "axes.edgecolor": "#555555",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.7,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    # the ids inside an SVG come from this salt, so the same figure is the same file
    "svg.hashsalt": "reprise",
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Apply the house style to everything drawn inside the block, and nothing outside."""
    import matplotlib
    from cycler import cycler

    with matplotlib.rc_context({**_STYLE, "axes.prop_cycle": cycler(color=PALETTE)}):
        yield


def figure(
    nrows: int = 1,
    ncols: int = 1,
    *,
    width: float = 6.4,
    height: float | None = None,
    **options: Any,
) -> tuple[Figure, Any]:
    """Make a figure in the house style, outside pyplot's global state.

    Parameters
    ----------
    nrows, ncols : int
        Grid of axes.
    width, height : float
        Size in inches; by default 2.8 inches a row.
    **options
        Passed to ``Figure.subplots`` (``sharex``, ``sharey``, ...).

    Returns
    -------
    tuple
        The figure and its axes: one ``Axes``, or an array of them as ``Figure.subplots`` gives.

    Examples
    --------
    >>> fig, ax = figure()
    >>> _ = ax.plot([0, 1], [0, 1])
    """
    from matplotlib.figure import Figure

    with style():
        fig = Figure(figsize=(width, height or 0.4 + 2.8 * nrows), layout="constrained")
        return fig, fig.subplots(nrows, ncols, **options)


def colours(names: Iterable[str]) -> dict[str, str]:
    """One colour per name: a name keeps its colour in every figure where nobody contests it.

    The colour follows from the name alone; of two names that want the same one, the later in the
    alphabet takes the next free. More than eight names share colours: give them ``markers``.

    Examples
    --------
    >>> colours(["nurd", "gbtr"])["nurd"] == colours(["nurd"])["nurd"]
    True
    """
    return {name: PALETTE[slot] for name, slot in _slots(names).items()}


def markers(names: Iterable[str]) -> dict[str, str]:
    """One matplotlib marker per name, assigned as :func:`colours` does."""
    return {name: MARKERS[slot] for name, slot in _slots(names).items()}


def _slots(names: Iterable[str]) -> dict[str, int]:
    taken: dict[str, int] = {}
    last = len(PALETTE) - 1
    for name in sorted(set(map(str, names))):
        wanted = zlib.crc32(name.encode())
        # yellow, the last, is left to those who find everything else taken
        slots = [*((wanted + step) % last for step in range(last)), last]
        used = list(taken.values())
        taken[name] = min(slots, key=used.count)
    return taken


# -- labels --------------------------------------------------------------------------------


def weakest(rows: pd.DataFrame) -> tuple[str, str]:
    """Weakest data label and weakest measurement label of observations."""
    data = max(rows["data"].unique(), key=DATA_LABELS.index)
    return data, max(rows["measurement"].unique(), key=MEASUREMENT_LABELS.index)


def label_figure(fig: Figure, data_label: str, measurement_label: str) -> Figure:
    """Write the two labels above a figure.

    Original, measured data gets a quiet line, a measured substitute a grey band, everything that
    is synthetic or was not measured a loud one. The band lies above the canvas, where no title
    or legend can be; :func:`save` includes it.
    Labelling again replaces the labels.

    Raises
    ------
    ValueError
        If a label is unknown.
    """
    from matplotlib.patches import Rectangle

    if data_label not in DATA_LABELS or measurement_label not in MEASUREMENT_LABELS:
        raise ValueError(
            f"unknown labels {data_label!r}, {measurement_label!r}; allowed: "
            f"{', '.join(DATA_LABELS)} and {', '.join(MEASUREMENT_LABELS)}"
        )
    for artist in [*fig.texts, *fig.patches]:
        if artist.get_gid() == _LABEL_GID:
            artist.remove()
    text = f"data: {data_label} · {measurement_label}"
    trusted = (data_label, measurement_label) == ("original", "measured")
    loud = data_label == "synthetic" or measurement_label != "measured"
    height = fig.get_figheight()
    band = 0.27 / height
    if not trusted:
        colour = WARNING if loud else NOTICE
        box = Rectangle((0, 1 + 0.05 / height), 1, band, facecolor=colour, gid=_LABEL_GID)
        fig.add_artist(box)
    fig.text(
        0.99 if trusted else 0.5,
        1 + 0.05 / height + band / 2,
        text,
        ha="right" if trusted else "center",
        va="center",
        fontsize=9 if trusted else 10.5,
        color="#111111" if loud else NOTICE if trusted else "white",
        weight="normal" if trusted else "bold",
        gid=_LABEL_GID,
    )
    return fig


def is_labelled(fig: Figure) -> bool:
    """Whether :func:`label_figure` has been here."""
    return any(text.get_gid() == _LABEL_GID for text in fig.texts)


def save(fig: Figure, path_stem: Path) -> list[Path]:
    """Write ``<stem>.png`` and ``<stem>.svg`` atomically; the same figure gives the same bytes.

    Parameters
    ----------
    fig : Figure
        Any matplotlib figure.
    path_stem : Path
        Path without suffix; a dot in the name is kept.

    Returns
    -------
    list of Path
        The PNG and the SVG.
    """
    written = []
    # Without these entries matplotlib writes its version and the date into the files.
    metadata = {"png": {"Software": None}, "svg": {"Date": None, "Creator": "reprise"}}
    with style(), _laid_out(fig) as box:
        for kind in ("png", "svg"):
            path = Path(path_stem).with_name(f"{Path(path_stem).name}.{kind}")
            with atomic(path) as temporary:
                fig.savefig(temporary, format=kind, metadata=metadata[kind], bbox_inches=box)
            written.append(path)
    return written


@contextlib.contextmanager
def _laid_out(fig: Figure) -> Iterator[Bbox]:
    """Lay out once what is written twice, and give the box in inches that holds everything."""
    fig.draw_without_rendering()
    engine = fig.get_layout_engine()
    fig.set_layout_engine(None)
    try:
        yield fig.get_tightbbox().padded(_STYLE["savefig.pad_inches"])
    finally:
        fig.set_layout_engine(engine)


def message_figure(title: str, message: str) -> Figure:
    """Return a plain image that says why there is no chart."""
    import textwrap

    fig, ax = figure(height=2.2)
    ax.set_axis_off()
    ax.set_title(title)
    lines = "\n".join(textwrap.fill(line, 78) for line in message.splitlines())
    ax.text(0.0, 0.9, lines, va="top", fontsize=9, color="#333333", transform=ax.transAxes)
    return fig


# -- charts that papers share --------------------------------------------------------------


def interval_table(
    rows: pd.DataFrame,
    by: str | Sequence[str] = "variant",
    unit: Sequence[str] = ("dataset", "item"),
) -> pd.DataFrame:
    """Mean and 95 % bootstrap interval per group, over natural units averaged over seeds.

    Parameters
    ----------
    rows : DataFrame
        Observations of one metric.
    by : str or sequence of str
        Grouping columns.
    unit : sequence of str
        Columns that name the natural unit.

    Returns
    -------
    DataFrame
        The columns of ``by``, then ``value, low, high, n``; ``low`` and ``high`` are NaN where
        a single unit allows no interval.
    """
    import pandas as pd

    from common.stats import bootstrap_means

    keys = [by] if isinstance(by, str) else list(by)
    means = rows.dropna(subset=["value"]).groupby([*keys, *unit], observed=True)["value"].mean()
    table = []
    for key, values in means.groupby(level=list(range(len(keys)))):
        estimate = bootstrap_means(values.to_numpy()[:, None], lambda means: means[..., 0])
        names = key if isinstance(key, tuple) else (key,)
        numbers = (estimate.value, estimate.low, estimate.high, estimate.n)
        table.append([*names, *numbers])
    frame = pd.DataFrame(table, columns=[*keys, "value", "low", "high", "n"])
    return frame.astype({"value": float, "low": float, "high": float})


def dot_interval(
    ax: Axes,
    table: pd.DataFrame,
    *,
    label: str = "variant",
    xlabel: str = "",
    reference: float | None = None,
) -> None:
    """Draw one dot with its interval per row, the first row on top.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    table : DataFrame
        Columns ``label``, ``value``, ``low`` and ``high`` (NaN: no interval).
    label : str
        Column that names the rows and decides their colours.
    xlabel : str
        Metric and unit.
    reference : float, optional
        A value to mark with a dashed line.
    """
    palette, shapes = colours(table[label]), markers(table[label])
    for place, row in enumerate(table.to_dict("records")):
        name, ends = str(row[label]), [row["low"], row["high"]]
        colour = palette[name]
        if not any(end is None or end != end for end in ends):
            ax.plot(ends, [place, place], color=colour, linewidth=2.4)
        ax.plot([row["value"]], [place], shapes[name], color=colour, markersize=7)
    if reference is not None:
        ax.axvline(reference, color="#555555", linestyle="--", linewidth=1)
    ax.set_yticks(range(len(table)), [str(name) for name in table[label]])
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel(xlabel)


def distribution_by_group(
    ax: Axes,
    rows: pd.DataFrame,
    *,
    group: str = "variant",
    value: str = "value",
    ylabel: str = "",
    order: Sequence[str] | None = None,
) -> None:
    """Draw every item as a dot and each group's mean as a bar across it.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    rows : DataFrame
        One row per item, with the columns ``group`` and ``value``.
    group, value : str
        Column names.
    ylabel : str
        Metric and unit.
    order : sequence of str, optional
        Groups from left to right; by default by falling mean.
    """
    import numpy as np

    rows = rows.dropna(subset=[value])
    means = rows.groupby(group, observed=True)[value].mean().sort_values(ascending=False)
    names = list(order) if order is not None else list(means.index)
    palette, rng = colours(names), np.random.default_rng(0)
    for place, name in enumerate(names):
        values = rows.loc[rows[group] == name, value].to_numpy()
        spread = place + rng.uniform(-0.22, 0.22, len(values))
        colour = palette[str(name)]
        ax.scatter(spread, values, s=14, color=colour, alpha=0.55, linewidths=0)
        ax.hlines(means[name], place - 0.34, place + 0.34, color="#222222", linewidth=2)
    longest = max((len(str(name)) for name in names), default=0)
    slanted = {"rotation": 30, "ha": "right"} if longest * len(names) > 60 else {}
    ax.set_xticks(range(len(names)), [str(name) for name in names], **slanted)
    ax.grid(axis="x", visible=False)
    ax.set_ylabel(ylabel)
