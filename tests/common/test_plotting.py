"""Figures: colours, labels, intervals, files that repeat to the byte, and missing data."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from common import figures as paper_figures
from common.papers import load_paper
from common.plotting import (
    PALETTE,
    VERDICT_COLOURS,
    VERDICT_SYMBOLS,
    colours,
    distribution_by_group,
    dot_interval,
    figure,
    interval_table,
    is_labelled,
    label_figure,
    markers,
    save,
    style,
    weakest,
)
from common.results import COLUMNS, OBSERVATIONS, RECORD, Folder, atomic, write_json


def observe(values: dict[str, list[float]], data: str = "original") -> pd.DataFrame:
    rows = [
        [variant, "d", f"item{i}", 0, "f1", value, "", data, "measured", ""]
        for variant, series in values.items()
        for i, value in enumerate(series)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


# -- colours -------------------------------------------------------------------------------


def test_colours_are_stable_and_distinct_up_to_the_palette():
    names = [f"method {i}" for i in range(len(PALETTE))]
    assert sorted(colours(names).values()) == sorted(PALETTE)
    assert colours(names) == colours(reversed(names))
    assert colours(["nurd"]) == {"nurd": colours(["nurd", "nurd"])["nurd"]}
    many = colours([f"method {i}" for i in range(20)])
    assert max(list(many.values()).count(colour) for colour in PALETTE) <= 3
    assert len(set(markers(names).values())) == len(PALETTE)


def test_every_verdict_has_a_colour_and_a_symbol_of_its_own():
    from common.claims import VERDICTS_BEST_FIRST

    for table in (VERDICT_COLOURS, VERDICT_SYMBOLS):
        assert tuple(table) == VERDICTS_BEST_FIRST
        assert len(set(table.values())) == len(table)


@pytest.mark.parametrize("kind", ["protanopia", "deuteranopia"])
def test_verdict_colours_stay_apart_for_the_colour_blind(kind):
    # Linear-RGB projections of Vienot, Brettel and Mollon (1999).
    matrix = {
        "protanopia": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
        "deuteranopia": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
    }[kind]
    rgb = np.array([matplotlib.colors.to_rgb(colour) for colour in VERDICT_COLOURS.values()])
    seen = np.clip((rgb**2.2) @ np.array(matrix).T, 0, 1) ** (1 / 2.2)
    gaps = np.linalg.norm(seen[:, None] - seen[None], axis=-1) + np.eye(len(seen))
    assert gaps.min() > 0.08


def test_style_ends_with_its_block():
    before = matplotlib.rcParams["axes.titlelocation"]
    with style():
        assert matplotlib.rcParams["axes.titlelocation"] == "left"
    assert matplotlib.rcParams["axes.titlelocation"] == before


# -- labels --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "measurement", "loud"),
    [
        ("original", "measured", False),
        ("substitute", "measured", False),
        ("synthetic", "measured", True),
        ("original", "modelled", True),
        ("synthetic", "simulated", True),
    ],
)
def test_labels_are_on_the_chart_and_weak_ones_in_a_loud_band(data, measurement, loud, tmp_path):
    fig, _ = figure()
    save(fig, tmp_path / "plain")
    label_figure(fig, data, measurement)
    assert f"data: {data} · {measurement}" in [text.get_text() for text in fig.texts]
    png, _ = save(fig, tmp_path / "labelled")
    image, plain = matplotlib.image.imread(png), matplotlib.image.imread(tmp_path / "plain.png")
    assert image.shape[0] > plain.shape[0]  # the label lies above the chart, not on it
    vermillion = np.abs(image[..., :3] - matplotlib.colors.to_rgb("#D55E00")).max(axis=-1) < 0.01
    assert (vermillion.sum() > 20_000) == loud


def test_labelling_again_replaces_and_unknown_labels_are_refused():
    fig, _ = figure()
    assert not is_labelled(fig)
    label_figure(label_figure(fig, "synthetic", "simulated"), "original", "measured")
    assert [text.get_text() for text in fig.texts] == ["data: original · measured"]
    assert is_labelled(fig) and not fig.patches
    with pytest.raises(ValueError, match="synthetic"):
        label_figure(fig, "invented", "measured")


def test_weakest_labels():
    rows = pd.concat([observe({"a": [1.0]}), observe({"a": [1.0]}, data="synthetic")])
    assert weakest(rows) == ("synthetic", "measured")


# -- files ---------------------------------------------------------------------------------


def test_saved_twice_is_the_same_to_the_byte(tmp_path):
    def draw() -> matplotlib.figure.Figure:
        fig, ax = figure()
        dot_interval(ax, interval_table(observe({"a": [1, 2, 3], "b": [2, 3, 5]})))
        return label_figure(fig, "synthetic", "simulated")

    first = [path.read_bytes() for path in save(draw(), tmp_path / "a.b")]
    second = save(draw(), tmp_path / "again" / "a.b")
    assert [path.name for path in second] == ["a.b.png", "a.b.svg"]
    assert first == [path.read_bytes() for path in second]
    assert b"<dc:date>" not in first[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.b.png", "a.b.svg", "again"]


# -- shared charts -------------------------------------------------------------------------


def test_interval_table_covers_the_mean_as_the_t_interval_does():
    values = np.random.default_rng(0).normal(3.0, 1.0, 200)
    table = interval_table(observe({"a": list(values), "one": [7.0]}))
    row = table.set_index("variant").loc["a"]
    low, high = stats.t.interval(0.95, 199, values.mean(), values.std(ddof=1) / np.sqrt(200))
    assert row["value"] == pytest.approx(values.mean())
    assert (row["low"], row["high"]) == pytest.approx((low, high), abs=0.03)
    one = table.set_index("variant").loc["one"]
    assert one["n"] == 1 and np.isnan(one["low"])


def test_interval_table_averages_seeds_before_units():
    rows = observe({"a": [0.0, 10.0]})
    more = rows[rows["item"] == "item0"]
    rows = pd.concat([rows, *[more.assign(seed=seed) for seed in (1, 2, 3)]])
    assert interval_table(rows).loc[0, "value"] == 5.0


def test_dot_interval_draws_what_the_table_says():
    _, ax = figure()
    table = pd.DataFrame(
        {"variant": ["a", "b"], "value": [1.0, 2.0], "low": [0.5, np.nan], "high": [1.5, np.nan]}
    )
    dot_interval(ax, table, xlabel="F1", reference=1.2)
    lines = [list(line.get_xdata()) for line in ax.lines]
    assert lines == [[0.5, 1.5], [1.0], [2.0], [1.2, 1.2]]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    assert ax.get_ylim() == (1.5, -0.5)  # first row on top


def test_distribution_shows_every_item_and_the_mean():
    _, ax = figure()
    distribution_by_group(ax, observe({"a": [1.0, 2.0, 3.0], "b": [9.0, np.nan]}), ylabel="F1")
    assert [len(dots.get_offsets()) for dots in ax.collections[::2]] == [1, 3]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["b", "a"]
    assert ax.collections[3].get_segments()[0][0][1] == 2.0


# -- a paper's figures ---------------------------------------------------------------------

PAPER = """
slug: toy
title: T
authors: [A]
venue: V
year: 2020
url: https://example.org
group: g
summary: S
experiments:
  one: {title: One, sizes: {quick: }}
  two: {title: Two, sizes: {quick: }}
