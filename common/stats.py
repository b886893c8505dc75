"""Estimates with intervals: the bootstrap over the natural unit (job, graph, participant, seed)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 10_000
LEVEL = 0.95
ONE_UNIT = "one unit: no interval"
# Rows of one chunk of resamples; keeps the gathered block near 100 MB for wide tables.
_CHUNK_CELLS = 4_000_000
# Counts of drawn rows are kept up to 40 MB.
_COUNTED_UNITS = 500


@dataclass(frozen=True)
class Estimate:
    """A number with its interval.

    Attributes
    ----------
    value : float
        Point estimate.
    low, high : float or None
        Ends of the 95 % interval; None where a single unit allows none.
    n : int
        Number of natural units.
    unit : str
        Unit of the value.
    note : str
        What a reader has to know (units left out, small n).
    """

    value: float
    low: float | None
    high: float | None
    n: int
    unit: str = ""
    note: str = ""

    def scaled(self, factor: float, unit: str) -> Estimate:
        """Return the estimate in another unit, ``factor`` > 0 of it to one of this one."""
        ends = [None if end is None else end * factor for end in (self.low, self.high)]
        return replace(self, value=self.value * factor, low=ends[0], high=ends[1], unit=unit)


def bootstrap(
    table: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Estimate:
    """Percentile bootstrap over the rows of a table.

    Parameters
    ----------
    table : ndarray, shape (n, k)
        One row per natural unit, one column per variant.
    statistic : callable
        Maps ``(..., n, k)`` to ``(...)``; it is applied to whole stacks of resamples at once.
    resamples : int
        Number of resamples.
    level : float
        Coverage of the interval.
    seed : int
        Seed of the resampling.

    Returns
    -------
    Estimate
        With ``low = high = None`` for a single unit, and where a resample has no finite value
        (a ratio whose denominator may be zero).

    Notes
    -----
    The percentile interval is first-order accurate; with fewer than about ten units it is
    narrower than its nominal coverage, and the estimate's note says so.

    References
    ----------
    B. Efron and R. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.

    Examples
    --------
    >>> import numpy as np
    >>> estimate = bootstrap(np.arange(100.0)[:, None], lambda t: t.mean(axis=(-2, -1)))
    >>> round(estimate.value, 1), estimate.low < 49.5 < estimate.high
    (49.5, True)
    """
    import numpy as np

    table = np.asarray(table, dtype=float)
    n = len(table)
    if n == 0:
        raise ValueError("no units to estimate from")
    rng = np.random.default_rng(seed)
    chunk = max(1, _CHUNK_CELLS // table.size)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(statistic(table))
        if n == 1:
            return Estimate(value, None, None, 1, note=ONE_UNIT)
        draws = [
            statistic(table[rng.integers(n, size=(min(chunk, resamples - done), n))])
            for done in range(0, resamples, chunk)
        ]
    return _percentiles(value, np.concatenate(draws), n, level)


def bootstrap_means(
    table: np.ndarray, of_means: Callable[[np.ndarray], np.ndarray], *, seed: int = 0
) -> Estimate:
    """Bootstrap of a statistic that the columns' means decide, many times as fast.

    The resamples are those of :func:`bootstrap` at its defaults. A mean needs to know only how
    often each row was drawn, which every table of as many rows shares, and is then one product of
    matrices.

    Parameters
    ----------
    table : ndarray, shape (n, k)
        One row per natural unit, one column per variant.
    of_means : callable
        Maps means ``(..., k)`` to ``(...)``.
    seed : int
        Seed of the resampling.

    Examples
    --------
    >>> import numpy as np
    >>> table = np.array([[1.0, 2.0], [2.0, 4.0], [4.0, 8.0]])
    >>> estimate = bootstrap_means(table, lambda means: means[..., 1] / means[..., 0])
    >>> estimate.value, estimate.low, estimate.high, estimate.n
    (2.0, 2.0, 2.0, 3)
    """
    import numpy as np

    table = np.asarray(table, dtype=float)
    n = len(table)
    # Drawing no infinity at all differs from an infinity times zero.
    if not 1 < n <= _COUNTED_UNITS or not np.isfinite(table).all():
        return bootstrap(table, lambda stack: of_means(stack.mean(axis=-2)), seed=seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(of_means(table.mean(axis=0)))
        values = of_means(_drawn(n, seed) @ table / n)
    return _percentiles(value, values, n, LEVEL)


@functools.lru_cache(maxsize=2)
def _drawn(n: int, seed: int) -> np.ndarray:
    """How often each of n rows is in each resample, shape (resamples, n)."""
    import numpy as np

    rows = np.random.default_rng(seed).integers(n, size=(RESAMPLES, n))
    rows += n * np.arange(RESAMPLES)[:, None]
    return np.bincount(rows.ravel(), minlength=rows.size).reshape(rows.shape).astype(float)


def _percentiles(value: float, values: np.ndarray, n: int, level: float) -> Estimate:
    import numpy as np

    if not np.isfinite(values).all():
        return Estimate(value, None, None, n, note="resamples without a finite value: no interval")
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    note = f"{n} units: the percentile interval is too narrow" if n < 10 else ""
    return Estimate(value, float(low), float(high), n, note=note)


def trend(x: np.ndarray, y: np.ndarray, statistic: str = "spearman") -> np.ndarray:
    """Strength of a trend along the last axis.

    Parameters
    ----------
    x : ndarray, shape (m,)
        The parameter.
    y : ndarray, shape (..., m)
        The metric at each value of the parameter.
    statistic : {"slope", "loglog_slope", "spearman"}
        Least-squares slope, the same on logarithms (the exponent of a power law), or the rank
        correlation.

    Examples
    --------
    >>> import numpy as np
    >>> float(trend(np.array([1, 2, 4]), np.array([3, 6, 12]), "loglog_slope"))
    1.0
    """
    import numpy as np
    from scipy.stats import rankdata

    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if statistic == "loglog_slope":
        x, y = np.log(x), np.log(y)
    elif statistic == "spearman":
        x, y = rankdata(x), rankdata(y, axis=-1)
    dx = x - x.mean()
    dy = y - y.mean(axis=-1, keepdims=True)
    covariance = (dx * dy).sum(axis=-1)
    if statistic != "spearman":
        return covariance / (dx**2).sum()
    scale = np.sqrt((dx**2).sum() * (dy**2).sum(axis=-1))
    # A constant metric has no rank correlation; it shows no trend.
    return np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)
