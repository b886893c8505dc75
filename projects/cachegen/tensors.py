"""KV caches as the codec sees them: checked, cut into planes, and put together again.

A plane is the K or the V of one layer, ``[tokens, channels]`` float32 with channels = heads x
head size (brief 2.1). Planes are numbered ``2 * layer + (0 for K, 1 for V)``. Keys are taken as
they sit in the cache, after RoPE.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from projects.cachegen import halves

DTYPES = ("float16", "bfloat16", "float32")


@dataclass(frozen=True)
class Geometry:
    """What a model fixes: layers, KV heads and head size.

    Examples
    --------
    >>> Geometry(32, 8, 128).channels
    1024
    """

    layers: int
    heads: int
    head_dim: int

    @property
    def channels(self) -> int:
        """C = heads x head size."""
        return self.heads * self.head_dim

    @property
    def planes(self) -> int:
        """K and V of every layer."""
        return 2 * self.layers

    def as_list(self) -> list[int]:
        """Three numbers for a header."""
        return [self.layers, self.heads, self.head_dim]


@dataclass(frozen=True)
class Planes:
    """A checked KV cache: ``values`` float32 [planes, tokens, channels]."""

    values: np.ndarray
    geometry: Geometry
    dtype: str

    @property
    def tokens(self) -> int:
        """T."""
        return self.values.shape[1]


def as_planes(kv: Any, expected: Geometry | None = None) -> Planes:
    """Check a KV cache and widen it to float32 planes.

    Parameters
    ----------
    kv : ndarray or Tensor, shape [layers, 2, tokens, heads, head_dim] or [layers, 2, tokens, C]
        float16, bfloat16 or float32. Four axes are read as one head of size C, unless
        ``expected`` says how C is divided. A pair (K, V), each [layers, tokens, heads, head_dim],
        is stacked.
    expected : Geometry, optional
        The model's.

    Raises
    ------
    ValueError
        For another number of axes, no tokens, K and V of different shapes, another geometry
        than expected, NaN or infinity.
    TypeError
        For another dtype.

    Examples
    --------
    >>> as_planes(np.zeros((2, 2, 5, 4, 8), np.float16)).values.shape
    (4, 5, 32)
    """
    array, dtype = _array(stacked(kv))
    if array.ndim not in (4, 5) or array.shape[1] != 2:
        raise ValueError(
            f"a KV cache has the shape [layers, 2, tokens, heads, head_dim], got {array.shape}"
        )
    if 0 in array.shape:
        raise ValueError(f"a KV cache holds at least one token and channel, got {array.shape}")
    layers, _, tokens = array.shape[:3]
    heads, head_dim = array.shape[3:] if array.ndim == 5 else (1, array.shape[3])
    geometry = Geometry(layers, heads, head_dim)
    if array.ndim == 4 and expected and expected.channels == head_dim:
        geometry = Geometry(layers, expected.heads, expected.head_dim)
    if expected is not None and geometry != expected:
        raise ValueError(
            f"KV of shape {array.shape} has {layers} layers of {heads} x {head_dim}, the model has "
            f"{expected.layers} layers of {expected.heads} x {expected.head_dim}"
        )
    planes = np.ascontiguousarray(array).reshape(2 * layers, tokens, heads * head_dim)
    return Planes(_widened(planes), geometry, dtype)


def stacked(kv: Any) -> Any:
    """Return a pair (K, V), each [layers, tokens, ...], as one cache; leave others as they are.

    Raises
    ------
    ValueError
        If K and V have different shapes.
    """
    if not isinstance(kv, tuple | list):
        return kv
    shapes = [tuple(part.shape) for part in kv]
    if len(kv) != 2 or shapes[0] != shapes[1]:
        raise ValueError(f"K and V must have the same shape, got {' and '.join(map(str, shapes))}")
    if all(isinstance(part, np.ndarray) for part in kv):
        return np.stack(kv, axis=1)
    import torch

    return torch.stack(tuple(kv), dim=1)


def known_dtype(dtype: str) -> str:
    """Return ``dtype`` or raise TypeError naming the allowed ones."""
    if dtype not in DTYPES:
        raise TypeError(f"KV of type {dtype}; allowed: {', '.join(DTYPES)}")
    return dtype


def _array(kv: Any) -> tuple[np.ndarray, str]:
    if isinstance(kv, np.ndarray):
        dtype = known_dtype(kv.dtype.name)
        return (kv.astype(np.float32) if dtype == "bfloat16" else kv), dtype
    if not hasattr(kv, "detach"):
        raise TypeError(f"a KV cache is an array or a tensor, got {type(kv).__name__}")
    dtype = known_dtype(str(kv.dtype).removeprefix("torch."))
    kv = kv.detach().cpu()
    return (kv.float() if dtype == "bfloat16" else kv).numpy(), dtype


def _widened(planes: np.ndarray) -> np.ndarray:
    """Float32 copy; refuses what is not finite."""
    values = np.empty(planes.shape, np.float32)
    bad = np.zeros(len(planes), np.int64)
    for number, plane in enumerate(planes):
        if plane.dtype == np.float16:
            bad[number] = halves.widen(
                plane.view(np.uint16).reshape(-1), values[number].reshape(-1)
            )
        else:
            values[number] = plane
            bad[number] = plane.size - np.count_nonzero(np.isfinite(plane))
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        name = f"layer {first // 2} ({'KV'[first % 2]})"
        raise ValueError(f"{int(bad.sum())} values of the KV are NaN or infinite, first in {name}")
    return values
