"""Regression on latencies of which some are only known to exceed the time run so far.

Tobit is linear with Gaussian errors, Grabit boosts trees on the same likelihood. A task that is
still running is right-censored at its elapsed time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import log_ndtr

from common.errors import require

MAX_STEPS = 100
TOLERANCE = 1e-10


def log_likelihood(
    theta: np.ndarray, X: np.ndarray, y: np.ndarray, censored: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Log-likelihood of the right-censored linear model, its gradient and Hessian.

    In Olsen's parameters ``theta = (beta / sigma, 1 / sigma)`` it is concave. With ``z = (x, -y)``
    and ``u = z' theta`` a seen latency adds ``log(1 / sigma) - (u^2 + log 2 pi) / 2`` and a
    censored one ``log Phi(u)``.

    Parameters
    ----------
    theta : ndarray, shape (d + 1,)
        Coefficients over sigma, then one over sigma.
    X : ndarray, shape (n, d)
        Regressors; a column of ones gives an intercept.
    y : ndarray, shape (n,)
        Latency, or the censoring time.
    censored : ndarray of bool, shape (n,)
        Which rows are censored.

    References
    ----------
    R. Olsen, Note on the uniqueness of the maximum likelihood estimator for the Tobit model,
    Econometrica 46(5), 1978.
    """
    z = np.column_stack([X, -y])
    u = z @ theta
    log_mills = -0.5 * (u**2 + np.log(2 * np.pi)) - log_ndtr(u)
    mills = np.where(censored, np.exp(np.minimum(log_mills, 700.0)), 0.0)
    seen, scale = int((~censored).sum()), theta[-1]
    value = (
        seen * np.log(scale)
        - 0.5 * (u[~censored] ** 2 + np.log(2 * np.pi)).sum()
        + log_ndtr(u[censored]).sum()
    )
    gradient = z.T @ np.where(censored, mills, -u)
    gradient[-1] += seen / scale
    curvature = np.where(censored, mills * (mills + u), 1.0)
    hessian = -(z.T * curvature) @ z
    hessian[-1, -1] -= seen / scale**2
    return float(value), gradient, hessian


class Tobit:
    """Linear model of right-censored latencies, fitted by maximum likelihood.

    Attributes
    ----------
    intercept_ : float
        In the unit of the latencies.
    coef_ : ndarray, shape (d,)
        In the unit of the latencies per unit of the features.
    sigma_ : float
        Standard deviation of the errors.
    log_likelihood_ : float
        At the maximum.

    References
    ----------
    J. Tobin, Estimation of relationships for limited dependent variables, Econometrica 26(1),
    1958.

    Examples
    --------
    >>> X = np.arange(6.0)[:, None]
    >>> y = np.array([1.0, 2.1, 2.9, 4.0, 4.0, 4.0])
    >>> model = Tobit().fit(X, y, censored=np.array([0, 0, 0, 0, 1, 1], dtype=bool))
    >>> model.predict([[5.0]]).round(1).tolist()
    [5.9]
    """

    def fit(self, X: np.ndarray, y: np.ndarray, censored: np.ndarray) -> Tobit:
        """Fit to ``X`` (n, d), latencies or elapsed times ``y`` (n,) and the mask ``censored``.

        Raises
        ------
        ValueError
            When the maximum does not exist: no more uncensored rows than parameters, or an
            exact fit.
        """
        X, y = np.asarray(X, dtype=float), np.asarray(y, dtype=float)
        censored = np.asarray(censored, dtype=bool)
        seen = int((~censored).sum())
        if seen <= X.shape[1] + 1:
            raise ValueError(f"Tobit needs more than {X.shape[1] + 1} latencies, got {seen}")
        center, spread = X.mean(axis=0), X.std(axis=0)
        spread[spread == 0] = 1.0
        shift, unit = y[~censored].mean(), y[~censored].std()
        if unit == 0:
            raise ValueError("Tobit needs latencies that differ")
        design = np.column_stack([np.ones(len(X)), (X - center) / spread])
        theta, value = _maximise(design, (y - shift) / unit, censored)
        self.sigma_ = float(unit / theta[-1])
        slopes = theta[:-1] * self.sigma_
        self.coef_ = slopes[1:] / spread
        self.intercept_ = float(shift + slopes[0] - self.coef_ @ center)
        self.log_likelihood_ = value - seen * float(np.log(unit))
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the expected uncensored latency, shape (n,)."""
        return self.intercept_ + np.asarray(X, dtype=float) @ self.coef_


def _maximise(X: np.ndarray, y: np.ndarray, censored: np.ndarray) -> tuple[np.ndarray, float]:
    """Newton's method with halved steps; the likelihood is concave, so any start will do."""
    beta, *_ = np.linalg.lstsq(X, y, rcond=None)
    scale = 1.0 / max(float(np.std(y - X @ beta)), 1e-3)
    theta = np.append(beta * scale, scale)
    # Collinear columns leave the Hessian singular; this much changes no digit that matters.
    ridge = 1e-9 * len(X) * np.eye(len(theta))
    value, gradient, hessian = log_likelihood(theta, X, y, censored)
    for _ in range(MAX_STEPS):
        step = np.linalg.solve(ridge - hessian, gradient)
        gain = float(gradient @ step)
        if gain < TOLERANCE:
            return theta, value
        length = 1.0
        while True:
            candidate = theta + length * step
            if candidate[-1] > 0:
                ahead = log_likelihood(candidate, X, y, censored)
                if ahead[0] >= value + 1e-4 * length * gain:
                    break
            length /= 2
            if length < 1e-12:
                return theta, value
        theta, (value, gradient, hessian) = candidate, ahead
    raise ValueError(f"Tobit did not converge in {MAX_STEPS} steps")


