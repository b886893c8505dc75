"""The header of a stream, and what may be read by it: parsed, and checked before use.

The format is that of :mod:`projects.cachegen.container`. A client that has the header can ask a
server for any (chunk, level) by a byte range, and check what comes.
"""

from __future__ import annotations

import json
import struct
import zlib
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from pydantic import Field, ValidationError

from common.schema import Model
from projects.cachegen.errors import (
    CorruptStreamError,
    IncompatibleProfileError,
    IncompatibleStreamError,
)
from projects.cachegen.interface import EncodedChunk
from projects.cachegen.profile import Profile
from projects.cachegen.tensors import DTYPES, Geometry

MAGIC = b"KVG1"
VERSION = 1
MAX_HEADER = 1 << 24
MAX_ELEMENTS = 1 << 31  # of one chunk: a header cannot make a decoder take more memory
PREFIX = struct.Struct("<4sHI")
CRC = struct.Struct("<I")
FRAME = struct.Struct("<IHIQ")
OVERHEAD = FRAME.size + CRC.size

_Count = Annotated[int, Field(ge=1, lt=1 << 31, strict=True)]
_Name = Annotated[str, Field(max_length=200)]


class Record(Model):
    """Where one chunk at one level stands: its size with frame, and its checksum."""

    bytes: Annotated[int, Field(ge=OVERHEAD, lt=1 << 48, strict=True)]
    crc: Annotated[int, Field(ge=0, lt=1 << 32, strict=True)]


class ChunkEntry(Model):
    """One chunk: its tokens, and a record for each level."""

    tokens: _Count
    records: tuple[Record, ...]


class Header(Model):
    """Everything about a stream but its payloads."""

    fingerprint: _Name
    layers: _Count
    kv_heads: _Count
    head_dim: _Count
    dtype: _Name
    tokens: _Count
    chunk_tokens: _Count
    codec: _Name
    options: dict[str, Any]
    profile: _Name | None
    levels: tuple[_Name, ...]
    chunks: tuple[ChunkEntry, ...]

    @property
    def geometry(self) -> Geometry:
        """Layers, heads and head size."""
        return Geometry(self.layers, self.kv_heads, self.head_dim)

    @cached_property
    def packed(self) -> bytes:
        """The header as it stands in the file, from the magic to its checksum."""
        text = json.dumps(self.model_dump(), separators=(",", ":")).encode()
        if len(text) > MAX_HEADER:
            raise ValueError(f"a header of {len(text)} bytes; at most {MAX_HEADER}: fewer chunks")
        head = PREFIX.pack(MAGIC, VERSION, len(text)) + text
        return head + CRC.pack(zlib.crc32(head))

    def level_number(self, level: str) -> int:
        """Place of a level; ValueError with the allowed ones."""
        if level not in self.levels:
            raise ValueError(f"no level {level!r} here; allowed: {', '.join(self.levels)}")
        return self.levels.index(level)

    def size(self, chunk: int, level: str) -> int:
        """Bytes of one record."""
        return self._entry(chunk).records[self.level_number(level)].bytes

    def span(self, chunk: int, level: str) -> tuple[int, int]:
        """First byte of a record in the file, and the byte behind its last."""
        number = self.level_number(level)
        self._entry(chunk)
        begin = self._begins[chunk * len(self.levels) + number]
        return begin, begin + self.size(chunk, level)

    @property
    def file_bytes(self) -> int:
        """Size of the whole file."""
        return self._begins[-1]

    @cached_property
    def _begins(self) -> list[int]:
        sizes = [record.bytes for entry in self.chunks for record in entry.records]
        return (np.cumsum([0, *sizes], dtype=np.int64) + len(self.packed)).tolist()

    def _entry(self, chunk: int) -> ChunkEntry:
        if not 0 <= chunk < len(self.chunks):
            raise ValueError(f"no chunk {chunk}; there are {len(self.chunks)}")
        return self.chunks[chunk]

    def require(
        self,
        *,
        fingerprint: str | None = None,
        chunk_tokens: int | None = None,
        geometry: Geometry | None = None,
        profile: Profile | None = None,
    ) -> None:
        """Raise unless the stream fits what the caller has; None leaves a thing unchecked.

        Raises
        ------
        IncompatibleStreamError
            For another model, shape or chunk size.
        IncompatibleProfileError
            For another profile, or none where one is needed.
        """
        for what, have, want in (
            ("model fingerprint", self.fingerprint, fingerprint),
            ("chunk size", self.chunk_tokens, chunk_tokens),
            ("shape", self.geometry, geometry),
        ):
            if want is not None and have != want:
                raise IncompatibleStreamError(f"the stream's {what} is {have}, expected {want}")
        if profile is not None and profile.id != self.profile:
            raise IncompatibleProfileError(
                f"the stream was coded with profile {self.profile}, this is {profile.id}"
            )


