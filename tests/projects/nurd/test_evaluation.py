"""Evaluation: flags latch, and the metrics are those of scikit-learn."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, f1_score, precision_score, recall_score, roc_auc_score

from projects.nurd.evaluation import Outcome, auc, metrics, run_method, tail_recall
from projects.nurd.job import NotEnoughData
from projects.nurd.protocol import Protocol, replay


def outcome(slow, flagged, score, test=None):
    slow, flagged = np.asarray(slow, dtype=bool), np.asarray(flagged, dtype=bool)
    test = np.ones(len(slow), dtype=bool) if test is None else np.asarray(test, dtype=bool)
    times = np.where(flagged, 7.0, np.inf)
    return Outcome(times, np.asarray(score, dtype=float), test, slow, 0, 1)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.booleans(), st.booleans(), st.integers(-3, 3), st.booleans()),
        min_size=4,
        max_size=60,
    )
)
def test_metrics_are_those_of_scikit_learn(rows):
    slow, flagged, score, test = map(np.array, zip(*rows, strict=True))
    assume(test.any())
    found = metrics(outcome(slow, flagged, score, test))
    slow, flagged, score = slow[test], flagged[test], score[test]
    assert found["f1"] == pytest.approx(f1_score(slow, flagged, zero_division=0))
    assert found["precision"] == pytest.approx(precision_score(slow, flagged, zero_division=0))
    if slow.any():
        assert found["tpr"] == pytest.approx(recall_score(slow, flagged))
        assert found["fnr"] == pytest.approx(1 - recall_score(slow, flagged))
    if slow.any() and not slow.all():
        quick, false, _, _ = confusion_matrix(slow, flagged).ravel()
        assert found["fpr"] == pytest.approx(false / (false + quick))
        assert found["auc"] == pytest.approx(roc_auc_score(slow, score))
    else:
        assert np.isnan(found["auc"])


def test_tasks_that_were_never_scored_rank_last_together():
    slow = np.array([True, True, False, False, False])
    score = np.array([2.0, -np.inf, 1.0, -np.inf, np.inf])
    finite = np.array([2.0, -9.0, 1.0, -9.0, 9.0])
    assert auc(slow, score) == pytest.approx(roc_auc_score(slow, finite))
    assert auc(np.array([True, False]), np.array([-np.inf, -np.inf])) == 0.5


def test_metrics_are_plain_numbers():
    assert {type(v) for v in metrics(outcome([1, 0], [1, 1], [2, 1])).values()} == {float}


# -- replaying a method --------------------------------------------------------------------


def test_flags_latch_at_their_first_time(make_static):
    """A method that flags task 5 at its third checkpoint alone has flagged it for good."""
    job, calls = make_static(), []

    def once(checkpoint):
        calls.append(checkpoint)
        return np.where(checkpoint.running == 5, 2.0 if len(calls) == 3 else 0.25, 0.5)

    result = run_method(job, once, Protocol())
    assert np.flatnonzero(result.flagged).tolist() == [5]
    assert result.flag_time[5] == calls[2].time
    assert result.checkpoints == len(calls)
    assert result.score[5] == 2.0
    seen = np.unique(np.concatenate([c.running for c in calls]))
    others = np.setdiff1d(seen, [5])
    assert (result.score[others] == 0.5).all()
    assert np.isneginf(np.delete(result.score, seen)).all()


def test_flag_time_is_the_first_of_several(make_static):
    job = make_static()
    first = next(iter(replay(job, Protocol())))
    result = run_method(job, lambda c: np.ones(len(c.running)), Protocol())
    assert (result.flag_time[first.running] == first.time).all()


def test_in_records_a_flag_falls_on_the_tasks_own_clock(make_series):
    job = make_series()
    result = run_method(job, lambda c: np.ones(len(c.running)), Protocol("warm_start"))
    ages = np.array([(job.end - job.start)[a : a + 3].sum() for a in job.first[:-1]])
    assert result.flag_time[result.flagged] == pytest.approx(ages[result.flagged])


def test_just_below_one_is_no_flag_and_nan_is_none_either(make_static):
    job = make_static()
    low = run_method(job, lambda c: np.full(len(c.running), np.nextafter(1.0, 0.0)), Protocol())
    assert not low.flagged.any()
    none = run_method(job, lambda c: np.full(len(c.running), np.nan), Protocol())
    assert not none.flagged.any()
    assert np.isneginf(none.score).all()


def test_labels_are_the_jobs_own_whatever_the_method_is_told(make_static):
    job = make_static()
    told = 0.8 * job.threshold()
    seen = []
    result = run_method(job, lambda c: seen.append(c.threshold) or c.elapsed, Protocol(), told)
    assert set(seen) == {told}
    assert np.array_equal(result.straggler, job.latency >= np.sort(job.latency)[int(0.9 * job.n)])


def test_a_method_with_too_few_scores_is_refused(make_static):
    with pytest.raises(ValueError, match=r"returned shape \(1,\) for \d+ running tasks"):
        run_method(make_static(), lambda c: np.zeros(1), Protocol())


def test_a_job_without_checkpoint_is_not_enough_data(make_static):
    """With a threshold below every latency all running tasks are stragglers by definition."""
    counts = r"job static: no checkpoint .* \(60 of 60 tasks have a latency\)"
    with pytest.raises(NotEnoughData, match=counts):
        run_method(make_static(), lambda c: c.elapsed, Protocol(), threshold=1.0)


# -- the tail ------------------------------------------------------------------------------


def test_tail_bins_by_hand(make_static):
    """200 tasks of latency 1 .. 200: the bins are 181-190, 191-198, 199-200."""
    import dataclasses

    job = dataclasses.replace(make_static(n=200), latency=np.arange(1.0, 201.0))
    flagged = np.zeros(200, dtype=bool)
    flagged[[180, 181, 189, 190, 199]] = True
    found = tail_recall(job, outcome(job.latency >= 181, flagged, flagged))
    assert found == pytest.approx({"tpr_p90": 3 / 10, "tpr_p95": 1 / 8, "tpr_p99": 1 / 2})


def test_tail_bins_cover_the_stragglers_once(make_static):
    for n in (20, 60, 101, 999):
        job = make_static(n=n)
        slow = job.stragglers()
        for task in np.flatnonzero(slow):
            alone = outcome(slow, np.arange(n) == task, np.zeros(n))
            assert sum(rate > 0 for rate in tail_recall(job, alone).values()) == 1
        nobody = outcome(slow, np.zeros(n), np.zeros(n), np.zeros(n))
        assert all(np.isnan(rate) for rate in tail_recall(job, nobody).values())
