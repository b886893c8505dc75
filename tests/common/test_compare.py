"""Results trees side by side."""

from __future__ import annotations

import logging

import pytest

from common.claims import judge_paper
from common.compare import columns, compare
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
