"""Thresholds for production, against scikit-survival and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projects.nurd.thresholds import check_threshold, historical_quantile, kaplan_meier_quantile

times = st.lists(st.integers(1, 30).map(float), min_size=1, max_size=40)


@settings(deadline=None)
@given(times, st.lists(st.integers(1, 30).map(float), max_size=40), st.floats(0.05, 0.95))
def test_quantile_is_that_of_scikit_survivals_estimate(finished, running, quantile):
    nonparametric = pytest.importorskip("sksurv.nonparametric")
    ended = np.repeat([True, False], [len(finished), len(running)])
    time, survival = nonparametric.kaplan_meier_estimator(ended, np.array(finished + running))
    reached = survival <= 1 - quantile + 1e-12
    expected = time[reached][0] if reached.any() else np.inf
    assert kaplan_meier_quantile(np.array(finished), np.array(running), quantile) == expected


def test_without_running_tasks_it_is_the_order_statistic():
    """Also where rounding leaves the estimate a hair above what it should fall to."""
    for n in range(10, 210, 10):
        latencies = np.random.default_rng(0).permutation(np.arange(1.0, n + 1.0))
        for tenths in range(1, 10):
            found = kaplan_meier_quantile(latencies, np.array([]), tenths / 10)
            assert found == n * tenths // 10


def test_censored_at_a_finish_counts_as_at_risk_then():
    """Four tasks at 2 s, one ends: the estimate falls to 3/4, not to 2/3."""
    assert kaplan_meier_quantile(np.array([2.0]), np.array([2.0, 2.0, 2.0]), 0.25) == 2.0
    assert kaplan_meier_quantile(np.array([2.0]), np.array([2.0, 2.0, 2.0]), 0.26) == np.inf


def test_unknown_while_too_few_have_finished():
    finished, running = np.arange(1.0, 90.0), np.full(11, 90.0)
    assert kaplan_meier_quantile(finished, running) == np.inf
    assert kaplan_meier_quantile(np.arange(1.0, 91.0), np.full(10, 90.0)) == 90.0


def test_nothing_finished_means_unknown():
    assert kaplan_meier_quantile(np.array([]), np.array([5.0])) == np.inf
    assert kaplan_meier_quantile(np.array([]), np.array([])) == np.inf


@pytest.mark.parametrize("quantile", [0.0, 1.0, -0.1, 90.0, float("nan")])
def test_quantile_out_of_range(quantile):
    with pytest.raises(ValueError, match="allowed is above 0 and below 1"):
        kaplan_meier_quantile(np.array([1.0]), np.array([]), quantile)


def test_historical_quantile_is_numpys():
    latencies = np.random.default_rng(0).lognormal(size=57)
    assert historical_quantile(latencies) == np.quantile(latencies, 0.9)
    assert historical_quantile([3.0]) == 3.0


@pytest.mark.parametrize(("latencies", "said"), [([], "got 0, 0"), ([1.0, np.nan], "got 2, 1 of")])
def test_history_that_says_nothing(latencies, said):
    with pytest.raises(ValueError, match=said):
        historical_quantile(latencies)


@pytest.mark.parametrize("threshold", [0, -3.0, float("nan"), float("inf")])
def test_threshold_out_of_range(threshold):
    with pytest.raises(ValueError, match=r"threshold=.*: must be a finite number above 0"):
        check_threshold(threshold)
