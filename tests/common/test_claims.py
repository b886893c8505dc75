"""Estimates on hand-computed tables, and every branch and cap of the verdict."""

from __future__ import annotations

import math
import re
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.claims import (
    VERDICTS_BEST_FIRST,
    decide,
    judge,
    judge_claims,
    judge_folder,
    judge_paper,
    read_verdicts,
)
from common.errors import ConfigError, DataError, MissingExtra
from common.estimates import ClaimError, Untested, estimate_claim, matches
from common.papers import Claim
from common.results import Folder, read_json, write_json
from common.stats import ONE_UNIT, Estimate

OURS, BASE, RIVAL = {"variant": "ours"}, {"variant": "base"}, {"variant": "rival"}


# -- the six kinds, by hand ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("aggregate", "expected"), [("mean", 4.0), ("median", 3.0), ("min", 1.0), ("max", 9.0)]
)
def test_value_and_its_aggregates(claim, table, aggregate, expected):
    estimate = estimate_claim(
        claim(of=OURS, aggregate=aggregate), table({"ours": [1, 3, 2, 5, 9], "base": [50] * 5})
    )
    assert (estimate.value, estimate.n) == (expected, 5)
    assert estimate.low <= expected <= estimate.high


def test_bound_is_a_value(claim, table):
    frame = table({"ours": [1, 3]})
    bound = estimate_claim(claim(kind="bound", accept={"high": 2.5}), frame)
    assert bound == estimate_claim(claim(), frame)
    assert bound.value == 2.0


def test_ratio_is_of_means_not_the_mean_of_ratios(claim, table):
    frame = table({"ours": [1, 9], "base": [1, 3]})
    estimate = estimate_claim(claim(kind="ratio", of=OURS, over=BASE), frame)
    assert estimate.value == 10 / 4  # the mean of ratios were (1 + 3) / 2
    # Two units, four resamples: 1, 10/4 twice, 3.
    assert (estimate.low, estimate.high) == (1.0, 3.0)


@pytest.mark.parametrize(("better", "expected"), [("higher", 2.0), ("lower", -2.0)])
def test_difference_is_positive_where_ours_is_better(claim, table, better, expected):
    frame = table({"ours": [4, 6], "base": [2, 4]})
    estimate = estimate_claim(claim(kind="difference", of=OURS, over=BASE, better=better), frame)
    assert (estimate.value, estimate.low, estimate.high) == (expected,) * 3


@pytest.mark.parametrize(
    ("better", "kind", "expected"),
    [
        ("higher", "difference", 5 - 4),
        ("lower", "difference", 2 - 5),
        ("higher", "ratio", 5 / 4),
        ("lower", "ratio", 5 / 2),
    ],
)
def test_best_of_several_is_the_best_in_the_sense_of_the_metric(
    claim, table, better, kind, expected
):
    frame = table({"ours": [5, 5], "base": [1, 3], "rival": [4, 4]})
    estimate = estimate_claim(claim(kind=kind, of=OURS, over=[BASE, RIVAL], better=better), frame)
    assert estimate.value == expected


def test_best_of_several_is_chosen_anew_in_every_resample(claim, table):
    """Each rival wins on one half of the units, so the best of a resample is never a fixed one."""
    n = 40
    values = {"ours": [1.0] * n, "base": [1, 0] * (n // 2), "rival": [0, 1] * (n // 2)}
    frame = table(values)
    found = estimate_claim(claim(kind="difference", of=OURS, over=[BASE, RIVAL]), frame)
    fixed = estimate_claim(claim(kind="difference", of=OURS, over=BASE), frame)
    assert found.value == fixed.value == 0.5
    assert fixed.high > 0.6
    assert found.high <= 0.5  # the better of two halves is never below one half

    rng = np.random.default_rng(0)
    stack = np.stack(list(values.values()), axis=1)[rng.integers(n, size=(10_000, n))]
    means = stack.mean(axis=1)
    draws = means[:, 0] - np.maximum(means[:, 1], means[:, 2])
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])))


