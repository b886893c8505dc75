"""Verdicts against the recorded ones: what fails, what only fails strictly, what is recorded."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations

import pytest

from common.claims import VERDICTS_BEST_FIRST, Verdict, judge_paper
from common.results import read_json
from common.verify import check, failures, record, recorded_path


@pytest.fixture
def verdict(shelf):
    """A verdict of the toy paper that says only what differs from the usual."""
    shelf.add()

    def build(now, data="original", **changes):
        fields = dict.fromkeys(Verdict.__dataclass_fields__)
        fields |= {"paper": "toy", "claim": "a-claim", "size": "quick", "target": "cpu", "n": 9}
        fields |= {"verdict": now, "data": data, "reason": "because", "unit": ""}
        return Verdict(**{**fields, **changes})

    return build


def statuses(verdicts):
    return [change.status for change in check("toy", verdicts)]


def test_first_verdict_is_new_and_fails_nothing(verdict):
    changes = check("toy", [verdict("error", data="")])
    assert [(c.status, c.recorded, c.now, c.reason) for c in changes] == [
        ("new", "", "error", "because")
    ]
    assert failures(changes, strict=True) == []


@pytest.mark.parametrize("name", VERDICTS_BEST_FIRST)
def test_same_passes(verdict, name):
    present = [verdict(name)]
    record("toy", present)
    assert statuses(present) == ["same"]
    assert failures(check("toy", present), strict=True) == []


@pytest.mark.parametrize(("better", "worse"), list(combinations(VERDICTS_BEST_FIRST[:4], 2)))
def test_worse_fails_and_better_passes(verdict, better, worse):
    record("toy", [verdict(better)])
    changes = check("toy", [verdict(worse)])
    assert [(c.status, c.recorded, c.now) for c in changes] == [("worse", better, worse)]
    assert failures(changes, strict=False) == changes
    record("toy", [verdict(worse)])
    assert statuses([verdict(better)]) == ["better"]
    assert failures(check("toy", [verdict(better)]), strict=True) == []


@pytest.mark.parametrize("before", VERDICTS_BEST_FIRST[:4])
def test_error_is_worse_and_untested_is_missing(verdict, before):
    """Neither has a data label: both are held against whatever is recorded."""
    record("toy", [verdict(before)])
    broken = check("toy", [verdict("error", data="")])
    assert [c.status for c in broken] == ["worse"]
    assert len(failures(broken, strict=False)) == 1
    gone = check("toy", [verdict("untested", data="")])
    assert [c.status for c in gone] == ["missing"]
    assert failures(gone, strict=False) == []
    assert failures(gone, strict=True) == gone


def test_recorded_untested_and_error(verdict):
    record("toy", [verdict("untested", data="")])
    assert statuses([verdict("not reproduced")]) == ["new"]
    assert statuses([verdict("error", data="")]) == ["worse"]
    record("toy", [verdict("error", data="")])
    assert statuses([verdict("not reproduced")]) == ["better"]
    assert statuses([verdict("untested", data="")]) == ["better"]


def test_other_data_is_missing_and_not_worse(verdict):
    record("toy", [verdict("reproduced", data="original")])
    changes = check("toy", [verdict("not reproduced", data="synthetic")])
    assert [c.status for c in changes] == ["missing"]
    assert changes[0].reason == "recorded on original data, now judged on synthetic"
    assert failures(changes, strict=False) == []
    assert failures(changes, strict=True) == changes


def test_record_on_weaker_data_alone_says_nothing_of_better_data(verdict):
    record("toy", [verdict("reproduced", data="synthetic")])
    assert statuses([verdict("not reproduced", data="original")]) == ["missing"]


def test_each_data_label_has_its_own_record(verdict):
    record("toy", [verdict("reproduced", data="original")])
    record("toy", [verdict("consistent", data="synthetic")])
    # On the better data, the weaker record beside it is no loss ...
    assert statuses([verdict("reproduced", data="original")]) == ["same"]
    # ... on the weaker data, the better one is.
    assert sorted(statuses([verdict("weaker", data="synthetic")])) == ["missing", "worse"]
    assert statuses([verdict("error", data="")]) == ["worse", "worse"]


def test_other_size_and_target_are_other_verdicts(verdict):
    record("toy", [verdict("reproduced"), verdict("weaker", target="gpu")])
    assert statuses([verdict("error", size="full")]) == ["new"]
    assert statuses([verdict("weaker", target="gpu")]) == ["same"]


def test_removed_claim_is_missing_until_recorded_anew(verdict):
    record("toy", [verdict("reproduced"), verdict("reproduced", claim="old")])
    left = [verdict("reproduced")]
    changes = check("toy", left)
    assert [(c.claim, c.status) for c in changes] == [("a-claim", "same"), ("old", "missing")]
    record("toy", left)
    assert statuses(left) == ["same"]


def test_record_is_sorted_stable_and_holds_no_numbers(verdict):
    present = [verdict("weaker", claim="b"), verdict("reproduced", claim="a")]
    path = record("toy", present)
    assert path == recorded_path("toy")
    content = path.read_bytes()
    assert [entry["claim"] for entry in json.loads(content)] == ["a", "b"]
    assert set(json.loads(content)[0]) == {"size", "target", "claim", "data", "verdict"}
    assert record("toy", [replace(v, estimate=1.5) for v in reversed(present)]) == path
    assert path.read_bytes() == content


def test_verdict_without_data_does_not_overwrite_one_with(verdict):
    path = record("toy", [verdict("untested", data="")])
    assert [entry["verdict"] for entry in read_json(path)] == ["untested"]
    record("toy", [verdict("reproduced")])
    assert [entry["verdict"] for entry in read_json(path)] == ["reproduced"]
    record("toy", [verdict("untested", data="")])
    record("toy", [verdict("error", data="")])
    assert [entry["verdict"] for entry in read_json(path)] == ["reproduced"]


def test_from_results_to_failure(shelf, entry, lay, table, tmp_path):
    """The numbers alone are changed: the verdict falls and the check fails."""
    shelf.add(claims=[entry(accept={"low": 1})])
    lay(tmp_path, table({"ours": [2.0] * 12}))
    record("toy", judge_paper(tmp_path, "quick", "cpu", "toy"))
    assert failures(check("toy", judge_paper(tmp_path, "quick", "cpu", "toy")), strict=True) == []
    lay(tmp_path, table({"ours": [0.5] * 12}))
    (failed,) = failures(check("toy", judge_paper(tmp_path, "quick", "cpu", "toy")), strict=False)
    assert (failed.status, failed.recorded, failed.now) == ("worse", "reproduced", "not reproduced")
