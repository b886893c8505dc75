import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projects.nurd.thresholds import historical_quantile, kaplan_meier_quantile

times = st.lists(st.integers(1, 50).map(float), min_size=1, max_size=40)


@given(times, st.lists(st.integers(1, 50).map(float), max_size=40), st.sampled_from([0.5, 0.9]))
def test_agrees_with_the_survival_library(finished, running, quantile):
    sksurv = pytest.importorskip("sksurv.nonparametric")
    time = np.array(finished + running)
    event = np.repeat([True, False], [len(finished), len(running)])
    at, survival = sksurv.kaplan_meier_estimator(event, time)
    below = np.flatnonzero(survival <= 1 - quantile + 1e-12)
    # Its curve has a point at censored times too, but falls at finished ones alone.
    expected = at[below[0]] if len(below) else np.inf
    assert kaplan_meier_quantile(np.array(finished), np.array(running), quantile) == expected


def test_without_censoring_it_is_the_empirical_quantile():
    latency = np.arange(1.0, 101.0)
    assert kaplan_meier_quantile(latency, np.array([]), 0.9) == 90.0


def test_nothing_is_known_while_too_few_have_finished():
    assert kaplan_meier_quantile(np.array([1.0, 2.0]), np.full(98, 3.0), 0.9) == np.inf


def test_history_refuses_what_is_no_latency():
    with pytest.raises(ValueError, match="need finite latencies"):
        historical_quantile([])
    with pytest.raises(ValueError, match="need finite latencies"):
        historical_quantile([1.0, np.nan])