def test_each_makes_every_value_of_a_column_a_side(claim, rows):
    frame = rows(
        [
            {"variant": variant, "item": item, "value": value, "role": role}
            for variant, role, values in (
                ("ours", "method", (5, 5)),
                ("a", "rival", (1, 3)),
                ("b", "rival", (4, 4)),
                ("oracle", "control", (9, 9)),
            )
            for item, value in zip("xy", values, strict=True)
        ]
    )
    each = claim(kind="difference", of=OURS, over={"role": "rival"}, each="variant")
    assert estimate_claim(each, frame).value == 1.0
    without = claim(kind="difference", of=OURS, over={"role": "rival"})
    assert estimate_claim(without, frame).value == 5 - 3  # one side: the mean of both rivals


def test_ordering_is_the_smallest_margin(claim, table):
    frame = table({"ours": [9, 9], "base": [6, 8], "rival": [5, 5]})
    order = {"order": [OURS, BASE, RIVAL], "kind": "ordering"}
    assert estimate_claim(claim(**order), frame).value == min(9 - 7, 7 - 5)
    assert estimate_claim(claim(**order, better="lower"), frame).value == min(7 - 9, 5 - 7)
    wrong = {"order": [BASE, OURS, RIVAL], "kind": "ordering"}
    assert estimate_claim(claim(**wrong), frame).value == 7 - 9


def test_trend_is_the_mean_strength_over_units(claim, rows):
    lines = {"up": lambda a: 2 * a, "down": lambda a: 5 - a}
    frame = rows(
        [
            {"item": item, "alpha": a, "value": line(a), "seed": seed}
            for item, line in lines.items()
            for a in (1.0, 2.0, 4.0)
            for seed in (0, 1)
        ]
    )
    trend = {"kind": "trend", "trend_in": "alpha"}
    assert estimate_claim(claim(**trend, statistic="slope"), frame).value == pytest.approx(0.5)
    spearman = estimate_claim(claim(**trend), frame)
    assert (spearman.value, spearman.low, spearman.high, spearman.n) == (0.0, -1.0, 1.0, 2)
    best = estimate_claim(claim(**trend, aggregate="max"), frame)
    assert best.value == pytest.approx(1.0)
    with pytest.raises(Untested, match="'alpha' needs three values, got 2"):
        estimate_claim(claim(**trend), frame[frame["alpha"] < 3])
    with pytest.raises(ClaimError, match=r"column 'alhpa'.*did you mean 'alpha'"):
        estimate_claim(claim(kind="trend", trend_in="alhpa"), frame)


def test_trend_leaves_out_units_without_all_values_and_says_so(claim, rows):
    frame = rows(
        [
            {"item": item, "alpha": a, "value": a}
            for item, values in {"x": (1, 2, 3), "y": (1, 2, 3), "z": (1, 2)}.items()
            for a in values
        ]
    )
    trend = claim(kind="trend", trend_in="alpha", statistic="slope")
    estimate = estimate_claim(trend, frame)
    assert (estimate.value, estimate.n) == (pytest.approx(1.0), 2)
    assert "1 of 3 units lack a value of 'alpha' and are left out" in estimate.note
    with pytest.raises(ClaimError, match="no unit has a value at every 'alpha'"):
        estimate_claim(trend, frame.drop_duplicates("alpha").assign(item=["x", "y", "z"]))


def test_seeds_are_averaged_and_datasets_kept_apart(claim, rows):
    frame = rows(
        [
            {"dataset": "d1", "item": "i", "seed": 0, "value": 1},
            {"dataset": "d1", "item": "i", "seed": 1, "value": 3},
            {"dataset": "d2", "item": "i", "seed": 0, "value": 8},
        ]
    )
    by_item = estimate_claim(claim(), frame)
    assert (by_item.value, by_item.n) == (5.0, 2)
    by_seed = estimate_claim(claim(unit_of_analysis="seed"), frame)
    assert (by_seed.value, by_seed.n) == (((1 + 8) / 2 + 3) / 2, 2)
    with pytest.raises(ClaimError, match=r"column 'sead'.*did you mean 'seed'"):
        estimate_claim(claim(unit_of_analysis="sead"), frame)


def test_units_that_lack_a_side_are_left_out_and_counted(claim, table, rows):
    frame = table({"ours": [4, 6, 100], "base": [2, 4]})
    estimate = estimate_claim(claim(kind="difference", of=OURS, over=BASE), frame)
    assert (estimate.value, estimate.n) == (2.0, 2)
    assert "1 of 3 units lack a side and are left out" in estimate.note
    disjoint = rows([{"item": "x"}, {"item": "y", "variant": "base"}])
    with pytest.raises(ClaimError, match="no unit has all of"):
        estimate_claim(claim(kind="difference", of=OURS, over=BASE), disjoint)


