"""Distances between two samples of a statistic, each value with a weight."""

from __future__ import annotations

import numpy as np


def ks(
    a: np.ndarray,
    b: np.ndarray,
    weights_a: np.ndarray | None = None,
    weights_b: np.ndarray | None = None,
) -> float:
    """Kolmogorov-Smirnov statistic: the largest gap between two distribution functions.

    Parameters
    ----------
    a, b : ndarray, shape (n,) and (m,)
        Values.
    weights_a, weights_b : ndarray, optional
        How often each value occurs; once by default.

    Examples
    --------
    >>> ks(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
    0.5
    """
    points = np.unique(np.concatenate([a, b]))
    gap = _distribution(a, weights_a, points) - _distribution(b, weights_b, points)
    return float(np.abs(gap).max())


def _distribution(values: np.ndarray, weights: np.ndarray | None, points: np.ndarray) -> np.ndarray:
    weights = np.ones(len(values)) if weights is None else weights
    order = np.argsort(values, kind="stable")
    below = np.concatenate([[0.0], np.cumsum(weights[order])])
    return below[np.searchsorted(values[order], points, side="right")] / below[-1]


def mean_gap(
    a: np.ndarray,
    b: np.ndarray,
    weights_a: np.ndarray | None = None,
    weights_b: np.ndarray | None = None,
) -> float:
    """Maximum mean discrepancy under the linear kernel: the squared difference of the means.

    Rows are observations; several columns are summed.
    """
    means = (np.average(x, axis=0, weights=w) for x, w in ((a, weights_a), (b, weights_b)))
    first, second = means
    return float(np.sum((first - second) ** 2))


def binned(a: np.ndarray, b: np.ndarray, bins: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of two samples in bins over their joint range.

    The bins are equal in the logarithm where values are not negative and span more than four
    orders of magnitude.
    """
    both = np.concatenate([a, b])
    low, high = both.min(), both.max()
    positive = both[both > 0]
    if low >= 0 and len(positive) and np.log10(high / positive.min()) > 4:
        edges = np.geomspace(positive.min(), high, bins + 1)
        edges[0] = min(low, edges[0])
    else:
        edges = np.linspace(low, high, bins + 1) if high > low else np.array([low, low + 1.0])
    counts = (np.histogram(values, edges)[0] for values in (a, b))
    first, second = counts
    return first / max(first.sum(), 1), second / max(second.sum(), 1)


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    """Jensen-Shannon distance: the root of the divergence, in nats.

    Examples
    --------
    >>> round(jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0])), 4)
    0.8326
    """
    middle = (p + q) / 2
    return float(np.sqrt(max(0.0, (_kl(p, middle) + _kl(q, middle)) / 2)))


def kullback_leibler(p: np.ndarray, q: np.ndarray, floor: float = 1e-6) -> float:
    """Kullback-Leibler divergence in nats, after adding ``floor`` to every bin of both."""
    p, q = p + floor, q + floor
    return _kl(p / p.sum(), q / q.sum())


def _kl(p: np.ndarray, q: np.ndarray) -> float:
    used = p > 0
    return float(np.sum(p[used] * np.log(p[used] / q[used])))
