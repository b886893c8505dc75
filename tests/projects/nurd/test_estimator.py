"""NURD as an estimator: scikit-learn's contract, the closed form of the weight, invariances."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from projects.nurd.boosting import BoostedTrees
from projects.nurd.estimator import NURDClassifier
from projects.nurd.job import NotEnoughData
from projects.nurd.weighting import calibration, centroid_ratio, weights


@parametrize_with_checks([NURDClassifier(), BoostedTrees()])
def test_sklearn_contract(estimator, check):
    check(estimator)


def problem(seed=0, n=80, d=3):
    """Finished and running halves; the first column carries the latency."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    y = 100 * np.exp(0.5 * X[:, 0])
    order = np.argsort(y)
    X, y = X[order] + rng.normal(0, 0.2, (n, d)), y[order]
    half = n // 2
    return X[:half], y[:half], X[half:], float(y[int(0.9 * n)])


# -- the closed form -----------------------------------------------------------------------


def test_decision_in_closed_form():
    """Two points per set, a linear model: everything by hand."""
    X, y = np.array([[0.0], [1.0]]), np.array([10.0, 20.0])
    running = np.array([[3.0], [4.0]])
    model = NURDClassifier(40.0, alpha=0.3, regressor=LinearRegression()).fit(X, y, running)
    # Scaled to [0, 1]: finished at 0, 1/4, running at 3/4, 1; c_F = 1/8, c_R = 7/8.
    rho = (1 / 8) ** 2 / (6 / 8) ** 2
    assert model.rho_ == pytest.approx(rho)
    assert model.delta_ == pytest.approx(1 / (1 + rho) - 0.3)
    h = np.array([40.0, 50.0])
    assert model.predict_latency(running) == pytest.approx(h)
    rows = np.array([[0.0], [0.25], [0.75], [1.0]])
    z = LogisticRegression(tol=1e-10).fit(rows, [0, 0, 1, 1]).predict_proba(rows[2:])[:, 0]
    w = np.clip(z + model.delta_, 0.05, 1.0)
    assert ((w > 0.05) & (w <= 1.0)).all()
    expected = (10.0 + (h - 10.0) / w) / 40.0
    assert model.decision_function(running) == pytest.approx(expected, rel=1e-5)


def test_without_calibration_the_weight_is_the_propensity():
    X, y, running, tau = problem()
    model = NURDClassifier(tau, calibrate=False).fit(X, y, running)
    h, origin = model.predict_latency(running), y.min()
    score = model.decision_function(running)
    w = (h - origin) / (score * tau - origin)
    rows = model.scaler_.transform(running)
    z = model.propensity_.predict_proba(rows)[:, 0]
    above = h > origin
    assert above.any()
    assert w[above] == pytest.approx(z[above])


def test_without_running_tasks_nothing_is_weighed():
    X, y, running, tau = problem()
    model = NURDClassifier(tau).fit(X, y)
    assert model.decision_function(running) == pytest.approx(model.predict_latency(running) / tau)
    assert not hasattr(model, "rho_")


def test_weight_is_floored_and_capped():
    w = weights(np.array([0.0, 0.01, 0.5, 0.99]), -0.2, 0.05)
    assert w == pytest.approx([0.05, 0.05, 0.3, 0.79])
    assert weights(np.array([0.9]), 0.3, 0.05) == pytest.approx([1.0])


def test_equal_centroids_give_minus_alpha():
    points = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert centroid_ratio(points, points[::-1]) == np.inf
    assert calibration(np.inf, 0.2) == -0.2


# -- from checkpoint to checkpoint ---------------------------------------------------------


def test_the_first_calibration_stays():
    X, y, running, tau = problem()
    model = NURDClassifier(tau).partial_fit(X[:20], y[:20], np.concatenate([X[20:], running]))
    rho, delta, origin = model.rho_, model.delta_, model.origin_
    model.partial_fit(X, y, running)
    assert (model.rho_, model.delta_, model.origin_) == (rho, delta, origin)
    fresh = NURDClassifier(tau).fit(X, y, running)
    assert fresh.rho_ != rho
    # The latency model is the fresh one; only the calibration is older.
    assert np.array_equal(model.predict_latency(running), fresh.predict_latency(running))
    assert model.fit(X, y, running).rho_ == fresh.rho_


def test_refit_only_after_enough_new_tasks():
    X, y, running, tau = problem()
    model = NURDClassifier(tau, refit_fraction=0.5).fit(X[:20], y[:20], running)
    before = model.predict_latency(running)
    model.partial_fit(X[:30], y[:30], running)
    assert np.array_equal(model.predict_latency(running), before)
    model.partial_fit(X[:31], y[:31], running)
    assert not np.array_equal(model.predict_latency(running), before)


# -- refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "message"),
    [
        *(({"threshold": bad}, "threshold=.*above 0") for bad in (0.0, -1.0, np.nan, np.inf)),
        *(({"alpha": bad}, "alpha=.*0 to 1") for bad in (-0.1, 1.1, np.nan)),
        *(({"eps": bad}, "eps=.*above 0, up to 1") for bad in (0.0, -0.1, 1.1, np.nan)),
        *(({"refit_fraction": bad}, "refit_fraction=") for bad in (-0.1, np.nan)),
    ],
)
def test_bad_parameters(params, message):
    X, y, running, _ = problem()
    with pytest.raises(ValueError, match=message):
        NURDClassifier(**params).fit(X, y, running)