def test_filters(rows):
    frame = rows(
        [
            {"variant": "a", "alpha": 0.1, "clean": True},
            {"variant": "b", "alpha": 0.2, "clean": None},
            {"variant": "c", "alpha": math.nan, "clean": False},
        ]
    )

    def chosen(**condition):
        return "".join(frame[matches(frame, condition)]["variant"])

    assert chosen() == "abc"
    assert chosen(variant="b") == "b"
    assert chosen(variant=["a", "c"]) == "ac"
    assert chosen(alpha=0.1, variant="b") == ""
    assert chosen(clean=True) == "a"
    assert chosen(alpha=None) == "c"
    assert chosen(alpha=[None, 0.2]) == "bc"
    with pytest.raises(ClaimError, match=r"column 'alhpa'.*did you mean 'alpha'"):
        chosen(alhpa=1)


# -- judging -------------------------------------------------------------------------------

PLACE = Folder(root=None, size="quick", target="cpu", paper="toy", experiment="speed")


def test_scale_and_unit(claim, table):
    frame = table({"ours": [0.4] * 3, "base": [0.2] * 3}, unit="s")
    value = judge(claim(scale=1000, unit="ms", of=OURS), frame, PLACE)
    assert (value.estimate, value.low, value.unit) == (
        pytest.approx(400),
        pytest.approx(400),
        "ms",
    )
    assert judge(claim(of=OURS), frame, PLACE).unit == "s"
    of_paper = claim(of=OURS, paper={"value": 1, "unit": "seconds"})
    assert judge(of_paper, frame, PLACE).unit == "seconds"
    ratio = judge(claim(kind="ratio", of=OURS, over=BASE), frame, PLACE)
    assert (ratio.estimate, ratio.unit) == (pytest.approx(2), "")


def test_deterministic_claims_need_no_interval(claim, table):
    frame = table({"ours": [3]})
    exact = judge(claim(deterministic=True), frame, PLACE)
    assert (exact.verdict, exact.low, exact.high, exact.reason) == ("reproduced", 3, 3, "")
    plain = judge(claim(), frame, PLACE)
    assert (plain.verdict, plain.low) == ("consistent", None)
    assert plain.reason == f"{ONE_UNIT}; capped: no interval"


def test_deterministic_claim_still_says_what_was_left_out(claim, rows):
    frame = rows([{"item": "x", "value": 2}, {"item": "x", "variant": "base"}, {"item": "y"}])
    gap = claim(kind="difference", of=OURS, over=BASE, deterministic=True)
    assert judge(gap, frame, PLACE).reason == "1 of 2 units lack a side and are left out"


def test_function_claims_get_the_rows_and_keep_their_unit(claim, table, monkeypatch):
    frame = table({"ours": [1, 2], "base": [3, 4]}, unit="s")
    seen = []

    def own(rows):
        seen.append(sorted(rows["variant"].unique()))
        return Estimate(np.float64(0.5), 0.4, 0.6, np.int64(7), "tasks")

    monkeypatch.setattr("common.claims.load_target", lambda target: own)
    verdict = judge(claim(function="projects.toy.claims:own", scale=2), frame, PLACE)
    assert seen == [["base", "ours"]]
    assert (verdict.estimate, verdict.low, verdict.n, verdict.unit) == (1.0, 0.8, 7, "tasks")


def test_best_label_is_judged_and_weakest_of_the_rows_used_is_shown(claim, table):
    import pandas as pd

    original = table({"ours": [5, 5]}, dataset="real")
    synthetic = table({"ours": [1, 1]}, dataset="made", data="synthetic", measurement="emulated")
    frame = pd.concat([original, synthetic], ignore_index=True)
    best = judge(claim(), frame, PLACE)
    assert (best.estimate, best.n, best.data, best.measurement) == (5, 2, "original", "measured")
    both = judge(claim(data="all"), frame, PLACE)
    assert (both.estimate, both.n, both.data, both.measurement) == (3, 4, "synthetic", "emulated")
    made = judge(claim(scope={"data": ["synthetic"]}), frame, PLACE)
    assert (made.estimate, made.data) == (1, "synthetic")
    with pytest.raises(Untested, match="data is original, synthetic, the claim is about subst"):
        judge(claim(scope={"data": ["substitute"]}), frame, PLACE)


