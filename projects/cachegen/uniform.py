"""Per-token symmetric quantisation at fixed length: the baseline of the paper (brief 4.1)."""

from __future__ import annotations

import numpy as np

from projects.cachegen.interface import Codec, Task, exactly
from projects.cachegen.packing import pack, unpack


def token_scale(x: np.ndarray) -> np.ndarray:
    """Largest magnitude of each token over the channels, float32 [tokens]; 1 for a zero token."""
    largest = np.abs(x).max(axis=1)
    return np.where(largest > 0, largest, np.float32(1))


def symmetric(x: np.ndarray, scale: np.ndarray, half: int) -> np.ndarray:
    """Quantise to round(x half / scale) + half, uint16 in 0..2 half (artefact's formula)."""
    q = np.rint(x * (np.float32(half) / scale)[:, None])
    return (np.clip(q, -half, half) + half).astype(np.uint16)


def unsymmetric(symbols: np.ndarray, scale: np.ndarray, half: int) -> np.ndarray:
    """Undo :func:`symmetric`."""
    return (symbols.astype(np.float32) - half) * (scale / np.float32(half))[:, None]


class UniformCodec(Codec):
    """``bits`` per value and one scale per (layer, K/V, token) over all channels.

    Parameters
    ----------
    bits : int
        2 to 16; 2^bits - 1 of the 2^bits values are used.
    threads : int
        Planes coded at the same time.

    Examples
    --------
    >>> kv = np.ones((1, 2, 3, 1, 4), np.float16)
    >>> codec = UniformCodec(bits=4)
    >>> float(codec.decode(codec.encode(kv)).max())
    1.0
    """

    name = "uniform"

    def __init__(self, *, bits: int = 8, threads: int = 1) -> None:
        super().__init__(threads=threads)
        if not 2 <= bits <= 16:
            raise ValueError(f"bits={bits}: allowed are 2 to 16")
        self.bits = bits
        self.half = 2 ** (bits - 1) - 1

    @property
    def options(self) -> dict[str, int]:
        """The number of bits."""
        return {"bits": self.bits}

    def encode_plane(self, x: np.ndarray, plane: int, task: Task) -> bytes:
        """Scales, then packed symbols."""
        head, scale = task.side(token_scale(x))
        return head + pack(symmetric(x, scale, self.half), self.bits)

    def decode_plane(self, part: memoryview, plane: int, task: Task) -> np.ndarray:
        """Undo :meth:`encode_plane`."""
        shape = (task.tokens, task.geometry.channels)
        cut = task.tokens * np.dtype(task.float_type).itemsize
        scale = np.frombuffer(exactly(part[:cut], cut, "scales"), task.float_type)
        symbols = unpack(part[cut:], shape[0] * shape[1], self.bits).reshape(shape)
        return unsymmetric(symbols, scale.astype(np.float32), self.half)


class RawCodec(Codec):
    """The cache as it is: 2 bytes a value, 4 for float32. Exact."""

    name = "fp16"

    def encode_plane(self, x: np.ndarray, plane: int, task: Task) -> bytes:
        """Values in the cache's own type."""
        if task.dtype == "bfloat16":
            return (x.view(np.uint32) >> np.uint32(16)).astype("<u2").tobytes()
        return x.astype(task.float_type).tobytes()

    def decode_plane(self, part: memoryview, plane: int, task: Task) -> np.ndarray:
        """Undo :meth:`encode_plane`."""
        shape = (task.tokens, task.geometry.channels)
        size = shape[0] * shape[1] * (4 if task.dtype == "float32" else 2)
        exactly(part, size, "a plane")
        if task.dtype == "bfloat16":
            bits = np.frombuffer(part, "<u2").astype(np.uint32) << np.uint32(16)
            return bits.view(np.float32).reshape(shape)
        return np.frombuffer(part, task.float_type).astype(np.float32).reshape(shape)
