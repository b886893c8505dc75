"""NURDClassifier: scikit-learn's contract, closed forms, invariances, and every bad parameter."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from projects.nurd.estimator import NURDClassifier
from projects.nurd.job import NotEnoughData
from projects.nurd.scaling import SeenScaler
from projects.nurd.weighting import calibration, centroid_ratio


@parametrize_with_checks([NURDClassifier()])
def test_scikit_learn_contract(estimator, check):
    check(estimator)


def tasks(n=80, seed=0, share=0.5):
    """Features, latencies and running tasks of a checkpoint, and tau."""
    rng = np.random.default_rng(seed)
    slow = np.exp(rng.normal(0, 0.3, n))
    slow[: n // 10] *= 2.5
    X = np.column_stack([slow + rng.normal(0, 0.1, n), 9 - slow, rng.normal(size=(n, 2))])
    latency = 100 * slow
    done = latency <= np.quantile(latency, share)
    return X[done], latency[done], X[~done], float(np.quantile(latency, 0.9))


# -- closed forms --------------------------------------------------------------------------


def test_without_running_tasks_the_score_is_the_latency_over_tau():
    X, y, running, tau = tasks()
    model = NURDClassifier(tau).fit(X, y)
    assert model.decision_function(running) == pytest.approx(model.predict_latency(running) / tau)
    assert not hasattr(model, "rho_")


@pytest.mark.parametrize("alpha", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("calibrate", [True, False])
def test_the_score_is_that_of_the_brief(alpha, calibrate):
    """Min-max scaled features and latencies, z / weight / inflation written out anew."""
    X, y, running, tau = tasks()
    exact = LogisticRegression(tol=1e-12, max_iter=10_000)
    regressor = GradientBoostingRegressor(random_state=42)
    model = NURDClassifier(
        tau, alpha=alpha, calibrate=calibrate, regressor=regressor, propensity=exact
    ).fit(X, y, running)
    both = np.concatenate([X, running])
    low, span = both.min(axis=0), np.ptp(both, axis=0)
    F, R = (X - low) / span, (running - low) / span
    h = GradientBoostingRegressor(random_state=42).fit(F, y).predict(R)
    label = np.repeat([0, 1], [len(F), len(R)])
    z = clone(exact).fit(np.vstack([F, R]), label).predict_proba(R)[:, 0]
    gap = F.mean(axis=0) - R.mean(axis=0)
    rho = (F.mean(axis=0) ** 2).sum() / (gap**2).sum()
    delta = 1 / (1 + rho) - alpha
    w = np.maximum(0.05, np.minimum(z + delta, 1)) if calibrate else z
    expected = (y.min() + (h - y.min()) / w) / tau
    inflated = h > y.min()
    assert inflated.mean() > 0.9
    found = model.decision_function(running)
    assert found[inflated] == pytest.approx(expected[inflated], rel=1e-5)
    assert (model.rho_, model.delta_) == (pytest.approx(rho), pytest.approx(delta))
    assert np.array_equal(model.predict(running), found >= 1)
    # The default solver stops a little before the same optimum.
    model.set_params(propensity=None).fit(X, y, running)
    assert model.decision_function(running) == pytest.approx(found, rel=1e-3)


def test_floor_and_ceiling_of_the_weight():
    """A propensity of 0 has weight eps, one of 1 has weight 1."""
    X, y, running, tau = tasks()
    for label, weight in ((1, 0.25), (0, 1.0)):
        model = NURDClassifier(
            tau,
            alpha=1.0 if label else 0.0,
            eps=0.25,
            regressor=LinearRegression(),
            propensity=DummyClassifier(strategy="constant", constant=label),
        ).fit(X, y, running)
        gap = model.predict_latency(running) - y.min()
        found = model.decision_function(running)[gap > 0]
        assert found == pytest.approx(((y.min() + gap / weight) / tau)[gap > 0])


def test_score_is_f1_of_the_flags():
    X, y, running, tau = tasks()
    model = NURDClassifier(tau).fit(X, y, running)
    flags = model.predict(running)
    latency = np.where(flags, 2 * tau, tau / 2)
    assert model.score(running, latency) == 1.0
    assert model.score(running, np.full(len(running), tau / 2)) == 0.0


# -- from checkpoint to checkpoint ---------------------------------------------------------


def test_calibration_and_origin_are_those_of_the_first_checkpoint():
    X, y, running, tau = tasks()
    order = np.argsort(y)[::-1]  # the slowest finish first here
    first, rest = order[:20], order
    model = NURDClassifier(tau).partial_fit(X[first], y[first], running)
    rho, delta, origin = model.rho_, model.delta_, model.origin_
    scaler = SeenScaler().see(X[first], running)
    assert rho == centroid_ratio(scaler.transform(X[first]), scaler.transform(running))
    assert delta == calibration(rho, 0.2)
    assert origin == y[first].min()
    model.partial_fit(X[rest], y[rest], running)
    assert (model.rho_, model.delta_, model.origin_) == (rho, delta, origin)
    model.fit(X[rest], y[rest], running)
    assert model.origin_ == y.min()
    assert model.rho_ != rho


def test_partial_fit_sees_all_that_fit_would_except_what_the_first_checkpoint_fixed():
    X, y, running, tau = tasks()
    model = NURDClassifier(tau).partial_fit(X[:20], y[:20], running).partial_fit(X, y, running)
    fresh = NURDClassifier(tau).fit(X, y, running)
    assert model.predict_latency(running) == pytest.approx(fresh.predict_latency(running))


def test_refit_fraction_spares_refits():
    X, y, running, tau = tasks(200)
    model = NURDClassifier(tau, refit_fraction=0.5).partial_fit(X[:40], y[:40], running)
    first = model.regressor_
    assert model.partial_fit(X[:60], y[:60], running).regressor_ is first
    assert model.partial_fit(X[:61], y[:61], running).regressor_ is not first


def test_a_spared_refit_keeps_the_scaling_of_its_model():
    """A running task far off widens the range of the features, not the trees' idea of it."""
    X, y, running, tau = tasks(200)
    model = NURDClassifier(tau, refit_fraction=0.5).partial_fit(X[:40], y[:40], running)
    before = model.predict_latency(running)
    model.partial_fit(X[:41], y[:41], np.vstack([running, 50 * running[:1]]))
    assert model.predict_latency(running) == pytest.approx(before)