def test_rows_of_no_side_lend_no_label(claim, table):
    import pandas as pd

    ours = table({"ours": [5, 5], "base": [4, 4]}, data="synthetic")
    oracle = table({"oracle": [9, 9]}, data="original", measurement="simulated")
    frame = pd.concat([ours, oracle], ignore_index=True)
    gap = judge(claim(kind="difference", of=OURS, over=BASE), frame, PLACE)
    assert (gap.estimate, gap.data, gap.measurement) == (1.0, "synthetic", "measured")


def test_ratio_by_zero_is_an_error_and_never_infinite_in_the_file(claim, table, tmp_path):
    ratio = claim(kind="ratio", of=OURS, over=BASE)
    infinite = judge(ratio, table({"ours": [1, 1], "base": [0, 0]}), PLACE)
    assert (infinite.verdict, infinite.estimate) == ("error", None)
    assert "infinite" in infinite.reason
    sometimes = judge(ratio, table({"ours": [9, 9, 9], "base": [0, 0, 3]}), PLACE)
    assert (sometimes.verdict, sometimes.estimate, sometimes.high) == ("consistent", 9, None)
    nothing = judge(ratio, table({"ours": [0, 0], "base": [0, 0]}), PLACE)
    assert (nothing.verdict, nothing.estimate) == ("untested", None)
    write_json(tmp_path / "v.json", [asdict(v) for v in (infinite, sometimes, nothing)])


# -- the rules -----------------------------------------------------------------------------


def verdict_of(claim, low, high, data="original", measurement="measured", value=None):
    value = (low + high) / 2 if value is None else value
    return decide(claim, Estimate(value, low, high, 30), data, measurement)[0]


@pytest.mark.parametrize(
    ("accept", "low", "high", "expected"),
    [
        # An end that is "no effect" is open: touching it shows no direction.
        ({"low": 0}, 0.1, 3, "reproduced"),
        ({"low": 0}, 0, 3, "consistent"),
        ({"low": 0}, -1, 3, "consistent"),
        ({"low": 0}, 0, 0, "not reproduced"),
        ({"low": 0}, -1, 0, "not reproduced"),
        ({"high": 0}, -3, -0.1, "reproduced"),
        ({"high": 0}, -3, 0, "consistent"),
        ({"high": 0}, 0, 3, "not reproduced"),
        ({"low": 2, "high": 5}, 2, 5, "reproduced"),  # ends belong to the range
        ({"low": 2, "high": 5}, 3, 4, "reproduced"),
        ({"low": 2, "high": 5}, 1, 3, "consistent"),
        ({"low": 2, "high": 5}, 4, 6, "consistent"),
        ({"low": 2, "high": 5}, 1, 6, "consistent"),
        ({"low": 2, "high": 5}, 5, 6, "consistent"),
        ({"low": 2, "high": 5}, -1, 2, "consistent"),
        ({"low": 2, "high": 5}, 1, 1.9, "weaker"),
        ({"low": 2, "high": 5}, 0, 1, "not reproduced"),  # does not exclude zero
        ({"low": 2, "high": 5}, -1, 1, "not reproduced"),
        ({"low": 2, "high": 5}, -3, -2, "not reproduced"),
        ({"low": 2, "high": 5}, 6, 7, "not reproduced"),
        ({"low": 2}, 3, 1e9, "reproduced"),
        ({"low": 2}, 0.5, 1, "weaker"),
        ({"low": 0}, -1, -0.5, "not reproduced"),  # no room between zero and the range
        ({"high": -2}, -9, -2, "reproduced"),
        ({"high": -2}, -3, -1, "consistent"),
        ({"high": -2}, -1.9, -0.1, "weaker"),
        ({"high": -2}, -1, 0, "not reproduced"),
        ({"high": -2}, 1, 2, "not reproduced"),
    ],
)
def test_every_branch_of_the_rules(claim, accept, low, high, expected):
    declared = claim(kind="difference", of=OURS, over=BASE, accept=accept)
    assert verdict_of(declared, low, high) == expected


