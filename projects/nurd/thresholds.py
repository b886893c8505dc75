"""Straggler thresholds for production, where nobody knows the job's 90th percentile beforehand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def check_threshold(threshold: float) -> None:
    """Raise ValueError for a threshold that no latency can be held against."""
    if not (np.isfinite(threshold) and threshold > 0):
        raise ValueError(f"threshold={threshold}: must be a finite number above 0")


def historical_quantile(latencies: Sequence[float] | np.ndarray, quantile: float = 0.9) -> float:
    """Quantile of the latencies of earlier runs of the same job [s].

    Examples
    --------
    >>> historical_quantile([10.0, 20.0, 30.0], 0.5)
    20.0
    """
    latencies = np.asarray(latencies, dtype=float)
    bad = int((~np.isfinite(latencies)).sum())
    if not len(latencies) or bad:
        raise ValueError(
            f"need finite latencies of earlier runs, got {len(latencies)}, {bad} of them not finite"
        )
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
        Which quantile, above 0 and below 1.

    Returns
    -------
    float
        The first latency at which the survival estimate falls to ``1 - quantile``; infinite while
        too few tasks have finished to know. While all tasks have started together it stays infinite
        until all but ``1 - quantile`` have finished, for the running ones have outlived those.

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
    if not 0 < quantile < 1:
        raise ValueError(f"quantile={quantile}: allowed is above 0 and below 1")
    times, deaths = np.unique(np.asarray(finished, dtype=float), return_counts=True)
    everyone = np.sort(np.concatenate([finished, running]))
    at_risk = len(everyone) - np.searchsorted(everyone, times, side="left")
    survival = np.cumprod(1.0 - deaths / at_risk)
    reached = np.flatnonzero(survival <= 1.0 - quantile + 1e-12)
    return float(times[reached[0]]) if len(reached) else float("inf")
