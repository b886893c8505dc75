"""Tobit against least squares, R's survreg, and a general-purpose optimiser."""

import numpy as np
import pytest
from scipy import optimize, stats

from projects.nurd.tobit import Grabit, Tobit, grabit_objective, log_likelihood

# Tobin (1958), as in R's survival package: durable goods purchase, age, liquidity ratio x 1000.
TOBIN = np.array(
    [
        *[(0, 57.7, 236), (0.7, 50.9, 283), (0, 48.5, 207), (0, 41.7, 220), (0, 47.7, 238)],
        *[(0, 59.8, 216), (0, 44.3, 284), (3.7, 45.1, 221), (0, 51.7, 275), (3.0, 50, 269)],
        *[(10.4, 46.8, 207), (0, 58, 249), (0, 58.9, 246), (0, 40, 277), (1.5, 34.1, 231)],
        *[(0, 39.9, 219), (0, 33.4, 240), (3.5, 48.1, 266), (6.1, 46.6, 214), (0, 53.1, 251)],
    ]
)


@pytest.fixture
def censored_data():
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(150, 3))
    latent = 100 + X @ [50.0, -20.0, 0.0] + rng.normal(0, 10, 150)
    limit = rng.uniform(90, 140, 150)
    return X, np.minimum(latent, limit), latent > limit


def nll(parameters, X, y, censored):
    """Negative log-likelihood in the plain parameters, by scipy's own distributions."""
    mean = parameters[0] + X @ parameters[1:-1]
    error = stats.norm(mean, np.exp(parameters[-1]))
    return -(error.logpdf(y)[~censored].sum() + error.logsf(y)[censored].sum())


def test_without_censoring_it_is_least_squares(censored_data):
    X, y, _ = censored_data
    model = Tobit().fit(X, y, np.zeros(len(y), dtype=bool))
    design = np.column_stack([np.ones(len(X)), X])
    beta, residual, *_ = np.linalg.lstsq(design, y, rcond=None)
    np.testing.assert_allclose(np.append(model.intercept_, model.coef_), beta, rtol=1e-6)
    assert model.sigma_ == pytest.approx(np.sqrt(residual[0] / len(y)), rel=1e-6)


@pytest.mark.parametrize(
    ("columns", "coefficients", "log_sigma", "aic"),
    [((), [-2.227], 1.783, 62.984), ((1, 2), [15.145, -0.129, -0.046], 1.718, 65.880)],
)
def test_tobins_data_as_r_fits_them(columns, coefficients, log_sigma, aic):
    # Left-censored at zero is right-censored with the sign turned.
    X = TOBIN[:, list(columns)]
    model = Tobit().fit(X, -TOBIN[:, 0], TOBIN[:, 0] == 0)
    ours = -np.append(model.intercept_, model.coef_)
    np.testing.assert_allclose(ours, coefficients, atol=6e-4)
    assert np.log(model.sigma_) == pytest.approx(log_sigma, abs=6e-4)
    assert 2 * (len(columns) + 2) - 2 * model.log_likelihood_ == pytest.approx(aic, abs=2e-3)


def test_a_general_optimiser_finds_no_better_fit(censored_data):
    X, y, censored = censored_data
    model = Tobit().fit(X, y, censored)
    ours = np.concatenate([[model.intercept_], model.coef_, [np.log(model.sigma_)]])
    best = optimize.minimize(
        nll, ours + 0.1, (X, y, censored), method="Nelder-Mead", options={"maxiter": 4000}
    )
    assert nll(ours, X, y, censored) <= best.fun + 1e-9
    assert model.log_likelihood_ == pytest.approx(-nll(ours, X, y, censored), rel=1e-9)
    # 150 tasks with noise of 10 pin a slope down to about 3.
    np.testing.assert_allclose(model.coef_, [50, -20, 0], atol=12)


def test_gradient_and_hessian(censored_data):
    X, y, censored = censored_data
    y = y / 50
    theta = np.array([0.3, -0.2, 0.4, 1.3])
    _, gradient, hessian = log_likelihood(theta, X, y, censored)
    slope = optimize.approx_fprime(theta, lambda t: log_likelihood(t, X, y, censored)[0], 1e-7)
    bend = optimize.approx_fprime(theta, lambda t: log_likelihood(t, X, y, censored)[1], 1e-7)
    np.testing.assert_allclose(gradient, slope, rtol=1e-4)
    np.testing.assert_allclose(hessian, bend, rtol=1e-4, atol=1e-3)
    assert (np.linalg.eigvalsh(hessian) < 0).all()


def test_units_do_not_matter(censored_data):
    X, y, censored = censored_data
    plain = Tobit().fit(X, y, censored).predict(X)
    moved = Tobit().fit(1e3 * X + 7, 60 * y - 5, censored).predict(1e3 * X + 7)
    np.testing.assert_allclose(moved, 60 * plain - 5, rtol=1e-6)


def test_extreme_censoring_stays_finite():
    X = np.linspace(0, 1, 40)[:, None]
    y = np.where(np.arange(40) < 5, 1.0 + 0.1 * np.arange(40), 1e6)
    assert np.isfinite(Tobit().fit(X, y, np.arange(40) >= 5).predict(X)).all()


def test_too_few_latencies():
    X = np.random.default_rng(0).normal(size=(10, 3))
    with pytest.raises(ValueError, match="needs more than 4 latencies, got 4"):
        Tobit().fit(X, np.arange(10.0), np.arange(10) >= 4)
    with pytest.raises(ValueError, match="latencies that differ"):
        Tobit().fit(X, np.ones(10), np.zeros(10, dtype=bool))


def test_grabit_objective_is_the_censored_likelihood():
    rng = np.random.default_rng(1)
    y, f, censored = rng.normal(size=30), rng.normal(0, 2, size=30), np.arange(30) % 2 == 0

    def loss(f):
        return np.where(censored, -stats.norm.logsf(y, loc=f), -stats.norm.logpdf(y, loc=f))

    gradient, hessian = grabit_objective(y, censored)(f, None)
    h = 1e-4
    np.testing.assert_allclose(gradient, (loss(f + h) - loss(f - h)) / (2 * h), atol=1e-6)
    np.testing.assert_allclose(hessian, (loss(f + h) - 2 * loss(f) + loss(f - h)) / h**2, atol=1e-5)


def test_grabit_without_censoring_is_gradient_boosting(censored_data):
    pytest.importorskip("xgboost")
    from sklearn.ensemble import GradientBoostingRegressor

    X, y, _ = censored_data
    ours = Grabit().fit(X, y, np.zeros(len(y), dtype=bool)).predict(X)
    theirs = GradientBoostingRegressor(random_state=0).fit(X, y).predict(X)
    assert np.abs(ours - theirs).max() < 0.02 * y.std()


def test_grabit_predicts_beyond_the_censoring_time():
    pytest.importorskip("xgboost")
    rng = np.random.default_rng(2)
    X = rng.uniform(size=(300, 2))
    latent = 100 * X[:, 0] + rng.normal(0, 5, 300)
    y, censored = np.minimum(latent, 60), latent > 60
    slow = X[:, 0] > 0.8
    naive = Grabit().fit(X, y, np.zeros(300, dtype=bool)).predict(X[slow])
    aware = Grabit().fit(X, y, censored).predict(X[slow])
    assert naive.max() < 65
    assert aware.mean() > 65
