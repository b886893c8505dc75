"""Quantised planes to bytes and back: rANS lanes, raw lanes where a table does not fit.

A section holds one array q [tokens, channels] with one lane per channel::

    u32 bytes of the lane lengths | u32 words | lane lengths | words (u16)

The lane lengths are varints of differences, each times four plus the lane's kind: 0 for rANS
without escapes, 2 for rANS with, 1 for a raw lane. A raw lane is one word with its width w and
then w-bit zigzag values, so however badly a table fits, a lane takes at most 1 + tokens words.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numba import njit, uint16, uint64

from projects.cachegen import packing, rans
from projects.cachegen.errors import CorruptStreamError
from projects.cachegen.tables import Tables

PLAIN, RAW, ESCAPES = 0, 1, 2
_HEAD = struct.Struct("<II")


@dataclass(frozen=True)
class Lanes:
    """One section, parsed but not decoded.

    ``words`` uint16, padded with zeros; ``starts``, ``lengths`` and ``kinds`` int64 have one entry
    per channel. This is what a decoder for another device works on.
    """

    words: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    kinds: np.ndarray

    @property
    def raw(self) -> np.ndarray:
        """Lanes that are no rANS, bool."""
        return self.kinds == RAW


def largest_section(tokens: int, channels: int) -> int:
    """Bytes that a section can take at most, whatever the tables."""
    return _HEAD.size + channels * (10 + 2 * (1 + tokens))


def encode_section(q: np.ndarray, tables: Tables, plane: int) -> bytes:
    """Encode quantised values with the tables of one plane.

    Parameters
    ----------
    q : ndarray of int16, shape (tokens, channels)
    tables : Tables
    plane : int
        Row of ``tables.index``.

    Returns
    -------
    bytes
        A section, at most :func:`largest_section` long.
    """
    tokens, channels = q.shape
    buffer = np.empty((channels, 2 * tokens + 2), np.uint16)
    lengths = np.empty(channels, np.int64)
    rows = tables.index[plane]
    escapes = np.empty(channels, np.bool_)
    rans.encode_lanes(q, rows, tables.frequencies, tables.clip, buffer, lengths, escapes)
    widths = _widths(q)
    raw_lengths = 1 + (tokens * widths + 15) // 16
    raw = raw_lengths < lengths
    kinds = np.where(raw, RAW, np.where(escapes, ESCAPES, PLAIN))
    marked = (np.where(raw, raw_lengths, lengths) << 2) | kinds
    words = np.zeros(int((marked >> 2).sum()), np.uint16)
    _gather(q, buffer, marked, widths, words)
    head = packing.write_varints(marked)
    return _HEAD.pack(len(head), len(words)) + head + words.astype("<u2", copy=False).tobytes()


def read_section(data: memoryview, offset: int, tokens: int, channels: int) -> tuple[Lanes, int]:
    """Parse the section at ``offset``; return its lanes and where it ends.

    Raises
    ------
    CorruptStreamError
        If it is shorter than it says or its lane lengths do not add up.
    """
    begin = offset + _HEAD.size
    if begin > len(data):
        raise CorruptStreamError("the stream ends inside the head of a section")
    head, words = _HEAD.unpack_from(data, offset)
    middle, end = begin + head, begin + head + 2 * words
    if end > len(data):
        raise CorruptStreamError(f"a section ends at byte {end}, the stream at {len(data)}")
    marked = packing.read_varints(data[begin:middle], channels)
    lengths, kinds = marked >> 2, marked & 3
    allowed = (lengths >= np.where(kinds == RAW, 1, 2)) & (lengths <= 2 + 2 * tokens) & (kinds < 3)
    if not allowed.all() or lengths.sum() != words:
        raise CorruptStreamError("the lane lengths of a section do not add up to its size")
    padded = np.zeros(words + 2 * tokens + 2, np.uint16)
    padded[:words] = np.frombuffer(data[middle:end], "<u2")
    return Lanes(padded, np.cumsum(lengths) - lengths, lengths, kinds), end


def decode_lanes(
    lanes: Lanes,
    q: np.ndarray,
    tables: Tables,
    plane: int,
    values: np.ndarray | None = None,
) -> np.ndarray:
    """Decode into ``q``, int16 [tokens, channels].

    Parameters
    ----------
    values : ndarray of int16, shape (channels, symbols), optional
        What to write for each symbol instead of its value, such as the bits of a float16.

    Returns
    -------
    ndarray of bool, shape (channels,)
        Columns that hold values although ``values`` are given: raw lanes and those with escapes.

    Raises
    ------
    CorruptStreamError
        If a lane does not end where and as it should.
    """
    channels, clip = q.shape[1], tables.clip
    own = np.broadcast_to(np.arange(-clip, clip + 2, dtype=np.int16), (channels, 2 * clip + 2))
    damaged = _read_raw(lanes.words, lanes.starts, lanes.lengths, np.flatnonzero(lanes.raw), q)
    for kind, written in ((PLAIN, own if values is None else values), (ESCAPES, own)):
        columns = np.flatnonzero(lanes.kinds == kind)
        if len(columns):
            damaged += rans.decode_lanes(
                lanes.words,
                lanes.starts[columns],
                lanes.lengths[columns],
                columns,
                tables.index[plane, columns],
                tables.frequencies,
                written[columns],
                q,
                kind == ESCAPES,
            )
    if damaged:
        raise CorruptStreamError(
            f"lanes of plane {plane} do not end as they should; "
            "the stream is damaged or was coded with other tables"
        )
    return lanes.kinds != PLAIN


def decode_section(data: memoryview, offset: int, q: np.ndarray, tables: Tables, plane: int) -> int:
    """Parse and decode the section at ``offset`` into ``q``; return where it ends."""
    lanes, end = read_section(data, offset, *q.shape)
    decode_lanes(lanes, q, tables, plane)
    return end


@njit(cache=True, nogil=True, error_model="numpy")
def _widths(q):
    """Bits of the largest zigzag value of each column."""
    largest = np.zeros(q.shape[1], np.int32)
    for i in range(q.shape[0]):
        for c in range(q.shape[1]):
            value = np.int32(q[i, c])
            largest[c] |= (value << 1) ^ (value >> 31)
    widths = np.zeros(q.shape[1], np.int64)
    for c in range(q.shape[1]):
        while largest[c] >> widths[c]:
            widths[c] += 1
    return widths


@njit(cache=True, nogil=True, error_model="numpy")
def _gather(q, buffer, marked, widths, words):
    """Put the lanes one behind the other; raw lanes are packed on the way."""
    place = 0
    for c in range(len(marked)):
        length = marked[c] >> 2
        if marked[c] & 3 == RAW:
            words[place] = uint16(widths[c])
            held, bits, at = uint64(0), 0, place + 1
            for i in range(q.shape[0]):
                value = np.int32(q[i, c])
                held |= uint64((value << 1) ^ (value >> 31)) << uint64(bits)
                bits += widths[c]
                if bits >= 16:
                    words[at] = uint16(held)
                    at += 1
                    held >>= uint64(16)
                    bits -= 16
            if bits:
                words[at] = uint16(held)
        else:
            # By the word: for a slice, numba compiles a message about unequal shapes, 4 s long.
            for i in range(length):
                words[place + i] = buffer[c, buffer.shape[1] - length + i]
        place += length


@njit(cache=True, nogil=True, error_model="numpy")
def _read_raw(words, starts, lengths, columns, q):
    damaged = 0
    for c in columns:
        width = int(words[starts[c]])
        if width > 16 or lengths[c] != 1 + (q.shape[0] * width + 15) // 16:
            damaged += 1
            continue
        mask = (uint64(1) << uint64(width)) - uint64(1)
        held, bits, at = uint64(0), 0, starts[c] + 1
        for i in range(q.shape[0]):
            if bits < width:
                held |= uint64(words[at]) << uint64(bits)
                at += 1
                bits += 16
            value = np.int32(held & mask)
            held >>= uint64(width)
            bits -= width
            q[i, c] = np.int16((value >> 1) ^ -(value & 1))
    return damaged
