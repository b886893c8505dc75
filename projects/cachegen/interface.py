"""The interface that every codec has: fit, encode, decode; planes are coded on their own."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from common.errors import did_you_mean
from projects.cachegen import halves
from projects.cachegen.errors import (
    CorruptStreamError,
    IncompatibleProfileError,
    IncompatibleStreamError,
)
from projects.cachegen.profile import Profile
from projects.cachegen.tensors import Geometry, Planes, as_planes, known_dtype

PLACES = ("whole", "first", "middle", "last")
_SIZE = struct.Struct("<I")


@dataclass(frozen=True)
class EncodedChunk:
    """The bytes of one chunk at one level, and what a decoder has to know beside the profile.

    Attributes
    ----------
    codec, level : str
    tokens : int
    dtype : str
        float16, bfloat16 or float32: what decoding casts to.
    geometry : Geometry
    payload : bytes
        All that travels for this chunk; side information such as scales is inside.
    """

    codec: str
    level: str
    tokens: int
    dtype: str
    geometry: Geometry
    payload: bytes = field(repr=False)

    @property
    def nbytes(self) -> int:
        """Bytes on the wire, without the container's few."""
        return len(self.payload)

    @property
    def bits_per_element(self) -> float:
        """Bits for each of the 2 x layers x tokens x channels numbers."""
        return 8 * self.nbytes / (self.geometry.planes * self.tokens * self.geometry.channels)

    @property
    def meta(self) -> dict[str, Any]:
        """What a header says about the chunk."""
        return {
            "codec": self.codec,
            "level": self.level,
            "tokens": self.tokens,
            "dtype": self.dtype,
            "geometry": self.geometry.as_list(),
        }


@dataclass(frozen=True)
class Task:
    """One chunk to encode or decode, as the plane coders see it.

    ``tools`` is what the codec prepared once for all planes.
    """

    level: str
    tokens: int
    geometry: Geometry
    dtype: str
    place: str
    tools: Any

    @property
    def float_type(self) -> str:
        """Type of scales and exact values on the wire."""
        return "<f2" if self.dtype == "float16" else "<f4"

    def side(self, values: np.ndarray) -> tuple[bytes, np.ndarray]:
        """Bytes of scales as they travel, and the float32 values that the decoder will see."""
        rounded = values.astype(self.float_type)
        return rounded.tobytes(), rounded.astype(np.float32)


