"""What the codec rests on: how caches vary along tokens, and how their symbols are distributed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np


def variance_ratio(x: np.ndarray, distance: int) -> float:
    """Variance of values over the mean square of their differences to earlier tokens.

    Parameters
    ----------
    x : ndarray, shape (tokens, channels)
        One layer's keys or values.
    distance : int
        Tokens between the two sides of a difference.

    Returns
    -------
    float
        Both sides summed over channels: ``1 / (2 (1 - rho))`` for a stationary process whose
        correlation at the distance is ``rho``.

    Examples
    --------
    >>> white = np.random.default_rng(0).normal(size=(10000, 4))
    >>> round(variance_ratio(white, 3), 1)
    0.5
    """
    if not 1 <= distance < len(x):
        raise ValueError(f"distance={distance} of {len(x)} tokens; allowed: 1 to {len(x) - 1}")
    differences = x[distance:] - x[:-distance]
    return float(x.var(axis=0).sum() / (differences**2).mean(axis=0).sum())


def anchor_ratio(x: np.ndarray, group: int = 10) -> float:
    """Return the same for differences to the first token of each group of ``group`` tokens.

    Examples
    --------
    >>> anchor_ratio(np.array([[0.0], [1], [0], [1]]), group=2)
    0.25
    """
    place = np.arange(len(x))
    differences = (x - x[place // group * group])[place % group > 0]
    return float(x.var(axis=0).sum() / (differences**2).mean(axis=0).sum())


def token_symbols(planes: np.ndarray, bins: int = 32) -> np.ndarray:
    """Quantise as the released code does: per token and layer, by its largest value.

    Parameters
    ----------
    planes : ndarray, shape (planes, tokens, channels)
        K and V of every layer.
    bins : int
        ``bins - 1`` symbols from ``-(bins // 2 - 1)`` on.

    Returns
    -------
    ndarray of int16, shape (planes, tokens, channels)
    """
    most = bins // 2 - 1
    scale = np.maximum(np.abs(planes).max(axis=2, keepdims=True), 1e-12)
    return np.rint(planes * most / scale).astype(np.int16)


def entropy(symbols: np.ndarray) -> float:
    """Entropy of symbols [bits], with Miller and Madow's correction for few of them.

    Examples
    --------
    >>> round(entropy(np.arange(4).repeat(100000)), 3)
    2.0
    """
    counts = np.unique(symbols, return_counts=True)[1]
    share = counts / counts.sum()
    correction = (len(counts) - 1) / (2 * counts.sum() * np.log(2))
    return float(-(share * np.log2(share)).sum() + correction)


GROUPINGS: dict[str, Callable[[np.ndarray], Iterable[np.ndarray]]] = {
    "none": lambda q: [q],
    "token": lambda q: q.swapaxes(0, 1),
    "layer": lambda q: q,
    "channel": lambda q: q.swapaxes(0, 2),
    "layer and channel": lambda q: q.swapaxes(1, 2).reshape(-1, q.shape[1]),
}
"""Ways to put symbols [planes, tokens, channels] into groups with a distribution of their own."""


def grouped_entropy(symbols: np.ndarray, grouping: str) -> float:
    """Mean entropy within groups [bits per symbol]; all groups of a grouping are equally large.

    Parameters
    ----------
    symbols : ndarray of int, shape (planes, tokens, channels)
        From :func:`token_symbols`.
    grouping : str
        A key of :data:`GROUPINGS`.
    """
    return float(np.mean([entropy(group) for group in GROUPINGS[grouping](symbols)]))


def rounded(kv: np.ndarray, step: float, layers: slice) -> np.ndarray:
    """Round some layers of a cache to bins of ``step`` standard deviations of each channel.

    Parameters
    ----------
    kv : ndarray, shape (layers, 2, tokens, heads, head_dim)
        The exact cache.
    step : float
        Width of the bins.
    layers : slice
        Which layers; the others stay exact.
    """
    part = kv[layers]
    mean, width = part.mean(axis=2, keepdims=True), step * part.std(axis=2, keepdims=True)
    width = np.maximum(width, 1e-12)
    out = kv.copy()
    out[layers] = mean + np.rint((part - mean) / width) * width
    return out


def third(number: int, layers: int) -> slice:
    """Layers of the first (0), middle (1) or last (2) third, as the codec divides them.

    Examples
    --------
    >>> [third(number, 7) for number in range(3)]
    [slice(0, 3, None), slice(3, 5, None), slice(5, 7, None)]
    """
    bounds = [-(-layers * part // 3) for part in range(4)]
    return slice(bounds[number], bounds[number + 1])
