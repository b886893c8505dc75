"""The codec as the authors released it and LMCache ships it: no delta (brief 2.4).

Per-token maximum scaling, 32 or 16 bins by layer, a distribution measured on the chunk itself per
(layer, K/V, channel) and an arithmetic coder. The 33 entries of each distribution, 66 bytes a
lane, travel inside the stream and are counted. LMCache frames this with pickle; here the same
content is laid out flat::

    per-token scales | CDFs u16 [channels, 33] | u32 lane lengths per sub-chunk | lane bytes
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from projects.cachegen import arithmetic
from projects.cachegen.errors import CorruptStreamError
from projects.cachegen.interface import Codec, Task, exactly
from projects.cachegen.profile import Profile
from projects.cachegen.tensors import Geometry
from projects.cachegen.uniform import symmetric, token_scale, unsymmetric

BINS = tuple(range(4, 63, 2))
SUB_CHUNK = 256
_FULL = 1 << arithmetic.PRECISION


@dataclass(frozen=True)
class Schedule:
    """Bins of K and V by layer: ``((first layer, bins), ...)`` for each.

    Examples
    --------
    >>> Schedule(((0, 32), (10, 16)), ((0, 32), (2, 16))).bins(9), Schedule.same(32).bins(3)
    ((32, 16), (32, 32))
    """

    keys: Sequence[tuple[int, int]]
    values: Sequence[tuple[int, int]]

    @classmethod
    def same(cls, bins: int) -> Schedule:
        """Return the schedule with as many bins everywhere."""
        return cls(((0, bins),), ((0, bins),))

    def bins(self, layer: int) -> tuple[int, int]:
        """Bins of K and of V in a layer."""
        k, v = ([b for first, b in part if first <= layer][-1] for part in (self.keys, self.values))
        return k, v


LEVELS: Mapping[str, Schedule] = {
    "high": Schedule.same(32),  # artefact's level 3
    "fine": Schedule(((0, 32), (10, 16), (20, 16)), ((0, 32), (2, 16))),  # artefact's level 2
    "medium": Schedule(((0, 32), (10, 16)), ((0, 32), (2, 16))),  # LMCache's default
    "low": Schedule(((0, 16), (10, 16), (20, 12)), ((0, 16), (2, 12))),  # artefact's level 1
}
_FEWEST_LAYERS = 10  # LMCache: a smaller model gets 32 bins everywhere


class ReleasedCodec(Codec):
    """LMCache's CacheGen serde.

    Parameters
    ----------
    schedule : Schedule or int, optional
        Bins by layer (also as the two lists that a stream's header holds), or a number of bins
        for all: even, 4 to 62. By default from the level and the number of layers.
    small_models : bool
        Keep LMCache's rule that a model of fewer than 10 layers has 32 bins everywhere (at level
        ``"medium"``, which is LMCache's own).
    threads : int
        Planes coded at the same time.
    """

    name = "lmcache"
    levels: ClassVar[tuple[str, ...]] = tuple(LEVELS)

    def __init__(
        self,
        *,
        schedule: Schedule | Sequence[Any] | int | None = None,
        small_models: bool = True,
        threads: int = 1,
    ) -> None:
        super().__init__(threads=threads)
        if isinstance(schedule, int):
            schedule = Schedule.same(schedule)
        elif schedule is not None and not isinstance(schedule, Schedule):
            schedule = Schedule(*schedule)
        self.schedule = schedule
        self.small_models = small_models
        if self.schedule:
            for _, bins in (*self.schedule.keys, *self.schedule.values):
                if bins not in BINS:
                    allowed = ", ".join(map(str, BINS))
                    raise ValueError(f"{bins} bins; allowed are {allowed}")

    @property
    def options(self) -> dict[str, Any]:
        """Schedule and the rule for small models."""
        s = self.schedule
        lists = [[list(pair) for pair in part] for part in (s.keys, s.values)] if s else None
        return {"schedule": lists, "small_models": self.small_models}

    def prepare(self, level: str, geometry: Geometry, profile: Profile | None) -> list[int]:
        """Bins of each plane."""
        schedule = self.schedule or LEVELS[level]
        if (
            not self.schedule
            and self.small_models
            and level == "medium"
            and geometry.layers < _FEWEST_LAYERS
        ):
            schedule = Schedule.same(32)
        return [bins for layer in range(geometry.layers) for bins in schedule.bins(layer)]

    def encode_plane(self, x: np.ndarray, plane: int, task: Task) -> bytes:
        """Scales, CDFs, lengths and lanes of one plane."""
        head, scale = task.side(token_scale(x))
        symbols = symmetric(x, scale, task.tools[plane] // 2 - 1)
        cdfs = chunk_cdfs(symbols, max(task.tools))
        tokens, channels = x.shape
        lengths = np.empty((-(-tokens // SUB_CHUNK), channels), np.int64)
        parts = []
        for row, first in enumerate(range(0, tokens, SUB_CHUNK)):
            sub = np.ascontiguousarray(symbols[first : first + SUB_CHUNK])
            out = np.empty(channels * arithmetic.largest_stream(len(sub)), np.uint8)
            parts.append(out[: arithmetic.encode_lanes(sub, cdfs, out, lengths[row])].tobytes())
        side = cdfs.astype("<u2").tobytes() + lengths.astype("<u4").tobytes()
        return head + side + b"".join(parts)

    def decode_plane(self, part: memoryview, plane: int, task: Task) -> np.ndarray:
        """Undo :meth:`encode_plane`."""
        tokens, channels = task.tokens, task.geometry.channels
        subs, entries = -(-tokens // SUB_CHUNK), max(task.tools) + 1
        sizes = (
            tokens * np.dtype(task.float_type).itemsize,
            2 * channels * entries,
            4 * subs * channels,
        )
        a, b, c = np.cumsum(sizes)
        exactly(part[:c], c, "scales, distributions and lengths")
        scale = np.frombuffer(part[:a], task.float_type).astype(np.float32)
        cdfs = np.frombuffer(part[a:b], "<u2").reshape(channels, entries).astype(np.int64)
        cdfs[:, -1] = _FULL
        lengths = np.frombuffer(part[b:c], "<u4").reshape(subs, channels).astype(np.int64)
        data = np.frombuffer(part[c:], np.uint8)
        if (np.diff(cdfs, axis=1) <= 0).any() or cdfs[:, 0].any() or lengths.sum() != len(data):
            raise CorruptStreamError("the distributions or lane lengths of a plane are not sound")
        symbols = np.empty((tokens, channels), np.uint16)
        begin = 0
        for row, first in enumerate(range(0, tokens, SUB_CHUNK)):
            end = begin + int(lengths[row].sum())
            sub = symbols[first : first + SUB_CHUNK]
            arithmetic.decode_lanes(data[begin:end], lengths[row], cdfs, sub)
            begin = end
        return unsymmetric(symbols, scale, task.tools[plane] // 2 - 1)


def chunk_cdfs(symbols: np.ndarray, bins: int) -> np.ndarray:
    """Distributions of a chunk, int64 [channels, bins + 1], strictly increasing to 65,536.

    As released: counts over tokens, scaled to 0xFFFF - bins, plus the index. Counts are 64-bit
    (the released 16-bit ones overflow above 65,535 tokens).
    """
    tokens, channels = symbols.shape
    flat = symbols.astype(np.int64) + np.arange(channels) * bins
    counts = np.bincount(flat.ravel(), minlength=channels * bins).reshape(channels, bins)
    cdfs = np.zeros((channels, bins + 1), np.int64)
    cdfs[:, 1:] = np.cumsum(counts, axis=1) * (_FULL - 1 - bins) // tokens
    cdfs += np.arange(bins + 1)
    cdfs[:, -1] = _FULL
    return cdfs
