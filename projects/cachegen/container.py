"""The file and wire format: chunks at several levels, each of them decodable on its own.

Little endian. ``crc32`` is zlib's (IEEE 802.3)::

    "KVG1" | u16 version | u32 header bytes | header, JSON | u32 crc32 of all before
    for each chunk, for each level:
        u32 chunk | u16 level | u32 tokens | u64 payload bytes | payload | u32 crc32 of the record

The header names the model, the shape, the codec with its options, the profile, and the size and
checksum of every record, so a client that has it can ask a server for any (chunk, level) by a
byte range. Anchors and lanes never cross a chunk.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, ValidationError

from common.schema import Model
from projects.cachegen.codecs import codec as codec_by_name
from projects.cachegen.errors import (
    CorruptStreamError,
    IncompatibleProfileError,
    IncompatibleStreamError,
)
from projects.cachegen.interface import Codec, EncodedChunk, place_of
from projects.cachegen.profile import Profile
from projects.cachegen.tensors import DTYPES, Geometry, stacked

MAGIC = b"KVG1"
VERSION = 1
CHUNK_TOKENS = 1500
MAX_HEADER = 1 << 24
MAX_ELEMENTS = 1 << 31  # of one chunk: a header cannot make a decoder take more memory
PREFIX = struct.Struct("<4sHI")
_CRC = struct.Struct("<I")
_RECORD = struct.Struct("<IHIQ")
_OVERHEAD = _RECORD.size + _CRC.size

_Count = Annotated[int, Field(ge=1, lt=1 << 31, strict=True)]
_Name = Annotated[str, Field(max_length=200)]


class Record(Model):
    """Where one chunk at one level stands: its size with frame, and its checksum."""

    bytes: Annotated[int, Field(ge=_OVERHEAD, lt=1 << 48, strict=True)]
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
        return head + _CRC.pack(zlib.crc32(head))

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
    return PREFIX.size + length + _CRC.size


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
    head = data[: end - _CRC.size]
    if zlib.crc32(head) != _CRC.unpack_from(data, len(head))[0]:
        raise CorruptStreamError("the header's checksum is wrong")
    try:
        header = Header.model_validate_json(bytes(head[PREFIX.size :]))
    except ValidationError as error:
        raise CorruptStreamError(f"the header is not one of this version: {error}") from error
    _check(header, end)
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
    body = data[: -_CRC.size]
    crc = zlib.crc32(body)
    entry = header.chunks[chunk]
    if crc != _CRC.unpack_from(data, len(body))[0] or crc != entry.records[number].crc:
        raise CorruptStreamError(f"the checksum of chunk {chunk}, level {level!r}, is wrong")
    frame = (chunk, number, entry.tokens, len(body) - _RECORD.size)
    if _RECORD.unpack_from(body) != frame:
        raise CorruptStreamError(f"this is not chunk {chunk} at level {level!r}")
    payload = bytes(body[_RECORD.size :])
    return EncodedChunk(header.codec, level, entry.tokens, header.dtype, header.geometry, payload)


def pack(
    chunks: Sequence[Mapping[str, EncodedChunk]],
    *,
    codec: Codec,
    fingerprint: str,
    chunk_tokens: int,
    profile: Profile | None = None,
) -> bytes:
    """Put encoded chunks into one stream.

    Parameters
    ----------
    chunks : sequence of dict of EncodedChunk
        In the order of the context; each maps the same levels, least lossy first.
    codec : Codec
        That encoded them.
    fingerprint : str
        Of the model.
    chunk_tokens : int
        Tokens of all chunks but the last.
    profile : Profile, optional
        That they were encoded with.
    """
    if not chunks or not chunks[0]:
        raise ValueError("a stream holds at least one chunk at one level")
    levels = tuple(chunks[0])
    first = chunks[0][levels[0]]
    entries, bodies = [], []
    for number, chunk in enumerate(chunks):
        if tuple(chunk) != levels:
            raise ValueError(f"chunk {number} has the levels {tuple(chunk)}, chunk 0 {levels}")
        records = []
        for place, encoded in enumerate(chunk.values()):
            _same(encoded, first, chunk[levels[0]].tokens, number)
            frame = _RECORD.pack(number, place, encoded.tokens, encoded.nbytes)
            crc = zlib.crc32(encoded.payload, zlib.crc32(frame))
            bodies += [frame, encoded.payload, _CRC.pack(crc)]
            records.append(Record(bytes=encoded.nbytes + _OVERHEAD, crc=crc))
        entries.append(ChunkEntry(tokens=chunk[levels[0]].tokens, records=tuple(records)))
    header = Header(
        fingerprint=fingerprint,
        layers=first.geometry.layers,
        kv_heads=first.geometry.heads,
        head_dim=first.geometry.head_dim,
        dtype=first.dtype,
        tokens=sum(entry.tokens for entry in entries),
        chunk_tokens=chunk_tokens,
        codec=codec.name,
        options=codec.options,
        profile=profile.id if profile and codec.needs_profile else None,
        levels=levels,
        chunks=tuple(entries),
    )
    packed = b"".join([header.packed, *bodies])
    _check(header, len(header.packed))
    return packed


def encode_context(
    kv: Any,
    codec: Codec,
    *,
    levels: Sequence[str] | None = None,
    chunk_tokens: int = CHUNK_TOKENS,
    fingerprint: str = "",
    profile: Profile | None = None,
) -> bytes:
    """Cut a context into chunks, encode each at each level, and return the stream.

    Parameters
    ----------
    kv : ndarray or Tensor, shape [layers, 2, tokens, heads, head_dim]
    codec : Codec
    levels : sequence of str, optional
        Least lossy first; by default all of the codec's.
    chunk_tokens : int
        The last chunk may be shorter.
    fingerprint : str
        Of the model.
    profile : Profile, optional
        From ``codec.fit``.

    Examples
    --------
    >>> from projects.cachegen.codecs import codec
    >>> kv = np.ones((2, 2, 5, 1, 4), np.float16)
    >>> stream = Container(encode_context(kv, codec("uniform8"), chunk_tokens=2))
    >>> len(stream.header.chunks), stream.decode().shape
    (3, (2, 2, 5, 1, 4))
    """
    if chunk_tokens < 1:
        raise ValueError(f"chunk_tokens={chunk_tokens}: at least one")
    levels = tuple(codec.levels if levels is None else levels)
    kv = stacked(kv)
    tokens = kv.shape[2] if len(kv.shape) > 2 else 0
    starts = range(0, max(tokens, 1), chunk_tokens)
    chunks = []
    for start in starts:
        part = kv[:, :, start : start + chunk_tokens] if tokens else kv
        place = place_of(start == 0, start == starts[-1])
        chunks.append(
            {
                level: codec.encode(part, level=level, profile=profile, place=place)
                for level in levels
            }
        )
    return pack(
        chunks, codec=codec, fingerprint=fingerprint, chunk_tokens=chunk_tokens, profile=profile
    )


@dataclass(frozen=True)
class Container:
    """A whole stream in memory.

    Parameters
    ----------
    data : bytes or memoryview

    Raises
    ------
    CorruptStreamError, IncompatibleStreamError
        From :func:`read_header`; also if the file's length is not what its header says.
    """

    data: bytes | memoryview

    def __post_init__(self) -> None:
        if len(self.data) != self.header.file_bytes:
            raise CorruptStreamError(
                f"the stream has {len(self.data)} bytes, its header says {self.header.file_bytes}"
            )

    @classmethod
    def open(cls, path: str | Path) -> Container:
        """Read a file."""
        return cls(Path(path).read_bytes())

    @cached_property
    def header(self) -> Header:
        """The checked header."""
        return read_header(self.data)

    def chunk(self, number: int, level: str) -> EncodedChunk:
        """Return one checked record as a chunk."""
        begin, end = self.header.span(number, level)
        return read_record(self.header, number, level, memoryview(self.data)[begin:end])

    def verify(self) -> None:
        """Check every record; raises CorruptStreamError."""
        for number in range(len(self.header.chunks)):
            for level in self.header.levels:
                self.chunk(number, level)

    def decode(
        self, level: str | Sequence[str] | None = None, *, profile: Profile | None = None
    ) -> np.ndarray:
        """Decode the context to [layers, 2, tokens, heads, head_dim].

        Parameters
        ----------
        level : str or sequence of str, optional
            For all chunks or for each; by default the first, least lossy one.
        profile : Profile, optional
            The one that the stream names.
        """
        header = self.header
        if level is None or isinstance(level, str):
            level = [level or header.levels[0]] * len(header.chunks)
        if len(level) != len(header.chunks):
            raise ValueError(f"{len(level)} levels for {len(header.chunks)} chunks")
        header.require(profile=profile if header.profile else None)
        codec = codec_of(header)
        parts = [
            codec.decode(self.chunk(number, name), profile=profile)
            for number, name in enumerate(level)
        ]
        return np.concatenate(parts, axis=2)


def codec_of(header: Header) -> Codec:
    """Return the codec that a header names, with its options.

    Raises
    ------
    IncompatibleStreamError
        If this version does not know the codec or the options.
    """
    try:
        made = codec_by_name(header.codec, **header.options)
    except (ValueError, TypeError, AttributeError) as error:
        raise IncompatibleStreamError(f"cannot decode this stream: {error}") from error
    # Options that are no part of the stream, such as threads, are not for a file to set.
    if made.options != header.options:
        raise IncompatibleStreamError(
            f"cannot decode this stream: options {header.options}, known are {made.options}"
        )
    if not set(header.levels) <= set(made.levels):
        raise IncompatibleStreamError(
            f"the stream has the levels {header.levels}, codec {made.name!r} {made.levels}"
        )
    return made


def _same(encoded: EncodedChunk, first: EncodedChunk, tokens: int, number: int) -> None:
    have = (encoded.codec, encoded.geometry, encoded.dtype, encoded.tokens)
    want = (first.codec, first.geometry, first.dtype, tokens)
    if have != want:
        raise ValueError(f"chunk {number} is {have}, the stream {want}")


def _check(header: Header, end: int) -> None:
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