figures:
  single: {title: Single, caption: C, experiments: [one]}
  own_label: {title: Own, caption: C, experiments: [one]}
  pair: {title: Pair, caption: C, experiments: [one, two]}
  absent: {title: Absent, caption: C, experiments: [two]}
"""


def single(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    fig, ax = figure()
    assert set(rows["experiment"]) == {"one"}
    dot_interval(ax, interval_table(rows))
    return fig


def own_label(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    return label_figure(single(rows), "original", "measured")


def broken(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    raise KeyError("two")


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A results tree of a paper with one finished experiment, and what each figure drew."""
    (tmp_path / "papers" / "toy").mkdir(parents=True)
    (tmp_path / "papers" / "toy" / "paper.yaml").write_text(PAPER)
    paper = load_paper("toy", tmp_path / "papers")
    functions = {"single": single, "own_label": own_label, "pair": broken, "absent": broken}
    monkeypatch.setattr(type(paper), "function", lambda self, room, name: functions[name])
    monkeypatch.setattr(paper_figures, "load_paper", lambda slug: paper)
    drawn = {}

    def keep(fig, stem):
        drawn[stem.name] = fig
        return save(fig, stem)

    monkeypatch.setattr(paper_figures, "save", keep)
    put(tmp_path, "one", observe({"a": [1, 2], "b": [3, 4]}, data="synthetic"))
    return tmp_path, drawn, functions


def put(root: Path, experiment: str, rows: pd.DataFrame, **more: object) -> None:
    folder = Folder(root, "quick", "cpu", "toy", experiment)
    with atomic(folder.path / OBSERVATIONS) as temporary:
        rows.to_parquet(temporary)
    record = dict.fromkeys(("seconds", "cpu_seconds", "peak_memory_mb"), 1.0)
    names = ("digest", "data_mode", "started", "finished")
    record |= dict.fromkeys(names, "") | {"paper": "toy", "experiment": experiment, "config": {}}
    record |= {"size": "quick", "target": "cpu", "status": "done", **more}
    write_json(folder.path / RECORD, record)


def texts(fig: matplotlib.figure.Figure) -> str:
    return " ".join([text.get_text() for text in [*fig.texts, *fig.axes[0].texts]])


def test_make_figures_labels_charts_and_explains_missing_ones(toy):
    root, drawn, _ = toy
    put(root, "two", observe({})[:0], status="skipped", reason="torch is not installed")
    written = paper_figures.make_figures(root, "quick", "cpu", "toy")
    names = ["single", "own_label", "pair", "absent"]
    folder = root / "quick" / "cpu" / "toy" / "figures"
    assert written == [folder / f"{name}.{kind}" for name in names for kind in ("png", "svg")]
    assert all(path.stat().st_size > 500 for path in written)
    assert "data: synthetic · measured" in texts(drawn["single"])
    assert "data: original · measured" in texts(drawn["own_label"])
    for name in ("pair", "absent"):
        assert "torch is not installed" in texts(drawn[name])


def test_make_figures_says_when_an_experiment_never_ran_or_failed(toy):
    root, drawn, _ = toy
    paper_figures.make_figures(root, "quick", "cpu", "toy")
    assert "two: not run at size quick on cpu" in texts(drawn["absent"])
    put(root, "two", observe({})[:0], status="failed", reason="ValueError: x")
    paper_figures.make_figures(root, "quick", "cpu", "toy")
    assert "two: failed: ValueError: x" in texts(drawn["absent"])


def test_a_wrong_figure_function_is_not_hidden(toy):
    root, _, functions = toy
    functions["single"] = broken
    with pytest.raises(KeyError):
        paper_figures.make_figures(root, "quick", "cpu", "toy")


def test_import_is_light():
    code = "import sys, common.plotting, common.figures; print('matplotlib' in sys.modules)"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
