"""The normal distribution: its function and density from tables, the mean of its positive part."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import ndtr

LIMIT = 6.5  # beyond it the function is 0 or 1, up to 4e-11
_BINS = 1 << 16
_SCALE = _BINS / (2 * LIMIT)
_PEAK = 1 / math.sqrt(2 * math.pi)
_POINTS = (np.arange(_BINS) + 0.5) / _SCALE - LIMIT
_CDF, _DENSITY = ndtr(_POINTS), _PEAK * np.exp(-0.5 * _POINTS**2)
_CDF[0] = _DENSITY[0] = _DENSITY[-1] = 0.0
_CDF[-1] = 1.0


def nearest(x: np.ndarray, slope: Any = 1.0, offset: Any = 0.0) -> np.ndarray:
    """Number of the nearest of 65,536 points between -6.5 and 6.5 to slope x + offset.

    Looking them up takes a third of the time of exact functions, which is most of a decision's.

    Parameters
    ----------
    x : ndarray
        Any shape.
    slope, offset : float or ndarray

    Returns
    -------
    ndarray of int
        For :func:`cdf` and :func:`density`; outside the range where there is no point.
    """
    place = x * np.asarray(slope * _SCALE)
    place += np.asarray(offset * _SCALE + _BINS / 2)
    return place.astype(np.intp)


def cdf(point: np.ndarray) -> np.ndarray:
    """Phi(z) within 5e-5, and rising with z, at points of :func:`nearest`.

    Examples
    --------
    >>> cdf(nearest(np.array([-9.0, 0.0, 9.0]))).round(4).tolist()
    [0.0, 0.5, 1.0]
    """
    return _CDF.take(point, mode="clip")


def density(point: np.ndarray) -> np.ndarray:
    """phi(z) within 3e-5 at points of :func:`nearest`.

    With :func:`cdf`, z Phi + phi is a tangent of E[max(z + Z, 0)], and within 1e-8 of it.

    Examples
    --------
    >>> density(nearest(np.array([-9.0, 0.0, 9.0]))).round(4).tolist()
    [0.0, 0.3989, 0.0]
    """
    return _DENSITY.take(point, mode="clip")


def positive_part(x: Any) -> Any:
    """E[max(x + Z, 0)] = x Phi(x) + phi(x) for standard normal Z, exactly.

    Parameters
    ----------
    x : float or ndarray

    Examples
    --------
    >>> round(positive_part(0.0), 4)
    0.3989
    """
    if isinstance(x, float):
        phi = _PEAK * math.exp(-0.5 * x * x)
        return 0.5 * x * math.erfc(-x / math.sqrt(2)) + phi
    return x * ndtr(x) + _PEAK * np.exp(-0.5 * x * x)