class Codec(ABC):
    """Common part of all codecs: checks, levels, profiles, threads, the framing of the planes.

    Parameters
    ----------
    threads : int
        Planes coded at the same time; the compiled kernels release the GIL.
    """

    name: ClassVar[str]
    levels: ClassVar[tuple[str, ...]] = ("medium",)
    needs_profile: ClassVar[bool] = False

    def __init__(self, *, threads: int = 1) -> None:
        if threads < 1:
            raise ValueError(f"threads={threads}: at least one")
        self.threads = threads

    @property
    def options(self) -> dict[str, Any]:
        """Options that change the stream; JSON, in the container and in the profile."""
        return {}

    @property
    def default_level(self) -> str:
        """The level used where none is named."""
        return "medium"

    def fit(self, kvs: Sequence[Any], *, fingerprint: str = "") -> Profile | None:
        """Measure offline what the codec needs to know about a model; None if nothing.

        Parameters
        ----------
        kvs : sequence of KV caches
            Each of shape [layers, 2, tokens, heads, head_dim].
        fingerprint : str
            Of the model that made them.
        """
        return None

    def encode(
        self,
        kv: Any,
        *,
        level: str | None = None,
        profile: Profile | None = None,
        place: str = "whole",
    ) -> EncodedChunk:
        """Encode one chunk.

        Parameters
        ----------
        kv : ndarray or Tensor, shape [layers, 2, tokens, heads, head_dim]
            float16, bfloat16 or float32.
        level : str, optional
            One of ``levels``.
        profile : Profile, optional
            From :meth:`fit`; codecs with ``needs_profile`` refuse to work without.
        place : {"whole", "first", "middle", "last"}
            Where in its context the chunk stands. Some codecs keep a context's first or last
            tokens exact.

        Raises
        ------
        ValueError, TypeError
            For a KV cache, level or place that is not allowed.
        IncompatibleProfileError
            For a missing profile or another model's.
        """
        level = self.known_level(level)
        if place not in PLACES:
            raise ValueError(f"unknown place {place!r}{did_you_mean(place, PLACES)}")
        planes = as_planes(kv, profile.geometry if profile else None)
        task = self._task(level, planes.tokens, planes.geometry, planes.dtype, place, profile)
        parts = self._each(lambda p: self.encode_plane(planes.values[p], p, task), planes.geometry)
        payload = b"".join(piece for part in parts for piece in (_SIZE.pack(len(part)), part))
        return EncodedChunk(self.name, level, planes.tokens, planes.dtype, planes.geometry, payload)

    def decode(self, chunk: EncodedChunk, *, profile: Profile | None = None) -> np.ndarray:
        """Decode one chunk to [layers, 2, tokens, heads, head_dim].

        The result has the chunk's dtype; bfloat16 comes back as float32 (NumPy has none).

        Raises
        ------
        CorruptStreamError
            If the payload is damaged in a way that its structure shows (the container's CRC
            finds the rest).
        IncompatibleStreamError
            If another codec or level wrote it.
        IncompatibleProfileError
            For a missing profile or another model's.
        """
        g = chunk.geometry
        half = chunk.dtype == "float16"
        out = np.empty((g.planes, chunk.tokens, g.channels), np.float16 if half else np.float32)

        task, parts = self.opened(chunk, profile)
        self._each(lambda plane: self.decode_into(parts[plane], plane, task, out[plane]), g)
        return out.reshape(g.layers, 2, chunk.tokens, g.heads, g.head_dim)

    def decode_planes(
        self, chunk: EncodedChunk, *, profile: Profile | None = None
    ) -> Iterator[np.ndarray]:
        """Yield K and V of each layer in turn, float32 [tokens, channels], as they are decoded."""
        task, parts = self.opened(chunk, profile)
        for plane, part in enumerate(parts):
            yield self.decode_plane(part, plane, task)

    @abstractmethod
    def encode_plane(self, x: np.ndarray, plane: int, task: Task) -> bytes:
        """Encode float32 [tokens, channels]."""

    @abstractmethod
    def decode_plane(self, part: memoryview, plane: int, task: Task) -> np.ndarray:
        """Undo :meth:`encode_plane`; float32, contiguous."""

    def decode_into(self, part: memoryview, plane: int, task: Task, out: np.ndarray) -> None:
        """Decode one plane and cast it into ``out``, float16 or float32 [tokens, channels]."""
        x = self.decode_plane(part, plane, task)
        if task.dtype == "float16":
            halves.narrow(x.reshape(-1), out.view(np.uint16).reshape(-1))
        else:
            out[:] = halves.round_to_bfloat16(x) if task.dtype == "bfloat16" else x

    def prepare(self, level: str, geometry: Geometry, profile: Profile | None) -> Any:
        """Return what all planes of a chunk need; stored as ``task.tools``."""
        return None

    def known_level(self, level: str | None) -> str:
        """Return the level, or the default for None; ValueError with the allowed list."""
        if level is None:
            return self.default_level
        if level not in self.levels:
            raise ValueError(f"unknown level {level!r}{did_you_mean(level, self.levels)}")
        return level

    def _task(
        self,
        level: str,
        tokens: int,
        geometry: Geometry,
        dtype: str,
        place: str,
        profile: Profile | None,
    ) -> Task:
        if self.needs_profile:
            if profile is None:
                raise IncompatibleProfileError(
                    f"codec {self.name!r} needs a profile; make one with fit(kvs)"
                )
            profile.require(self.name, self.options, geometry)
        tools = self.prepare(level, geometry, profile)
        return Task(level, tokens, geometry, dtype, place, tools)

    def opened(self, chunk: EncodedChunk, profile: Profile | None) -> tuple[Task, list[memoryview]]:
        """Check that the chunk is this codec's and cut its payload into planes.

        Raises
        ------
        CorruptStreamError, IncompatibleStreamError, IncompatibleProfileError
            As :meth:`decode`.
        """
        if chunk.codec != self.name or chunk.level not in self.levels:
            raise IncompatibleStreamError(
                f"the chunk is {chunk.codec!r} at level {chunk.level!r}; "
                f"this is codec {self.name!r} with levels {', '.join(self.levels)}"
            )
        known_dtype(chunk.dtype)
        g = chunk.geometry
        task = self._task(chunk.level, chunk.tokens, g, chunk.dtype, "whole", profile)
        return task, _parts(chunk.payload, g.planes)

    def _each(self, work: Callable[[int], Any], geometry: Geometry) -> list[Any]:
        if self.threads == 1:
            return [work(plane) for plane in range(geometry.planes)]
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(work, range(geometry.planes)))


def place_of(first: bool, last: bool) -> str:
    """Name the place of a chunk that is, or is not, the first and the last of its context.

    Examples
    --------
    >>> place_of(True, True), place_of(False, False)
    ('whole', 'middle')
    """
    return "whole" if first and last else "first" if first else "last" if last else "middle"


def planes_of(kvs: Iterable[Any]) -> Iterator[Planes]:
    """Check a sequence of caches of one model.

    Raises
    ------
    ValueError
        If there are none, or of different shapes.
    """
    geometry = None
    for kv in kvs:
        planes = as_planes(kv, geometry)
        geometry = planes.geometry
        yield planes
    if geometry is None:
        raise ValueError("a profile needs at least one KV cache, got none")


def exactly(data: memoryview, size: int, what: str) -> memoryview:
    """Return ``data`` if it has ``size`` bytes, else raise CorruptStreamError."""
    if len(data) != size:
        raise CorruptStreamError(f"{what} must take {size} bytes, there are {len(data)}")
    return data


def _parts(payload: bytes, planes: int) -> list[memoryview]:
    view, parts, offset = memoryview(payload), [], 0
    for plane in range(planes):
        begin = offset + _SIZE.size
        end = begin + _SIZE.unpack_from(view, offset)[0] if begin <= len(view) else begin
        if end > len(view):
            raise CorruptStreamError(f"the stream ends inside plane {plane} of {planes}")
        parts.append(view[begin:end])
        offset = end
    if offset != len(view):
        raise CorruptStreamError(f"{len(view) - offset} bytes follow the last plane")
    return parts
