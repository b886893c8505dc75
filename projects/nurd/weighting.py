"""NURD's weight: propensity, calibration by centroids, and the inflated prediction.

Symbols follow the paper: ``z`` the propensity of having finished, ``rho`` the centroid ratio,
``delta`` the calibration, ``alpha`` its offset, ``eps`` the floor, ``w`` the weight.
"""

from __future__ import annotations

import numpy as np


def centroid_ratio(finished: np.ndarray, running: np.ndarray) -> float:
    """Return ``rho = ||c_F||^2 / ||c_F - c_R||^2`` (section 2, step 8).

    Parameters
    ----------
    finished, running : ndarray, shapes (n_F, d) and (n_R, d)
        Scaled features of the two sets.

    Returns
    -------
    float
        Infinite when the centroids coincide.

    Examples
    --------
    >>> centroid_ratio(np.array([[1.0, 0.0]]), np.array([[0.0, 0.0]]))
    1.0
    """
    c_f = finished.mean(axis=0)
    gap = c_f - running.mean(axis=0)
    distance = float(gap @ gap)
    return float(c_f @ c_f) / distance if distance > 0 else float("inf")


def calibration(rho: float, alpha: float) -> float:
    """Return ``delta = 1 / (1 + rho) - alpha``; far centroids need less inflation.

    Examples
    --------
    >>> calibration(float("inf"), 0.2)
    -0.2
    """
    return 1.0 / (1.0 + rho) - alpha


def check_calibration(alpha: float, eps: float) -> None:
    """Raise ValueError for an offset or a floor out of range."""
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha={alpha}: allowed is 0 to 1")
    if not 0 < eps <= 1:
        raise ValueError(f"eps={eps}: allowed is above 0, up to 1")


def weights(z: np.ndarray, delta: float, eps: float) -> np.ndarray:
    """Return ``w = max(eps, min(z + delta, 1))``, shape of ``z`` (section 2, step 9).

    Examples
    --------
    >>> weights(np.array([0.0, 0.5, 1.0]), 0.3, 0.05).tolist()
    [0.3, 0.8, 1.0]
    """
    return np.clip(z + delta, eps, 1.0)
