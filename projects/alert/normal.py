"""The normal distribution: its function from a table, and the mean of its positive part."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import ndtr

DENSITY = 1 / math.sqrt(2 * math.pi)
LIMIT = 6.5  # beyond it the table is 0 or 1, up to 4e-11
_BINS = 1 << 16
_SCALE = _BINS / (2 * LIMIT)
_TABLE = ndtr((np.arange(_BINS) + 0.5) / _SCALE - LIMIT)
_TABLE[0], _TABLE[-1] = 0.0, 1.0


def cdf(z: np.ndarray) -> np.ndarray:
    """Phi(z) of the nearest of 65,536 points between -6.5 and 6.5.

    It takes a third of the time of an exact one, which is most of a decision's.

    Parameters
    ----------
    z : ndarray
        Any shape.

    Returns
    -------
    ndarray
        Within 5e-5 of Phi, and rising with z.

    Examples
    --------
    >>> cdf(np.array([-9.0, 0.0, 9.0])).round(4).tolist()
    [0.0, 0.5, 1.0]
    """
    place = z * _SCALE
    place += _BINS / 2
    return _TABLE.take(place.astype(np.intp), mode="clip")


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
        phi = DENSITY * math.exp(-0.5 * x * x)
        return 0.5 * x * math.erfc(-x / math.sqrt(2)) + phi
    return x * ndtr(x) + DENSITY * np.exp(-0.5 * x * x)
