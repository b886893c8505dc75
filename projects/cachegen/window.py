"""Tokens kept exact at the two ends of a context: attention sinks and the recent window."""

from __future__ import annotations

import struct

import numpy as np

from projects.cachegen.errors import CorruptStreamError
from projects.cachegen.interface import Task

_ENDS = struct.Struct("<II")


def ends(tokens: int, place: str, sinks: int, window: int, multiple: int = 1) -> tuple[int, int]:
    """Tokens of a chunk to keep exact at its begin and at its end.

    Sinks stand at the begin of the first chunk of a context, the window at the end of the last.
    What lies between is cut down to a multiple of ``multiple``, the rest joins the window.

    Examples
    --------
    >>> ends(1000, "whole", 4, 128), ends(1000, "middle", 4, 128), ends(1000, "last", 0, 128, 32)
    ((4, 128), (0, 0), (0, 136))
    """
    first = min(sinks, tokens) if place in ("whole", "first") else 0
    last = min(window, tokens - first) if place in ("whole", "last") else 0
    return first, last + (tokens - first - last) % multiple


def split(x: np.ndarray, first: int, last: int, task: Task) -> tuple[bytes, np.ndarray]:
    """Bytes of the exact tokens, and the tokens between them."""
    middle = len(x) - last
    exact = np.concatenate([x[:first], x[middle:]])
    return _ENDS.pack(first, last) + exact.astype(task.float_type).tobytes(), x[first:middle]


def join(part: memoryview, task: Task) -> tuple[np.ndarray, np.ndarray, memoryview]:
    """Undo :func:`split`: the plane with a gap, a view of the gap, and the bytes that follow."""
    if len(part) < _ENDS.size:
        raise CorruptStreamError("a plane ends before its exact tokens are counted")
    first, last = _ENDS.unpack_from(part)
    channels = task.geometry.channels
    size = (first + last) * channels * np.dtype(task.float_type).itemsize
    if first + last > task.tokens or _ENDS.size + size > len(part):
        raise CorruptStreamError(f"{first} + {last} exact tokens do not fit into the plane")
    exact = np.frombuffer(part[_ENDS.size : _ENDS.size + size], task.float_type)
    exact = exact.reshape(-1, channels)
    x = np.empty((task.tokens, channels), np.float32)
    x[:first], x[task.tokens - last :] = exact[:first], exact[first:]
    return x, x[first : task.tokens - last], part[_ENDS.size + size :]