@pytest.mark.parametrize("fitted", [False, True])
def test_clone_takes_parameters_and_nothing_else(fitted):
    parameters = {"threshold": 3.0, "alpha": 0.1, "eps": 0.2, "calibrate": False, "scale": False}
    model = NURDClassifier(**parameters, refit_fraction=0.1, propensity=LogisticRegression(C=2.0))
    if fitted:
        X, y, running, _ = tasks()
        model.fit(X, y, running)
    copy = clone(model)
    assert copy.get_params() | {"propensity": None} == model.get_params() | {"propensity": None}
    assert {"propensity__C": 2.0}.items() <= copy.get_params().items()
    assert not hasattr(copy, "threshold_")


def test_a_pickled_model_goes_on():
    X, y, running, tau = tasks()
    model = NURDClassifier(tau).partial_fit(X[:20], y[:20], running)
    again = pickle.loads(pickle.dumps(model))
    for one in (model, again):
        one.partial_fit(X, y, running)
    assert np.array_equal(model.decision_function(running), again.decision_function(running))


# -- invariances ---------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.floats(0, 1), st.floats(0.1, 0.9))
def test_a_larger_alpha_never_lowers_a_score(seed, one, other, share):
    X, y, running, tau = tasks(40, seed, share)
    low, high = (
        NURDClassifier(tau, alpha=alpha).fit(X, y, running).decision_function(running)
        for alpha in sorted((one, other))
    )
    assert (high >= low).all()


