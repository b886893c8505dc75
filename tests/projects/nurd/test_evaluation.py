import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score

from projects.nurd.evaluation import Outcome, auc, metrics, run_method, tail_recall
from projects.nurd.generator import generate_job
from projects.nurd.protocol import Protocol, completion_times, replay, split

rows = st.lists(
    st.tuples(st.booleans(), st.sampled_from([-np.inf, 0.2, 0.9, 1.0, 1.4, 3.0])), min_size=4
)


@given(rows)
def test_rates_agree_with_scikit_learn(pairs):
    slow = np.array([s for s, _ in pairs])
    score = np.array([v for _, v in pairs])
    flagged = score >= 1
    outcome = Outcome(np.where(flagged, 5.0, np.inf), score, np.ones(len(slow), bool), slow, 0, 1)
    got = metrics(outcome)
    assert got["f1"] == pytest.approx(f1_score(slow, flagged, zero_division=0))
    assert got["tpr"] == pytest.approx(recall_score(slow, flagged, zero_division=0))
    assert got["precision"] == pytest.approx(precision_score(slow, flagged, zero_division=0))
    assert got["fpr"] == pytest.approx(recall_score(~slow, flagged, zero_division=0))
    assert got["fnr"] == pytest.approx(1 - got["tpr"])
    if slow.any() and not slow.all():
        finite = np.where(np.isfinite(score), score, -1e9)
        assert got["auc"] == pytest.approx(roc_auc_score(slow, finite))
    else:
        assert np.isnan(got["auc"])


def test_auc_counts_ties_half():
    assert auc(np.array([True, False]), np.array([1.0, 1.0])) == 0.5


@pytest.fixture(scope="module")
def job():
    return generate_job(np.random.default_rng(3), "far-tail", n=150)


@pytest.mark.parametrize("protocol", [Protocol(), Protocol("authors", clean=True)])
def test_flags_latch_at_their_first_moment(job, protocol):
    moments = {}

    def once(checkpoint):
        """Flag every task the first time that it is seen, and never again."""
        new = [task not in moments for task in checkpoint.running]
        for task, moment in zip(checkpoint.running, checkpoint.moment, strict=True):
            moments.setdefault(task, moment)
        return np.where(new, 1.0, 0.0)

    outcome = run_method(job, once, protocol)
    seen = np.array(sorted(moments))
    assert outcome.flag_time[seen].tolist() == [moments[task] for task in seen]
    assert not outcome.flagged[np.setdiff1d(np.arange(job.n), seen)].any()
    # Whoever is flagged still runs then, on the clock on which it later finishes.
    assert (outcome.flag_time[seen] <= completion_times(job, protocol)[seen]).all()


def test_a_method_of_the_wrong_shape_is_refused(job):
    with pytest.raises(ValueError, match=r"returned shape \(3,\)"):
        run_method(job, lambda checkpoint: np.zeros(3), Protocol())


def test_perfect_foresight_has_an_f1_of_one(job):
    slow = job.stragglers()
    outcome = run_method(job, lambda c: slow[c.running].astype(float), Protocol("authors"))
    parts = split(job, Protocol("authors"))
    seen = {task for c in replay(job, Protocol("authors")) for task in c.running}
    assert set(np.flatnonzero(slow & parts.test)) <= seen
    assert metrics(outcome)["f1"] == metrics(outcome)["auc"] == 1.0
    assert set(tail_recall(job, outcome).values()) == {1.0}