@pytest.mark.parametrize(
    ("fields", "low", "high", "expected"),
    [
        # A ratio of 1 is no effect, whatever the unit.
        ({"kind": "ratio", "accept": {"low": 2}}, 1.2, 1.6, "weaker"),
        ({"kind": "ratio", "accept": {"low": 2}}, 0.9, 1.6, "not reproduced"),
        ({"kind": "ratio", "accept": {"high": 0.5}}, 0.6, 0.9, "weaker"),
        ({"kind": "ratio", "accept": {"high": 0.5}}, 0.6, 1.1, "not reproduced"),
        ({"kind": "ratio", "accept": {"low": 200}, "scale": 100}, 120, 160, "weaker"),
        ({"kind": "ratio", "accept": {"low": 200}, "scale": 100}, 90, 160, "not reproduced"),
        # A value has no natural "no effect" unless it is declared.
        ({"kind": "value", "accept": {"low": 2}}, 1, 1.5, "not reproduced"),
        ({"kind": "value", "accept": {"low": 2}, "no_effect": 0.5}, 1, 1.5, "weaker"),
        ({"kind": "bound", "accept": {"high": 0.8}, "no_effect": 1}, 0.9, 0.95, "weaker"),
        ({"kind": "trend", "accept": {"low": 0.5}}, 0.1, 0.4, "weaker"),
        ({"kind": "ordering", "accept": {"low": 1}}, 0.1, 0.4, "weaker"),
    ],
)
def test_no_effect_of_each_kind(claim, fields, low, high, expected):
    sides = {"of": OURS, "over": BASE, "order": [OURS, BASE], "trend_in": "alpha"}
    assert verdict_of(claim(**sides, **fields), low, high) == expected


@pytest.mark.parametrize(
    ("fields", "data", "measurement", "cap"),
    [
        ({}, "original", "measured", None),
        ({}, "substitute", "measured", None),
        ({}, "synthetic", "measured", "synthetic data alone"),
        ({}, "original", "simulated", None),  # quality does not hang on the clock
        ({"quantity": "property"}, "synthetic", "measured", None),
        ({"quantity": "time"}, "synthetic", "measured", None),
        ({"quantity": "time"}, "original", "emulated", "emulated time"),
        ({"quantity": "energy"}, "original", "modelled", "modelled energy"),
        ({"quantity": "memory"}, "original", "simulated", "simulated memory"),
        ({"quantity": "time", "paper": "simulated"}, "original", "simulated", None),
        ({"quantity": "time", "paper": "simulated"}, "original", "modelled", "modelled time"),
        ({"quantity": "time", "paper": "simulated"}, "original", "measured", None),
    ],
)
def test_caps(claim, fields, data, measurement, cap):
    paper = {"value": None, "measurement": fields.get("paper", "measured")}
    declared = claim(**{**fields, "paper": paper})
    estimate = Estimate(3, 2, 4, 30)
    verdict, reason = decide(declared, estimate, data, measurement)
    expected = ("consistent", f"capped: {cap}") if cap else ("reproduced", "")
    assert (verdict, reason) == expected
    # A cap takes the top away and touches nothing below it.
    below = Estimate(0, -1, 0.5, 30)
    assert decide(declared, below, data, measurement) == ("not reproduced", "")


def test_all_caps_are_named(claim):
    estimate = Estimate(3, None, None, 1, note=ONE_UNIT)
    verdict, reason = decide(claim(), estimate, "synthetic", "measured")
    assert verdict == "consistent"
    assert reason == f"{ONE_UNIT}; capped: synthetic data alone, no interval"


def test_no_value_is_untested(claim):
    verdict, reason = decide(claim(), Estimate(math.nan, None, None, 3), "original", "measured")
    assert (verdict, reason) == ("untested", "the estimate has no value")


# Small integers, so that ends, "no effect" and interval often coincide.
number = st.floats(-20, 20) | st.integers(-3, 3).map(float)


