"""NURD as an estimator: latency model, propensity and calibrated weight in one object."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LogisticRegression
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from projects.nurd.boosting import BoostedTrees
from projects.nurd.job import NotEnoughData
from projects.nurd.scaling import SeenScaler
from projects.nurd.thresholds import check_threshold
from projects.nurd.weighting import calibration, centroid_ratio, check_calibration, weights


class NURDClassifier(BaseEstimator):
    """Predict which running tasks will be stragglers, from finished tasks alone.

    A latency model fitted on finished tasks is biased low for running ones. Its predictions are
    divided by a weight in [eps, 1]: the propensity of having finished by now, shifted by a
    calibration that depends on how far the running tasks lie from the finished ones.

    Parameters
    ----------
    threshold : float, optional
        Straggler threshold tau in the unit of ``y`` (seconds). By default the 90th percentile
        of the latencies at the first fit, which is too low while few tasks have finished;
        :mod:`projects.nurd.thresholds` offers better estimates.
    alpha : float in [0, 1]
        Offset of the calibration; larger flags more.
    eps : float in (0, 1]
        Floor of the weight.
    calibrate : bool
        False gives NURD-NC: the weight is the bare propensity.
    regressor : estimator, optional
        Latency model h; by default :class:`~projects.nurd.boosting.BoostedTrees`.
    propensity : estimator, optional
        Classifier of finished against running; by default logistic regression with C = 1.
    scale : bool
        Min-max scale features by what has been seen so far. Switch off for scaled features.
    refit_fraction : float
        ``partial_fit`` refits the latency model only once more than this share of new tasks has
        finished.

    Attributes
    ----------
    threshold_ : float
        The threshold in use.
    rho_, delta_ : float
        Centroid ratio and calibration, fixed at the first fit that has running tasks.
    origin_ : float
        The smallest latency seen at the first fit. Latencies are counted from it before they are
        divided by the weight, as min-max scaling of the latencies does.
    n_features_in_ : int
        Number of features d.

    Notes
    -----
    The target is a latency, so this is no ``ClassifierMixin``: labels would throw away what the
    method lives on. ``predict`` answers with booleans, ``decision_function`` with the adjusted
    latency over the threshold (flagged at 1 and above).

    References
    ----------
    Y. Ding et al., NURD: Negative-Unlabeled Learning for Online Datacenter Straggler Prediction,
    MLSys 2022, sections 4 and 5.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> load = rng.uniform(1, 2, 200)
    >>> load[-20:] += 3                         # twenty slow tasks ...
    >>> latency = 60 * load
    >>> X = np.column_stack([load + rng.normal(0, 0.1, 200), rng.normal(size=200)])
    >>> done = latency < 90                     # ... are still running after 90 s
    >>> nurd = NURDClassifier(threshold=150).fit(X[done], latency[done], X[~done])
    >>> bool(nurd.predict(X[-20:]).mean() > 0.9)
    True
    """

    def __init__(
        self,
        threshold: float | None = None,
        alpha: float = 0.2,
        eps: float = 0.05,
        calibrate: bool = True,
        regressor: Any = None,
        propensity: Any = None,
        scale: bool = True,
        refit_fraction: float = 0.0,
    ) -> None:
        self.threshold = threshold
        self.alpha = alpha
        self.eps = eps
        self.calibrate = calibrate
        self.regressor = regressor
        self.propensity = propensity
        self.scale = scale
        self.refit_fraction = refit_fraction

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that latencies are required."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags

    def fit(self, X: Any, y: Any, X_running: Any = None) -> NURDClassifier:
        """Start anew: fit on the finished tasks of one checkpoint.

        Parameters
        ----------
        X : array of shape (n_F, d)
            Features of the finished tasks.
        y : array of shape (n_F,)
            Their latencies, in the unit of ``threshold``.
        X_running : array of shape (n_R, d), optional
            Features of the running tasks. Without it all weights are 1.

        Raises
        ------
        ValueError
            For parameters out of range, negative latencies, or other features than before.
        NotEnoughData
            If no task has finished, or ``X_running`` is given and holds none.
        """
        for name in ("scaler_", "rho_", "delta_", "origin_", "threshold_", "regressor_"):
            self.__dict__.pop(name, None)
        self._fitted_on = 0
        return self._update(X, y, X_running, reset=True)

    def partial_fit(self, X: Any, y: Any, X_running: Any = None) -> NURDClassifier:
        """Go on to the next checkpoint with all tasks that have finished by now.

        The calibration and the origin of the first checkpoint stay; propensity and, if enough
        new tasks have finished, the latency model are refitted. Parameters as in :meth:`fit`.
        """
        if not hasattr(self, "threshold_"):
            return self.fit(X, y, X_running)
        return self._update(X, y, X_running, reset=False)

    def predict(self, X: Any, elapsed: Any = None) -> np.ndarray:
        """Return True for every task that is predicted to reach the threshold, shape (n,)."""
        return self.decision_function(X, elapsed) >= 1.0

    def decision_function(self, X: Any, elapsed: Any = None) -> np.ndarray:
        """Return the adjusted latency over the threshold; 1 and above is flagged.

        Parameters
        ----------
        X : array of shape (n, d)
            Features of running tasks.
        elapsed : array of shape (n,), optional
            How long they have run. Used only where no model could be fitted (all features
            constant, or fewer than two finished tasks): the rule is then "longer than tau".

        Returns
        -------
        ndarray, shape (n,)
        """
        check_is_fitted(self, "threshold_")
        X = validate_data(self, X, dtype=np.float64, reset=False)
        if self.regressor_ is None:
            elapsed = np.zeros(len(X)) if elapsed is None else np.asarray(elapsed, dtype=float)
            check_consistent_length(X, elapsed)
            return elapsed / self.threshold_
        rows = self.scaler_.transform(X) if self.scale else X
        gap = self._latency(X) - self.origin_
        # Below the origin there is nothing to inflate, and dividing would turn alpha upside down.
        inflated = np.divide(gap, self._weights(rows), out=gap.copy(), where=gap > 0)
        return (self.origin_ + inflated) / self.threshold_

    def predict_latency(self, X: Any) -> np.ndarray:
        """Return the unadjusted prediction h(x) of the latency model, shape (n,)."""
        check_is_fitted(self, "threshold_")
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return self._latency(X)

    def score(self, X: Any, y: Any) -> float:
        """Return the F1 of the flags against ``y >= threshold``, for latencies ``y``."""
        from sklearn.metrics import f1_score

        return float(f1_score(np.asarray(y) >= self.threshold_, self.predict(X), zero_division=0.0))

    # -- one checkpoint --------------------------------------------------------------------

    def _update(self, X: Any, y: Any, X_running: Any, *, reset: bool) -> NURDClassifier:
        self._check_parameters()
        options = {"dtype": np.float64, "ensure_min_samples": 0}
        X, y = validate_data(self, X, y, y_numeric=True, reset=reset, **options)
        running = np.empty((0, X.shape[1]))
        if X_running is not None:
            running = validate_data(self, X_running, reset=False, **options)
        if not len(X) or (X_running is not None and not len(running)):
            raise NotEnoughData(
                f"need finished and running tasks, got {len(X)} finished and {len(running)} running"
            )
        y = y.astype(np.float64)
        if (y < 0).any():
            raise ValueError(f"latencies must not be negative, got {y.min()}")
        if reset:
            self.scaler_ = SeenScaler()
            self.origin_ = float(y.min())
            self.threshold_ = float(np.quantile(y, 0.9))
        if self.threshold is not None:
            self.threshold_ = float(self.threshold)
        if self.scale:
            self.scaler_.see(X, running)
            X, running = self.scaler_.transform(X), self.scaler_.transform(running)
        self._fit_models(X, y, running)
        return self

    def _fit_models(self, X: np.ndarray, y: np.ndarray, running: np.ndarray) -> None:
        seen = np.concatenate([X, running])
        constant = not (seen.max(axis=0) > seen.min(axis=0)).any()
        if len(X) < 2 or constant:
            reason = "all features are constant" if constant else "fewer than 2 tasks have finished"
            warnings.warn(
                f"NURD cannot predict ({reason}); it falls back to elapsed >= threshold",
                stacklevel=4,
            )
            self.regressor_ = self.propensity_ = None
            return
        if len(running) and not hasattr(self, "rho_"):
            self.rho_ = centroid_ratio(X, running)
            self.delta_ = calibration(self.rho_, self.alpha)
        if len(y) > self._fitted_on * (1 + self.refit_fraction) or self.regressor_ is None:
            model = BoostedTrees() if self.regressor is None else clone(self.regressor)
            self.regressor_ = model.fit(X, y)
            self._fitted_on = len(y)
            # The range may grow before the next refit; the model goes on with the one it knows.
            self.regressor_scaler_ = copy.copy(self.scaler_)
        self.propensity_ = self._fit_propensity(X, running) if len(running) else None

    def _fit_propensity(self, finished: np.ndarray, running: np.ndarray) -> Any:
        # Newton's method solves the same convex problem as the default solver in fewer steps.
        model = LogisticRegression(solver="newton-cholesky", max_iter=200)
        model = model if self.propensity is None else clone(self.propensity)
        is_running = np.repeat([0, 1], [len(finished), len(running)])
        return model.fit(np.concatenate([finished, running]), is_running)

    def _latency(self, X: np.ndarray) -> np.ndarray:
        if self.regressor_ is None:
            return np.full(len(X), np.nan)
        return self.regressor_.predict(self.regressor_scaler_.transform(X) if self.scale else X)

    def _weights(self, rows: np.ndarray) -> np.ndarray:
        if self.propensity_ is None:
            return np.ones(len(rows))
        z = self.propensity_.predict_proba(rows)[:, 0]
        if self.calibrate:
            return weights(z, self.delta_, self.eps)
        # NURD-NC has no floor; a propensity that underflows to zero means "certainly running".
        return np.maximum(z, np.finfo(float).tiny)

    def _check_parameters(self) -> None:
        if self.threshold is not None:
            check_threshold(self.threshold)
        check_calibration(self.alpha, self.eps)
        if not self.refit_fraction >= 0:
            raise ValueError(f"refit_fraction={self.refit_fraction}: must not be negative")
