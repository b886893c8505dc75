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

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from projects.cachegen.codecs import codec as codec_by_name
from projects.cachegen.errors import CorruptStreamError, IncompatibleStreamError
from projects.cachegen.header import (
    CRC,
    FRAME,
    OVERHEAD,
    ChunkEntry,
    Header,
    Record,
    check,
    read_header,
    read_record,
)
from projects.cachegen.interface import Codec, EncodedChunk, place_of
from projects.cachegen.profile import Profile
from projects.cachegen.tensors import stacked

CHUNK_TOKENS = 1500


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
            frame = FRAME.pack(number, place, encoded.tokens, encoded.nbytes)
            crc = zlib.crc32(encoded.payload, zlib.crc32(frame))
            bodies += [frame, encoded.payload, CRC.pack(crc)]
            records.append(Record(bytes=encoded.nbytes + OVERHEAD, crc=crc))
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
    check(header, len(header.packed))
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