def test_other_features_are_refused():
    X, y, running, tau = problem()
    model = NURDClassifier(tau).fit(X, y, running)
    with pytest.raises(ValueError, match="2 features.*expecting 3"):
        model.partial_fit(X[:, :2], y, running[:, :2])
    with pytest.raises(ValueError, match="2 features.*expecting 3"):
        NURDClassifier(tau).fit(X, y, running[:, :2])
    with pytest.raises(ValueError, match="2 features.*expecting 3"):
        model.predict(running[:, :2])


def test_negative_latencies_are_refused():
    X, y, running, tau = problem()
    with pytest.raises(ValueError, match="must not be negative, got -1"):
        NURDClassifier(tau).fit(X, np.where(y == y.min(), -1.0, y), running)


def test_nobody_finished_or_nobody_running():
    X, y, running, tau = problem()
    with pytest.raises(NotEnoughData, match="got 0 finished and 40 running"):
        NURDClassifier(tau).fit(X[:0], y[:0], running)
    with pytest.raises(NotEnoughData, match="got 40 finished and 0 running"):
        NURDClassifier(tau).fit(X, y, running[:0])


# -- the fallback --------------------------------------------------------------------------


@pytest.mark.parametrize("why", ["all features are constant", "fewer than 2 tasks have finished"])
def test_fallback_is_the_running_time(why):
    X, y, running, tau = problem()
    if why.startswith("all"):
        X, running = np.ones_like(X), np.ones_like(running)
    else:
        X, y = X[:1], y[:1]
    with pytest.warns(UserWarning, match=why):
        model = NURDClassifier(tau).fit(X, y, running)
    elapsed = np.linspace(0, 2 * tau, len(running))
    assert model.decision_function(running, elapsed) == pytest.approx(elapsed / tau)
    assert np.array_equal(model.predict(running, elapsed), elapsed >= tau)
    assert not model.predict(running).any()
    with pytest.raises(ValueError, match="inconsistent numbers"):
        model.predict(running, elapsed[1:])


def test_the_fallback_ends_once_features_vary():
    X, y, running, tau = problem()
    with pytest.warns(UserWarning, match="constant"):
        model = NURDClassifier(tau).partial_fit(X[:5] * 0, y[:5], running * 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.partial_fit(X, y, running)
    expected = NURDClassifier(tau).fit(X, y, running).predict_latency(running)
    assert np.array_equal(model.predict_latency(running), expected)


# -- invariances ---------------------------------------------------------------------------


@settings(deadline=None, max_examples=20)
@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 5))
def test_a_larger_alpha_never_unflags(low, high, seed):
    low, high = sorted((low, high))
    X, y, running, tau = problem(seed)
    fitted = (NURDClassifier(tau, alpha=a).fit(X, y, running) for a in (low, high))
    less, more = (model.decision_function(running) for model in fitted)
    assert (more >= less).all()


def test_a_larger_floor_never_flags_more():
    X, y, running, tau = problem()
    model = NURDClassifier(tau, alpha=1.0)
    scores = [
        clone(model).set_params(eps=e).fit(X, y, running).decision_function(running)
        for e in (0.01, 0.1, 1.0)
    ]
    assert (np.diff(scores, axis=0) <= 0).all()
    assert scores[0].sum() > scores[-1].sum()


@settings(deadline=None, max_examples=20)
@given(
    st.lists(st.sampled_from([-8.0, -0.5, 0.25, 2.0, 64.0]), min_size=3, max_size=3),
    st.lists(st.integers(-4, 4), min_size=3, max_size=3),
)
def test_units_of_the_features_do_not_matter(scale, shift):
    X, y, running, tau = problem()
    # A linear model: trees may break ties otherwise after a mirrored column.
    model = NURDClassifier(tau, regressor=LinearRegression())
    expected = clone(model).fit(X, y, running).decision_function(running)
    scale = np.abs(scale)
    other = clone(model).fit(X * scale + shift, y, running * scale + shift)
    assert other.decision_function(running * scale + shift) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("unit", [1e-3, 60.0, 1e6])
def test_the_unit_of_time_does_not_matter(unit):
    X, y, running, tau = problem()
    expected = NURDClassifier(tau).fit(X, y, running).decision_function(running)
    other = NURDClassifier(tau * unit).fit(X, y * unit, running).decision_function(running)
    assert other == pytest.approx(expected, rel=1e-9)


def test_score_is_f1_of_the_flags():
    X, y, running, tau = problem()
    model = NURDClassifier(tau).fit(X, y, running)
    flags = model.predict(running)
    assert flags.any()
    truth = np.where(flags, tau, 0.5 * tau)
    assert model.score(running, truth) == 1.0
    assert model.score(running, np.zeros(len(running))) == 0.0