def test_a_prediction_below_the_origin_is_not_inflated():
    """Dividing a negative distance by a small weight would lower it instead."""
    X, y, running, tau = tasks()
    early = np.argsort(y)[20:]
    scores = []
    for alpha in (0.0, 1.0):
        model = NURDClassifier(tau, alpha=alpha).partial_fit(X[early], y[early], running)
        model.partial_fit(X, y, running)
        below = model.predict_latency(X) < model.origin_
        assert below.any()
        scores.append(model.decision_function(X)[below])
        assert scores[-1] == pytest.approx(model.predict_latency(X)[below] / tau)
    assert np.array_equal(*scores)


def test_an_affine_change_of_the_features_changes_no_flag():
    X, y, running, tau = tasks(200, share=0.7)
    factor, shift = np.array([1000.0, 2.0, 1e-3, 5.0]), np.array([7.0, 0.0, -1.0, 1e4])
    plain = NURDClassifier(tau, alpha=0.0).fit(X, y, running)
    changed = NURDClassifier(tau, alpha=0.0).fit(X * factor + shift, y, running * factor + shift)
    found = changed.decision_function(running * factor + shift)
    assert found == pytest.approx(plain.decision_function(running), rel=1e-6)
    assert 0 < plain.predict(running).sum() < len(running)


@pytest.mark.parametrize("unit", [1 / 60, 1000.0])
def test_the_unit_of_time_changes_no_flag(unit):
    X, y, running, tau = tasks(200)
    plain = NURDClassifier(tau).fit(X, y, running).decision_function(running)
    changed = NURDClassifier(tau * unit).fit(X, y * unit, running).decision_function(running)
    assert changed == pytest.approx(plain)


def test_constant_columns_change_nothing():
    X, y, running, tau = tasks()
    model = NURDClassifier(tau, regressor=LinearRegression()).fit(X, y, running)
    plain, rho = model.decision_function(running), model.rho_
    X, running = (np.hstack([np.full((len(a), 1), 7.0), a]) for a in (X, running))
    found = model.fit(X, y, running).decision_function(running)
    assert model.rho_ == pytest.approx(rho)
    assert found == pytest.approx(plain)


def test_nc_with_certainty_flags_instead_of_dividing_by_zero():
    X, y, running, tau = tasks()
    surely_running = DummyClassifier(strategy="constant", constant=1)
    model = NURDClassifier(tau, calibrate=False, propensity=surely_running).fit(X, y, running)
    with np.errstate(over="ignore", divide="raise"):
        found = model.decision_function(running)
    assert not np.isnan(found).any()
    assert (found[model.predict_latency(running) > model.origin_] > 1).all()


# -- nothing to learn from -----------------------------------------------------------------


def test_constant_features_fall_back_to_elapsed_time():
    same = np.ones((30, 3))
    model = NURDClassifier(100.0)
    with pytest.warns(UserWarning, match=r"all features are constant.*elapsed >= threshold"):
        model.fit(same, np.arange(30.0), same[:4])
    elapsed = np.array([0.0, 99.0, 100.0, 250.0])
    assert model.decision_function(same[:4], elapsed).tolist() == [0.0, 0.99, 1.0, 2.5]
    assert model.predict(same[:4], elapsed).tolist() == [False, False, True, True]
    assert not model.predict(same[:4]).any()
    assert np.isnan(model.predict_latency(same)).all()
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.decision_function(same[:4], elapsed[:3])


def test_one_finished_task_falls_back_until_there_are_two():
    X, y, running, tau = tasks()
    model = NURDClassifier(tau)
    with pytest.warns(UserWarning, match="fewer than 2 tasks have finished"):
        model.partial_fit(X[:1], y[:1], running)
    assert not model.predict(running).any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.partial_fit(X, y, running)
    assert model.rho_ > 0
    assert model.predict_latency(running) == pytest.approx(
        NURDClassifier(tau).fit(X, y).predict_latency(running)
    )


