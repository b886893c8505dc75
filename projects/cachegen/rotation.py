"""Random rotation and a codebook for the Gaussian (TurboQuant, arXiv 2504.19874).

A rotated unit vector of dimension n has coordinates close to N(0, 1/n) whatever it was, so one
fixed Lloyd-Max codebook fits all of them and nothing has to be profiled.
"""

from __future__ import annotations

import functools

import numpy as np
from scipy.stats import norm

from common.graphs.projections import (
    StructuredProjection,
    fast_hadamard,
    power_of_two,
    stream,
)
from projects.cachegen.interface import Codec, Task, exactly
from projects.cachegen.packing import pack, unpack


@functools.cache
def lloyd_max(levels: int, rounds: int = 2000) -> np.ndarray:
    """Codebook with the least squared error for N(0, 1), ascending, float64 [levels].

    Lloyd's iteration with closed-form cell means; the density is log-concave, so its fixed point
    is the optimum.

    Examples
    --------
    >>> lloyd_max(4).round(3).tolist()
    [-1.51, -0.453, 0.453, 1.51]
    """
    points = norm.ppf((np.arange(levels) + 0.5) / levels)
    for _ in range(rounds):
        edges = np.concatenate([[-np.inf], (points[1:] + points[:-1]) / 2, [np.inf]])
        moved = -np.diff(norm.pdf(edges)) / np.diff(norm.cdf(edges))
        done = np.abs(moved - points).max() < 1e-12
        points = moved
        if done:
            break
    return points


class RotationCodec(Codec):
    """Each head's vector: its size, and its rotated direction in ``bits`` per coordinate.

    A head size that is no power of two is filled up with zeros, and the bits of the filling are
    sent too.

    Parameters
    ----------
    bits : int
        1 to 8.
    seed : int
        Of the rotation.
    threads : int
        Planes coded at the same time.
    """

    name = "rotation"

    def __init__(self, *, bits: int = 4, seed: int = 0, threads: int = 1) -> None:
        super().__init__(threads=threads)
        if not 1 <= bits <= 8:
            raise ValueError(f"bits={bits}: allowed are 1 to 8")
        self.bits, self.seed = bits, seed

    @property
    def options(self) -> dict[str, int]:
        """Bits and seed."""
        return {"bits": self.bits, "seed": self.seed}

    def encode_plane(self, x: np.ndarray, plane: int, task: Task) -> bytes:
        """Root mean squares, then packed symbols."""
        n, head_dim = power_of_two(task.geometry.head_dim), task.geometry.head_dim
        vectors = x.reshape(-1, head_dim)
        # Root mean squares, not norms: a float16 holds them whatever the vector.
        head, size = task.side(np.sqrt(np.mean(vectors**2, axis=1)))
        norms = size * np.float32(np.sqrt(head_dim))
        filled = np.pad(vectors, ((0, 0), (0, n - head_dim)))
        unit = filled / np.where(norms > 0, norms, 1)[:, None]
        rotated = self._rotation(n, plane)(unit) * np.float32(np.sqrt(n))
        book = lloyd_max(2**self.bits).astype(np.float32)
        symbols = np.searchsorted((book[1:] + book[:-1]) / 2, rotated)
        return head + pack(symbols, self.bits)

    def decode_plane(self, part: memoryview, plane: int, task: Task) -> np.ndarray:
        """Undo :meth:`encode_plane`."""
        g = task.geometry
        n, count = power_of_two(g.head_dim), task.tokens * g.heads
        cut = count * np.dtype(task.float_type).itemsize
        size = np.frombuffer(exactly(part[:cut], cut, "sizes"), task.float_type)
        norms = size.astype(np.float32) * np.float32(np.sqrt(g.head_dim))
        symbols = unpack(part[cut:], count * n, self.bits).reshape(count, n)
        book = (lloyd_max(2**self.bits) / np.sqrt(n)).astype(np.float32)
        unit = _unrotated(self._rotation(n, plane), book[symbols])
        vectors = unit[:, : g.head_dim] * norms[:, None]
        return np.ascontiguousarray(vectors.reshape(task.tokens, g.channels), np.float32)

    def _rotation(self, n: int, plane: int) -> StructuredProjection:
        return StructuredProjection(n, stream(self.seed, plane))


def _unrotated(rotation: StructuredProjection, x: np.ndarray) -> np.ndarray:
    """Apply the inverse: H and the signs are their own inverses, in the opposite order."""
    for signs in rotation.signs:
        x = fast_hadamard(x) * signs
    return x
