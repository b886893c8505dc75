"""Results trees side by side."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from common.claims import judge_paper
from common.cli import app
from common.compare import columns, compare, ratio, ratios
from common.errors import DataError


@pytest.fixture
def trees(shelf, entry, lay, table, tmp_path):
    """Two machines' trees of one claim: reproduced here, not there."""
    shelf.add(claims=[entry(paper={"value": 3, "unit": "ms"})])
    here, there = tmp_path / "here", tmp_path / "there"
    lay(here, table({"ours": [2.0] * 12}))
    lay(there, table({"ours": [0.0] * 12}), machine={"label": "another"}, git={})
    return here, there


def test_columns_name_machine_and_commit(trees):
    here, there = columns(trees)
    assert (here.machine, here.commit) == ("a machine", "c" * 40)
    assert here.name == f"{trees[0]} quick/cpu\na machine\nccccccccc"
    assert (there.machine, there.commit) == ("another", "no commit")
    assert there.name.endswith("\nanother\nno commit")


def test_mixed_trees_say_so(trees, lay, table):
    frame = table({"ours": [1.0]})
    git = {"commit": "d" * 40}
    lay(trees[0], frame, experiment="later", machine={"label": "b"}, git=git)
    lay(trees[0], frame, size="full")
    mixed, full = sorted(columns([trees[0]]), key=lambda column: column.size, reverse=True)
    assert (mixed.size, mixed.machine, mixed.commit) == ("quick", "2 machines", "2 commits")
    assert (full.size, full.machine) == ("full", "a machine")


def test_one_row_per_claim_with_every_tree(trees):
    (row,) = compare(trees)
    assert (row["paper"], row["claim"], row["paper_value"]) == ("toy", "a-claim", 3)
    found = [(c["machine"], c["verdict"], c["estimate"], c["n"]) for c in row["columns"]]
    assert found == [("a machine", "reproduced", 2, 12), ("another", "not reproduced", 0, 12)]
    assert not list(trees[0].rglob("verdicts.json"))  # judged in memory


def test_written_verdicts_are_taken_as_they_are(trees, shelf, entry):
    judge_paper(trees[0], "quick", "cpu", "toy")
    shelf.add(claims=[entry(accept={"low": 100})])
    (row,) = compare(trees[:1])
    assert row["columns"][0]["verdict"] == "reproduced"


def test_paper_of_another_checkout_is_left_out_loudly(trees, lay, table, caplog):
    lay(trees[0], table({"ours": [1.0]}), paper="strange")
    with caplog.at_level(logging.WARNING):
        rows = compare(trees[:1])
    assert [row["paper"] for row in rows] == ["toy"]
    assert "'strange' is no paper of this checkout" in caplog.text


def test_nothing_there_is_an_error_that_names_the_closest(trees, tmp_path):
    with pytest.raises(DataError, match=r"nowhere holds no results$"):
        compare([tmp_path / "nowhere"])
    with pytest.raises(DataError, match="holds no results of 'toi'; did you mean 'toy'"):
        compare(trees, "toi")


# -- ratios --------------------------------------------------------------------------------


@pytest.fixture
def timed(lay, table, tmp_path):
    """Four jobs on two machines; the second takes twice as long, for the last job four times."""
    here, there = tmp_path / "here", tmp_path / "there"
    seconds = {"metric": "fit_wall_time", "unit": "s", "meter": "clock"}
    lay(here, table({"ours": [1, 2, 3, 4]}, **seconds))
    lay(there, table({"ours": [2, 4, 6, 16], "new": [1]}, **seconds), machine={"label": "slow"})
    return here, there


def test_ratio_to_the_first_tree_with_an_interval_over_shared_units(timed):
    new, ours = sorted(ratios(timed), key=lambda row: row["variant"])
    here, there = ours["columns"]
    assert (here["ratio"], here["low"], here["high"], here["n"]) == (1, 1, 1, 4)
    assert (there["machine"], there["mean"], there["n"]) == ("slow", 7, 4)
    assert there["ratio"] == pytest.approx(28 / 10)
    # Each job's own ratio is 2 or 4, so every resample's lies between; all of them can be drawn.
    assert there["low"] == 2 and 3 < there["high"] <= 4
    # What the first tree lacks is compared with the first that has it.
    (alone,) = new["columns"]
    assert (alone["machine"], alone["ratio"], alone["low"], alone["n"]) == ("slow", 1, None, 1)


def test_ratio_of_machines_that_share_no_unit_or_have_none_has_no_interval():
    below = pd.Series([2.0, 4.0], index=["a", "b"])
    apart = ratio(pd.Series([6.0], index=["c"]), below)
    assert (apart.value, apart.low, apart.n) == (2, None, 0)
    zero = ratio(below, 0 * below)
    assert (zero.low, zero.high) == (None, None)


def test_ratio_without_a_finite_value_is_none(lay, table, tmp_path):
    lay(tmp_path / "a", table({"ours": [0.0, 0.0]}))
    (row,) = ratios([tmp_path / "a"])
    assert (row["columns"][0]["mean"], row["columns"][0]["ratio"]) == (0, None)


# -- two machines --------------------------------------------------------------------------


def test_two_machines_become_one_comparison(shelf, entry, lay, table, tmp_path):
    """Both wrote to a folder called results; merged they stand side by side, none in two trees."""
    shelf.add(claims=[entry(paper={"value": 3})])
    for name, value in (("aaaa00000001", 2.0), ("bbbb00000002", 0.0)):
        machine = {"id": name, "label": f"machine {name[0]}"}
        lay(tmp_path / name / "results", table({"ours": [value] * 12}), machine=machine)
    trees = sorted(map(str, tmp_path.glob("*/results")))
    into = str(tmp_path / "gathered")
    for copied in ("2 runs copied", "0 runs copied"):
        done = CliRunner().invoke(app, ["merge", *trees, "--into", into])
        assert done.exit_code == 0 and copied in done.output, done.output
    merged = sorted(map(str, Path(into).iterdir()))
    (row,) = compare([Path(tree) for tree in merged])
    found = [(c["machine"], c["verdict"], c["estimate"]) for c in row["columns"]]
    assert found == [("machine a", "reproduced", 2), ("machine b", "not reproduced", 0)]
    shown = CliRunner().invoke(app, ["compare", *merged], env={"COLUMNS": "200"}).output
    assert "2 [2, 2]" in shown and "0 [0, 0]" in shown
    shown = CliRunner().invoke(app, ["compare", *merged, "--ratios"]).output
    assert "× 1 [1, 1]" in shown and "× 0 [0, 0]" in shown