@pytest.mark.parametrize(
    ("finished", "running", "counts"), [(0, 5, "0 finished and 5 running"), (5, 0, "5 .* and 0 ")]
)
def test_no_finished_or_no_running_task_is_not_enough_data(finished, running, counts):
    model = NURDClassifier(3.0)
    with pytest.raises(NotEnoughData, match=counts):
        model.fit(np.ones((finished, 2)), np.ones(finished), np.ones((running, 2)))


# -- bad input -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameter", "value", "message"),
    [
        *(("threshold", v, "must be a finite number above 0") for v in (0, -1, np.nan, np.inf)),
        *(("alpha", v, "allowed is 0 to 1") for v in (-0.1, 1.1, np.nan)),
        *(("eps", v, "allowed is above 0, up to 1") for v in (0, -0.1, 1.1, np.nan)),
        *(("refit_fraction", v, "must not be negative") for v in (-0.1, np.nan)),
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_bad_parameter_is_named(parameter, value, message, method):
    X, y, running, tau = tasks()
    model = NURDClassifier(tau)
    if method == "partial_fit":
        model.partial_fit(X, y, running)  # it may also turn bad between checkpoints
    model.set_params(**{parameter: value})
    with pytest.raises(ValueError, match=rf"{parameter}={value}: {message}"):
        getattr(model, method)(X, y, running)


@pytest.mark.parametrize("edge", [{"alpha": 0.0}, {"alpha": 1.0}, {"eps": 1.0}])
def test_the_edges_are_allowed(edge):
    X, y, running, tau = tasks()
    assert np.isfinite(NURDClassifier(tau, **edge).fit(X, y, running).decision_function(X)).all()


def test_negative_latency():
    X, y, running, tau = tasks()
    y[3] = -2.0
    with pytest.raises(ValueError, match=r"latencies must not be negative, got -2\.0"):
        NURDClassifier(tau).fit(X, y, running)


def test_another_number_of_features():
    X, y, running, tau = tasks()
    model = NURDClassifier(tau).fit(X, y, running)
    for call in (
        lambda: model.partial_fit(X[:, :3], y, running[:, :3]),
        lambda: model.partial_fit(X, y, running[:, :3]),
        lambda: model.predict(running[:, :3]),
    ):
        with pytest.raises(ValueError, match=r"3 features.*expecting 4 features"):
            call()


def test_other_feature_names_are_listed():
    X, y, running, tau = tasks()
    names = ["cpu", "memory", "disk", "net"]
    X, running = pd.DataFrame(X, columns=names), pd.DataFrame(running, columns=names)
    model = NURDClassifier(tau).fit(X, y, running)
    renamed = running.rename(columns={"disk": "gpu"})
    for call in (
        lambda: model.partial_fit(X.rename(columns={"disk": "gpu"}), y, renamed),
        lambda: model.partial_fit(X, y, renamed),
        lambda: model.predict(renamed),
    ):
        with pytest.raises(ValueError, match=r"(?s)unseen at fit time:\n- gpu.*missing:\n- disk"):
            call()


# -- the scaler ----------------------------------------------------------------------------


def test_range_grows_and_never_shrinks():
    scaler = SeenScaler().see(np.array([[0.0, 5.0], [10.0, 5.0]]), np.empty((0, 2)))
    assert scaler.transform(np.array([[5.0, 9.0]])).tolist() == [[0.5, 0.0]]
    scaler.see(np.array([[20.0, 6.0]]))
    assert scaler.transform(np.array([[5.0, 5.5]])).tolist() == [[0.25, 0.5]]
    scaler.see(np.array([[1.0, 5.5]]))
    assert (scaler.low.tolist(), scaler.high.tolist()) == ([0.0, 5.0], [20.0, 6.0])


def test_what_lies_outside_is_clipped_unless_told_otherwise():
    seen, far = np.array([[0.0], [2.0]]), np.array([[-9.0], [9.0]])
    assert SeenScaler().see(seen).transform(far).ravel().tolist() == [-0.5, 1.5]
    assert SeenScaler(clip=False).see(seen).transform(far).ravel().tolist() == [-4.5, 4.5]
