"""Random projections whose entries are a function of (seed, key, column): keyed, without state.

A row of a keyed Gaussian matrix depends on its own key alone. Two programs, two devices or two
graphs that ask for the row of the same key get the same numbers, in any order, and no matrix has
to be drawn up to a largest size beforehand. The hash is the finaliser of SplitMix64 (Steele, Lea,
Flood, OOPSLA 2014), the normals come from it by Box and Muller's transform.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

_GOLDEN = 0x9E3779B97F4A7C15
_MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_FACTOR = 64


def _mix(x: np.ndarray) -> np.ndarray:
    """Finaliser of SplitMix64; a bijection of the 64-bit integers."""
    x = x ^ (x >> np.uint64(30))
    x = x * np.uint64(_MULTIPLIERS[0])
    x = x ^ (x >> np.uint64(27))
    x = x * np.uint64(_MULTIPLIERS[1])
    return x ^ (x >> np.uint64(31))


def _mix_int(value: int) -> int:
    return int(_mix(np.array([value % 2**64], dtype=np.uint64))[0])


def stream(seed: int, *path: int) -> int:
    """Return the 64-bit state of an independent stream, from a seed and a path of numbers.

    Parameters
    ----------
    seed : int
        Any integer.
    *path : int
        For example the number of a block and the number of a matrix.

    Raises
    ------
    TypeError
        If the seed or a number of the path is no integer.

    Examples
    --------
    >>> stream(42, 0) == stream(42, 0), stream(42, 0) == stream(42, 1)
    (True, False)
    """
    state = 0
    for number in (seed, *path):
        if isinstance(number, bool) or not isinstance(number, int | np.integer):
            raise TypeError(f"a seed is an integer, got {number!r}")
        state = _mix_int(state + _GOLDEN + _mix_int(int(number) + _GOLDEN))
    return state


def _bits(state: int, keys: np.ndarray, width: int) -> np.ndarray:
    """Hash every (key, column) to 64 bits, shape (len(keys), width)."""
    keys = np.ascontiguousarray(keys, dtype=np.int64).view(np.uint64)
    with np.errstate(over="ignore"):
        rows = _mix(_mix(keys + np.uint64(_GOLDEN)) ^ np.uint64(state))
        columns = np.arange(1, width + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
        return _mix(rows[:, None] + columns)


def keyed_normal(state: int, keys: Sequence[int] | np.ndarray, width: int) -> np.ndarray:
    """Return rows of a matrix of independent standard normals, each a function of its key.

    Parameters
    ----------
    state : int
        From :func:`stream`.
    keys : array of int, shape (m,)
        One key per row; equal keys give equal rows.
    width : int
        Number of columns n. A narrower matrix is the left part of a wider one.

    Returns
    -------
    ndarray of float64, shape (m, n)

    Examples
    --------
    >>> rows = keyed_normal(stream(42), [7, 8], 3)
    >>> bool((keyed_normal(stream(42), [8], 2) == rows[1:, :2]).all())
    True
    """
    pairs = (width + 1) // 2
    bits = _bits(state, np.asarray(keys), 2 * pairs)
    # 53 bits each; the radius' uniform lies in (0, 1], so that its logarithm is finite.
    unit = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
    radius = np.sqrt(-2.0 * np.log1p(-unit[:, 0::2]))
    angle = (2.0 * np.pi) * unit[:, 1::2]
    normal = np.empty((len(bits), 2 * pairs))
    normal[:, 0::2] = radius * np.cos(angle)
    normal[:, 1::2] = radius * np.sin(angle)
    return normal[:, :width]


def keyed_signs(state: int, keys: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return independent signs, -1.0 or 1.0, each a function of its key; shape (m,).

    Examples
    --------
    >>> set(keyed_signs(stream(0), range(50)).tolist()) == {-1.0, 1.0}
    True
    """
    top = _bits(state, np.asarray(keys), 1)[:, 0] >> np.uint64(63)
    return 1.0 - 2.0 * top.astype(np.float64)