@given(
    kind=st.sampled_from(["value", "ratio", "difference"]),
    interval=st.tuples(number, number).map(sorted),
    ends=st.tuples(number, number, number, number).map(sorted),
    is_open=st.sampled_from(["", "low", "high"]),
    no_effect=st.none() | number,
    labels=st.sampled_from([("original", "measured"), ("synthetic", "modelled")]),
    has_interval=st.booleans(),
)
def test_a_smaller_range_never_gives_a_better_verdict(
    kind, interval, ends, is_open, no_effect, labels, has_interval
):
    def verdict(low, high):
        accept = {"low": low, "high": high}
        accept.pop(is_open, None)
        declared = Claim.model_validate(
            {
                "id": "c",
                "title": "",
                "source": "",
                "statement": "",
                "kind": kind,
                "experiment": "e",
                "metric": "m",
                "of": OURS,
                "over": BASE,
                "paper": {"value": None},
                "accept": accept,
                "no_effect": no_effect,
            }
        )
        middle = sum(interval) / 2
        estimate = Estimate(middle, *(interval if has_interval else (None, None)), n=30)
        return VERDICTS_BEST_FIRST.index(decide(declared, estimate, *labels)[0])

    assert verdict(ends[1], ends[2]) >= verdict(ends[0], ends[3])


# -- from folders --------------------------------------------------------------------------


@pytest.fixture
def toy(shelf, entry):
    """Toy paper with one claim as declared here."""

    def add(**changes):
        return shelf.add(claims=[entry(**changes)])

    add()
    return add


def one(tmp_path, size="quick", target="cpu"):
    (verdict,) = judge_paper(tmp_path, size, target, "toy")
    return verdict


def test_judged_paper_is_written_and_read_back(toy, tmp_path, lay, table):
    toy(paper={"value": [2, 11], "unit": "pp"}, accept={"low": 1})
    lay(tmp_path, table({"ours": [2.0] * 12}))
    verdicts = judge_paper(tmp_path, "quick", "cpu", "toy")
    assert [v.verdict for v in verdicts] == ["reproduced"]
    path = tmp_path / "quick/cpu/toy/verdicts.json"
    assert read_verdicts(path) == verdicts
    before = path.read_bytes()
    assert judge_claims(tmp_path, "quick", "cpu", "toy") == verdicts
    judge_paper(tmp_path, "quick", "cpu", "toy")
    assert path.read_bytes() == before  # the bootstrap has a fixed seed


def test_verdicts_of_other_versions(toy, tmp_path, lay, table):
    lay(tmp_path, table({"ours": [2.0] * 12}))
    verdicts = judge_paper(tmp_path, "quick", "cpu", "toy")
    path = tmp_path / "quick/cpu/toy/verdicts.json"
    content = read_json(path)
    write_json(path, [{**content[0], "carbon": 3}])
    assert read_verdicts(path) == verdicts
    for broken in ([{"paper": "toy"}], {"a": 1}, [3], 3):
        write_json(path, broken)
        with pytest.raises(DataError, match=r"verdicts\.json: not this version's verdicts"):
            read_verdicts(path)


def test_unknown_size_is_an_error_and_no_empty_scorecard(toy, tmp_path):
    with pytest.raises(ConfigError, match="unknown size 'quik'; did you mean 'quick'"):
        judge_paper(tmp_path, "quik", "cpu", "toy")
    with pytest.raises(ConfigError, match="unknown target 'cpux'; did you mean 'cpu'"):
        judge_paper(tmp_path, "quick", "cpux", "toy")
    assert list(tmp_path.rglob("verdicts.json")) == []


