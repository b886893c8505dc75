"""The bootstrap and the trends against scipy and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from common.stats import ONE_UNIT, Estimate, bootstrap, bootstrap_means, trend


def mean(table):
    return table.mean(axis=-2)[..., 0]


def ratio(table):
    means = table.mean(axis=-2)
    return means[..., 0] / means[..., 1]


def scipy_interval(table, statistic, resamples, seed):
    """Percentile interval of scipy, which resamples indices: the rows stay together."""
    found = stats.bootstrap(
        (np.arange(len(table)),),
        lambda index, axis: np.apply_along_axis(
            lambda i: statistic(table[i.astype(int)]), axis, index
        ),
        n_resamples=resamples,
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return found.confidence_interval


@pytest.mark.parametrize("statistic", [mean, ratio])
@pytest.mark.parametrize("n", [3, 25])
def test_percentile_interval_is_that_of_scipy(statistic, n):
    table = np.random.default_rng(n).lognormal(1, 0.5, size=(n, 2))
    ours = bootstrap(table, statistic, resamples=1000, seed=7)
    theirs = scipy_interval(table, statistic, 1000, 7)
    assert ours.value == pytest.approx(statistic(table))
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=1e-12)


@pytest.mark.parametrize("n", [1, 2, 9, 60, 501])
def test_means_are_resampled_as_tables_are(n):
    table = np.random.default_rng(n).lognormal(1, 0.5, size=(n, 2))
    by_rows = bootstrap(table, ratio)
    by_counts = bootstrap_means(table, lambda means: means[..., 0] / means[..., 1])
    assert (by_counts.n, by_counts.note) == (by_rows.n, by_rows.note)
    numbers = [(e.value, e.low or 0, e.high or 0) for e in (by_counts, by_rows)]
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-12)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_means_of_what_is_not_finite_have_no_interval(value):
    table = np.array([[1.0], [2.0], [value]])
    estimate = bootstrap_means(table, lambda means: means[..., 0])
    assert (estimate.low, estimate.high) == (None, None)
    assert "finite" in estimate.note


def test_interval_of_a_normal_mean_is_the_closed_form():
    """With many units the bootstrap interval is mean -+ 1.96 sigma / sqrt(n)."""
    x = np.random.default_rng(0).normal(5, 2, size=(2000, 1))
    estimate = bootstrap(x, mean)
    half = 1.959964 * x.std() / np.sqrt(len(x))
    assert estimate.low == pytest.approx(x.mean() - half, abs=0.05 * half)
    assert estimate.high == pytest.approx(x.mean() + half, abs=0.05 * half)


def test_coverage_on_normal_means_is_nominal():
    """Of 400 intervals 95 % should hold the truth; five standard errors of that are 5.4 %."""
    rng = np.random.default_rng(1)
    hits = 0
    for seed in range(400):
        estimate = bootstrap(rng.normal(3, 1, size=(40, 1)), mean, resamples=400, seed=seed)
        hits += estimate.low <= 3 <= estimate.high
    assert 0.89 <= hits / 400 <= 0.99


def test_narrower_level_is_a_narrower_interval():
    table = np.random.default_rng(2).normal(size=(30, 1))
    wide, narrow = bootstrap(table, mean), bootstrap(table, mean, level=0.5)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_chunks_change_nothing_but_memory(monkeypatch):
    table = np.random.default_rng(3).normal(size=(50, 2))
    whole = bootstrap(table, ratio, resamples=500)
    monkeypatch.setattr("common.stats._CHUNK_CELLS", 700)  # seven resamples a chunk
    assert bootstrap(table, ratio, resamples=500) == whole


def test_one_unit_has_no_interval():
    estimate = bootstrap([[4.0]], mean)
    assert estimate == Estimate(4.0, None, None, 1, note=ONE_UNIT)


def test_few_units_say_so_and_ten_do_not():
    assert "9 units" in bootstrap(np.arange(9.0)[:, None], mean).note
    assert bootstrap(np.arange(10.0)[:, None], mean).note == ""


def test_no_units_is_an_error():
    with pytest.raises(ValueError, match="no units"):
        bootstrap(np.empty((0, 1)), mean)


def test_resamples_without_a_value_give_no_interval():
    """The denominator is zero in every resample that misses the last unit."""
    table = np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 4.0]])
    estimate = bootstrap(table, ratio)
    assert estimate.value == pytest.approx(6 / 4)
    assert (estimate.low, estimate.high, estimate.n) == (None, None, 3)
    assert "no interval" in estimate.note


@settings(max_examples=30, deadline=None)
@given(arrays(float, st.tuples(st.integers(2, 12), st.just(1)), elements=st.floats(-1e6, 1e6)))
def test_interval_of_a_mean_stays_within_the_data(table):
    estimate = bootstrap(table, mean, resamples=200)
    slack = 1e-9 * (1 + np.abs(table).max())
    assert table.min() - slack <= estimate.low <= estimate.high <= table.max() + slack
    assert bootstrap(table, mean, resamples=200) == estimate


def test_scaled_changes_unit_and_all_numbers():
    scaled = Estimate(0.5, 0.4, None, 9, "", "note").scaled(100, "%")
    assert scaled == Estimate(50.0, 40.0, None, 9, "%", "note")


# -- trends --------------------------------------------------------------------------------

X = np.array([1.0, 2.0, 4.0, 7.0, 11.0])


@pytest.fixture
def many():
    return np.random.default_rng(5).lognormal(0, 1, size=(6, len(X)))


def test_slope_is_that_of_linregress(many):
    expected = [stats.linregress(X, y).slope for y in many]
    np.testing.assert_allclose(trend(X, many, "slope"), expected)


def test_loglog_slope_is_linregress_of_the_logarithms(many):
    expected = [stats.linregress(np.log(X), np.log(y)).slope for y in many]
    np.testing.assert_allclose(trend(X, many, "loglog_slope"), expected)


def test_spearman_is_spearmanr_also_with_ties(many):
    many = np.vstack([many, [1, 1, 2, 2, 0], [3, 3, 3, 3, 4]])
    expected = [stats.spearmanr(X, y).statistic for y in many]
    np.testing.assert_allclose(trend(X, many), expected)


def test_power_law_and_line_in_closed_form():
    assert trend(X, 3 * X**-1.5, "loglog_slope") == pytest.approx(-1.5)
    assert trend(X, 4 - 0.25 * X, "slope") == pytest.approx(-0.25)


def test_constant_metric_has_no_trend():
    assert trend(X, np.full((2, 5), 3.0)).tolist() == [0.0, 0.0]


@settings(max_examples=50, deadline=None)
@given(arrays(float, 5, elements=st.floats(-100, 100)), st.floats(0.1, 10), st.floats(-5, 5))
def test_spearman_ignores_increasing_transforms_and_slope_is_linear(y, scale, shift):
    # Rounded, so that scaling merges no two values and splits none.
    y = np.round(y, 3)
    assert trend(X, y) == pytest.approx(trend(X, np.round(np.exp(y / 50), 12)), abs=1e-9)
    moved = trend(X, scale * y + shift, "slope")
    assert moved == pytest.approx(scale * trend(X, y, "slope"), abs=1e-6)