# -- boosted -------------------------------------------------------------------------------


def grabit_objective(
    y: np.ndarray, censored: np.ndarray
) -> Callable[[np.ndarray, Any], tuple[np.ndarray, np.ndarray]]:
    """Gradient and Hessian of the negative log-likelihood in the prediction, for XGBoost.

    Latencies and predictions are in units of sigma. A seen latency gives ``(f - y, 1)``, a
    censored one ``(-m, m (m + f - y))`` with the Mills ratio ``m = phi / Phi`` at ``f - y``.
    """

    def objective(prediction: np.ndarray, _data: Any) -> tuple[np.ndarray, np.ndarray]:
        u = prediction.astype(float) - y
        log_mills = -0.5 * (u**2 + np.log(2 * np.pi)) - log_ndtr(u)
        mills = np.exp(np.minimum(log_mills, 700.0))
        gradient = np.where(censored, -mills, u)
        return gradient, np.where(censored, np.maximum(mills * (mills + u), 1e-6), 1.0)

    return objective


class Grabit:
    """Gradient-boosted Tobit: trees on the censored Gaussian likelihood.

    XGBoost with a custom objective stands in for the KTBoost of the authors: 100 trees of depth 3
    and learning rate 0.1, sigma from a linear fit, no left-censoring at zero.

    References
    ----------
    F. Sigrist and C. Hirnschall, Grabit: gradient tree-boosted Tobit models for default
    prediction, Journal of Banking and Finance 102, 2019.
    """

    def __init__(self, n_estimators: int = 100, learning_rate: float = 0.1, max_depth: int = 3):
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.max_depth = max_depth

    def fit(self, X: np.ndarray, y: np.ndarray, censored: np.ndarray) -> Grabit:
        """Fit to ``X`` (n, d), latencies or elapsed times ``y`` (n,) and the mask ``censored``."""
        xgboost = require("xgboost", extra="nurd")
        X, y = np.asarray(X, dtype=float), np.asarray(y, dtype=float)
        censored = np.asarray(censored, dtype=bool)
        design = np.column_stack([np.ones(len(X)), X])
        beta, *_ = np.linalg.lstsq(design, y, rcond=None)
        self.sigma_ = float(np.std(y - design @ beta))
        if not self.sigma_ > 1e-9 * np.abs(y).max():
            raise ValueError("Grabit needs latencies that a linear fit leaves some error of")
        self.base_ = float(y.mean())
        self.booster_ = xgboost.train(
            {
                "max_depth": self.max_depth,
                "eta": self.learning_rate,
                "lambda": 0.0,
                "tree_method": "exact",
                "base_score": 0.0,
                "nthread": 1,
                "verbosity": 0,
            },
            xgboost.DMatrix(X),
            num_boost_round=self.n_estimators,
            obj=grabit_objective((y - self.base_) / self.sigma_, censored),
        )
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the expected uncensored latency, shape (n,)."""
        xgboost = require("xgboost", extra="nurd")
        rows = xgboost.DMatrix(np.asarray(X, dtype=float))
        return self.base_ + self.sigma_ * self.booster_.predict(rows).astype(float)