@pytest.mark.parametrize(
    ("changes", "size", "target", "reason"),
    [
        ({"scope": {"sizes": ["full"]}}, "quick", "cpu", "not judged at size 'quick'"),
        ({"scope": {"targets": ["gpu"]}}, "quick", "cpu", "not judged on target 'cpu'"),
        ({"experiment": "later"}, "quick", "cpu", "not judged at size 'quick'"),
        ({}, "quick", "wearable", "not judged on target 'wearable'"),
        ({"scope": {"data": ["original"]}}, "quick", "cpu", "data is synthetic"),
        ({}, "full", "cpu", "not run: 'speed' has no result at full"),
        ({"where": {"variant": "theirs"}}, "quick", "cpu", "no observation of 'score' passes"),
    ],
)
def test_out_of_scope_and_not_run_are_untested_with_the_reason(
    toy, tmp_path, lay, table, changes, size, target, reason
):
    toy(**changes)
    lay(tmp_path, table({"ours": [2.0] * 12}, data="synthetic"))
    verdict = one(tmp_path, size, target)
    assert verdict.verdict == "untested"
    assert reason in verdict.reason
    assert (verdict.estimate, verdict.low, verdict.n) == (None, None, 0)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"metric": "scroe"},
            "metric 'scroe', which 'speed' did not observe; did you mean 'score'",
        ),
        ({"where": {"varaint": "ours"}}, "column 'varaint'.*did you mean 'variant'"),
        ({"kind": "difference", "of": {"variant": "ours"}, "over": {"variant": "x"}}, "'x'"),
        ({"kind": "difference", "of": {"variant": "y"}, "over": {"variant": "x"}}, "'y'"),
        ({"kind": "ratio", "of": OURS, "over": {"data": "original"}, "each": "rival"}, "'rival'"),
        ({"unit_of_analysis": "graph"}, "column 'graph'"),
        ({"function": "common.papers:no_such_function"}, "no_such_function"),
        ({"function": "projects.nosuchpaper.claims:f"}, "no module"),
    ],
)
def test_what_the_observations_lack_is_an_error_and_never_a_zero(
    toy, tmp_path, lay, table, changes, reason
):
    toy(**changes)
    lay(tmp_path, table({"ours": [2.0] * 12}))
    verdict = one(tmp_path)
    assert verdict.verdict == "error"
    assert verdict.estimate is None and verdict.n == 0
    assert re.search(reason, verdict.reason), verdict.reason


def test_failed_skipped_and_broken_runs(toy, tmp_path, lay, table):
    frame = table({"ours": [2.0] * 12})
    lay(tmp_path, frame[:0], status="failed", reason="ValueError: no luck")
    failed = one(tmp_path)
    assert failed.verdict == "error" and "ValueError: no luck" in failed.reason
    reason = "lightgbm is not installed (missing extra 'nurd'); run: pip install '.[nurd]'"
    lay(tmp_path, frame[:0], status="skipped", reason=reason)
    skipped = one(tmp_path)
    assert (skipped.verdict, skipped.reason) == ("untested", reason)
    folder = lay(tmp_path, frame)
    (folder.path / "observations.parquet").write_bytes(b"torn")
    torn = one(tmp_path)
    assert torn.verdict == "error" and "not a readable parquet file" in torn.reason
    (folder.path / "observations.parquet").unlink()
    assert one(tmp_path).verdict == "error"
    (folder.path / "run.json").write_text("{")
    assert one(tmp_path).verdict == "error"
    assert failed.estimate is skipped.estimate is torn.estimate is None


def test_claim_function_that_lacks_an_extra_is_untested(claim, lay, table, tmp_path, monkeypatch):
    def needing(rows):
        raise MissingExtra("x is not installed (missing extra 'y')")

    monkeypatch.setattr("common.claims.load_target", lambda target: needing)
    folder = lay(tmp_path, table({"ours": [2.0]}))
    verdict = judge_folder(claim(function="a:b"), folder)
    assert (verdict.verdict, verdict.reason) == (
        "untested",
        "x is not installed (missing extra 'y')",
    )


def test_claim_on_a_skipped_variant_is_untested(toy, tmp_path, lay, table):
    """A side whose package is missing is neither an error nor quietly a weaker comparison."""
    skipped = [{"variant": "rival", "reason": "missing extra 'z'"}]
    frame = table({"ours": [5.0] * 12, "base": [4.0] * 12})
    frame["role"] = frame["variant"].map({"ours": "method", "base": "rival"})
    difference = {"kind": "difference", "of": OURS}
    for sides in (
        {"over": RIVAL},
        {"over": [BASE, RIVAL]},
        {"over": {"variant": ["base", "rival"]}},
    ):
        toy(**difference, **sides)
        lay(tmp_path, frame, skipped=skipped)
        verdict = one(tmp_path)
        assert (verdict.verdict, verdict.reason) == (
            "untested",
            "'rival' was skipped: missing extra 'z'",
        )
    toy(**difference, over=BASE)
    assert one(tmp_path).verdict == "reproduced"
    toy(**difference, over={"role": "rival"}, each="variant", accept={"low": 0})
    verdict = one(tmp_path)
    assert verdict.verdict == "reproduced"
    assert verdict.reason == "without rival, which the run skipped"
    # Left out for one item alone, it is a side like any other.
    toy(**difference, over=BASE)
    lay(tmp_path, frame, skipped=[{"variant": "base", "reason": "too large"}])
    assert one(tmp_path).verdict == "reproduced"
