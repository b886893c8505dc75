"""The kernel part as a scikit-learn transformer."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from common.errors import known

_KERNELS = ("linear", "rbf", "laplace")


class KernelMap(TransformerMixin, BaseEstimator):
    """Random features whose inner products approximate a kernel.

    Parameters
    ----------
    n_components : int
        D.
    kernel : {"rbf", "laplace", "linear"}
        As in :func:`projects.srf.kernels.feature_map`.
    bandwidth : float
        Of the shift-invariant kernels. With ``rbf`` and bandwidth b it is scikit-learn's
        ``RBFSampler(gamma=1 / (2 b^2))``.
    random_state : int, RandomState or None
        Of the weights.

    Examples
    --------
    >>> KernelMap(n_components=8, random_state=0).fit_transform(np.eye(3)).shape
    (3, 8)
    """

    def __init__(
        self,
        n_components: int = 64,
        kernel: str = "rbf",
        bandwidth: float = 1.0,
        random_state: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.kernel = kernel
        self.bandwidth = bandwidth
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: object = None) -> KernelMap:
        """Draw the weights for the width of ``X``, shape (n, F)."""
        X = validate_data(self, X)
        known(self.kernel, _KERNELS, "kernel")
        if self.n_components < 1 or not self.bandwidth > 0:
            raise ValueError(
                f"n_components={self.n_components}, bandwidth={self.bandwidth}: both are positive"
            )
        random = check_random_state(self.random_state)
        shape = (X.shape[1], self.n_components)
        draw = random.standard_cauchy if self.kernel == "laplace" else random.standard_normal
        self.weights_ = draw(shape)
        self.phases_ = random.uniform(0, 2 * np.pi, self.n_components)
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return the features, shape (n, D)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        if self.kernel == "linear":
            return X @ self.weights_ / np.sqrt(self.n_components)
        angle = X @ self.weights_ / self.bandwidth + self.phases_
        return np.sqrt(2 / self.n_components) * np.cos(angle)