def header_bytes(prefix: bytes) -> int:
    """Bytes from the start of a file to the end of its header, told by its first 10 bytes.

    Raises
    ------
    CorruptStreamError
        If this is no such file.
    IncompatibleStreamError
        If it is of another version.
    """
    if len(prefix) < PREFIX.size:
        raise CorruptStreamError(f"{len(prefix)} bytes are no stream; the prefix alone has 10")
    magic, version, length = PREFIX.unpack_from(prefix)
    if magic != MAGIC:
        raise CorruptStreamError(f"a stream begins with {MAGIC!r}, this with {magic!r}")
    if version != VERSION:
        raise IncompatibleStreamError(f"the stream has version {version}, known is {VERSION}")
    if length > MAX_HEADER:
        raise CorruptStreamError(f"a header of {length} bytes; at most {MAX_HEADER}")
    return PREFIX.size + length + CRC.size


def read_header(data: bytes | memoryview) -> Header:
    """Parse and check a header; ``data`` may go on behind it.

    Raises
    ------
    CorruptStreamError
        If it is truncated, its checksum is wrong or its entries contradict each other.
    IncompatibleStreamError
        If it is of another version, or its chunks are too large for this decoder.
    """
    data = memoryview(data)
    end = header_bytes(bytes(data[: PREFIX.size]))
    if len(data) < end:
        raise CorruptStreamError(f"the header has {end} bytes, the stream {len(data)}")
    head = data[: end - CRC.size]
    if zlib.crc32(head) != CRC.unpack_from(data, len(head))[0]:
        raise CorruptStreamError("the header's checksum is wrong")
    try:
        header = Header.model_validate_json(bytes(head[PREFIX.size :]))
    except ValidationError as error:
        raise CorruptStreamError(f"the header is not one of this version: {error}") from error
    check(header, end)
    return header


def read_record(header: Header, chunk: int, level: str, record: bytes | memoryview) -> EncodedChunk:
    """Check one record, as a range request returns it, and return its chunk.

    Raises
    ------
    CorruptStreamError
        If it is truncated, damaged, or another chunk's or level's.
    """
    data = memoryview(record)
    number = header.level_number(level)
    begin, end = header.span(chunk, level)
    if len(data) != end - begin:
        raise CorruptStreamError(f"chunk {chunk} has {end - begin} bytes, got {len(data)}")
    body = data[: -CRC.size]
    crc = zlib.crc32(body)
    entry = header.chunks[chunk]
    if crc != CRC.unpack_from(data, len(body))[0] or crc != entry.records[number].crc:
        raise CorruptStreamError(f"the checksum of chunk {chunk}, level {level!r}, is wrong")
    frame = (chunk, number, entry.tokens, len(body) - FRAME.size)
    if FRAME.unpack_from(body) != frame:
        raise CorruptStreamError(f"this is not chunk {chunk} at level {level!r}")
    payload = bytes(body[FRAME.size :])
    return EncodedChunk(header.codec, level, entry.tokens, header.dtype, header.geometry, payload)


def check(header: Header, end: int) -> None:
    """Refuse a header that contradicts itself or asks for too much memory."""
    if header.dtype not in DTYPES:
        raise IncompatibleStreamError(f"unknown type {header.dtype!r}; known: {', '.join(DTYPES)}")
    if len(header.packed) != end:
        raise CorruptStreamError("the header is not written as this version writes it")
    levels = len(header.levels)
    if not header.chunks or not levels or len(set(header.levels)) != levels:
        raise CorruptStreamError("the header names no chunk, or levels twice")
    if any(len(entry.records) != levels for entry in header.chunks):
        raise CorruptStreamError("a chunk has not as many records as there are levels")
    sizes = [entry.tokens for entry in header.chunks]
    full = all(size == header.chunk_tokens for size in sizes[:-1])
    if not full or sizes[-1] > header.chunk_tokens or sum(sizes) != header.tokens:
        raise CorruptStreamError(
            f"{len(sizes)} chunks of {header.chunk_tokens} tokens cannot hold {header.tokens}"
        )
    elements = max(sizes) * header.geometry.planes * header.geometry.channels
    if elements > MAX_ELEMENTS:
        raise IncompatibleStreamError(f"a chunk of {elements} values; at most {MAX_ELEMENTS}")
