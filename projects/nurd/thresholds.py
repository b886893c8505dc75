"""Straggler thresholds for production, where nobody knows the job's 90th percentile beforehand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def historical_quantile(latencies: Sequence[float] | np.ndarray, quantile: float = 0.9) -> float:
    """Quantile of the latencies of earlier runs of the same job [s].

    Examples
    --------
    >>> historical_quantile([10.0, 20.0, 30.0], 0.5)
    20.0
    """
    latencies = np.asarray(latencies, dtype=float)
    if not len(latencies) or not np.isfinite(latencies).all():
        raise ValueError(f"need finite latencies of earlier runs, got {len(latencies)} values")
    return float(np.quantile(latencies, quantile))


def kaplan_meier_quantile(
    finished: np.ndarray, running: np.ndarray, quantile: float = 0.9
) -> float:
    """Quantile of a job's latencies, from finished tasks and the censored running ones.

    Parameters
    ----------
    finished : ndarray, shape (n_F,)
        Latencies of finished tasks [s].
    running : ndarray, shape (n_R,)
        How long the running tasks have run [s]: their latency is longer than that.
    quantile : float
        Which quantile.

    Returns
    -------
    float
        The first latency at which the survival estimate falls to ``1 - quantile``; infinite while
        too few tasks have finished to know.

    References
    ----------
    E. Kaplan and P. Meier, Nonparametric estimation from incomplete observations, 1958.

    Examples
    --------
    >>> kaplan_meier_quantile(np.array([1.0, 2.0, 3.0, 4.0]), np.array([]), 0.5)
    2.0
    >>> kaplan_meier_quantile(np.array([1.0, 2.0]), np.array([2.5, 2.5]), 0.9)
    inf
    """
    times, deaths = np.unique(np.asarray(finished, dtype=float), return_counts=True)
    everyone = np.sort(np.concatenate([finished, running]))
    at_risk = len(everyone) - np.searchsorted(everyone, times, side="left")
    survival = np.cumprod(1.0 - deaths / at_risk)
    reached = np.flatnonzero(survival <= 1.0 - quantile + 1e-12)
    return float(times[reached[0]]) if len(reached) else float("inf")