def keyed_normal_torch(state: int, keys: Any, width: int) -> Any:
    """Return :func:`keyed_normal` as a float64 tensor, computed on the device of ``keys``.

    Parameters
    ----------
    state : int
        From :func:`stream`.
    keys : Tensor of int64, shape (m,)
        One key per row.
    width : int
        Number of columns n.

    Returns
    -------
    Tensor of float64, shape (m, n)
        Equal to the numpy version up to the rounding of log, cos and sin.
    """
    import torch

    def signed(value: int) -> int:
        return value - 2**64 if value >= 2**63 else value

    def shifted(x: torch.Tensor, by: int) -> torch.Tensor:
        return (x >> by) & ((1 << (64 - by)) - 1)

    def mix(x: torch.Tensor) -> torch.Tensor:
        x = (x ^ shifted(x, 30)) * signed(_MULTIPLIERS[0])
        x = (x ^ shifted(x, 27)) * signed(_MULTIPLIERS[1])
        return x ^ shifted(x, 31)

    golden, pairs = signed(_GOLDEN), (width + 1) // 2
    rows = mix(mix(keys.to(torch.int64) + golden) ^ signed(state))
    columns = torch.arange(1, 2 * pairs + 1, device=keys.device, dtype=torch.int64) * golden
    unit = shifted(mix(rows[:, None] + columns), 11).to(torch.float64) * 2.0**-53
    radius = torch.sqrt(-2.0 * torch.log1p(-unit[:, 0::2]))
    angle = (2.0 * torch.pi) * unit[:, 1::2]
    normal = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=-1)
    return normal.flatten(1)[:, :width]


@functools.cache
def _hadamard(size: int) -> np.ndarray:
    from scipy.linalg import hadamard

    return hadamard(size) / np.sqrt(size)


def fast_hadamard(x: Any) -> Any:
    """Multiply the last axis by the orthonormal Walsh-Hadamard matrix, in O(n log n).

    The transform is the Kronecker product of small ones, so every step is one matrix product
    with a matrix of at most 64 rows.

    Parameters
    ----------
    x : ndarray or Tensor of floats, shape (..., n)
        n is a power of two.

    Returns
    -------
    ndarray or Tensor, shape (..., n)
        Same kind, type and device as ``x``. The transform is its own inverse.

    Raises
    ------
    ValueError
        If n is not a power of two.

    Examples
    --------
    >>> fast_hadamard(np.array([1.0, 0.0])).round(4).tolist()
    [0.7071, 0.7071]
    """
    shape, n = x.shape, x.shape[-1]
    if n < 1 or n & (n - 1):
        raise ValueError(f"the last axis has length {n}; pad it to a power of two")
    done = 1
    while done < n:
        factor = min(_FACTOR, n // done)
        small = _hadamard(factor)
        if isinstance(x, np.ndarray):
            small = small.astype(x.dtype)
        else:
            import torch

            small = torch.as_tensor(small, dtype=x.dtype, device=x.device)
        x = small @ x.reshape(-1, factor, done)
        done *= factor
    return x.reshape(shape)


def power_of_two(n: int) -> int:
    """Return the smallest power of two that is at least n.

    Examples
    --------
    >>> power_of_two(5), power_of_two(8)
    (8, 8)
    """
    return 1 << max(int(n) - 1, 0).bit_length()


class StructuredProjection:
    """The random rotation H D1 H D2 H D3 of R^n: Hadamard matrices and random signs.

    An orthonormal stand-in for a Gaussian matrix: O(n) memory, O(n log n) time a vector. Times
    sqrt(n) its entries have mean 0 and variance 1 like those of a Gaussian matrix.

    Parameters
    ----------
    size : int
        n, a power of two.
    state : int
        From :func:`stream`; the signs follow from it.

    Examples
    --------
    >>> rotate = StructuredProjection(8, stream(42))
    >>> x = np.arange(8.0)
    >>> bool(np.isclose(np.linalg.norm(rotate(x)), np.linalg.norm(x)))
    True
    """

    def __init__(self, size: int, state: int) -> None:
        if size < 1 or size & (size - 1):
            raise ValueError(f"size={size} is not a power of two")
        self.size = size
        keys = np.arange(size)
        self.signs = [keyed_signs(stream(state, place), keys) for place in range(3)]

    def __call__(self, x: Any) -> Any:
        """Rotate the last axis of an array or tensor of shape (..., n)."""
        for signs in reversed(self.signs):
            if not isinstance(x, np.ndarray):
                import torch

                signs = torch.as_tensor(signs, dtype=x.dtype, device=x.device)
            x = fast_hadamard(x * signs)
        return x
