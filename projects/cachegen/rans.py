"""Interleaved rANS over lanes: one lane per (layer, K or V, channel), compiled.

State of 32 bits, renormalised by 16-bit words, probabilities of 12 bits (brief section 12). Each
lane is a stream of its own, so any number of them can be decoded side by side: four at once here,
which hides the latency of the table lookups, and one per thread on a GPU.

A symbol is a quantised value q. Values beyond the clip are coded by the escape symbol, the last
of the alphabet, followed by q itself as one 16-bit word. A lane begins with the state (high word
first) and ends with the state 2^16 at its last word, which the decoder checks.
"""

from __future__ import annotations

import numpy as np
from numba import njit, uint8, uint16, uint32, uint64

PROBABILITY_BITS = 12
TOTAL = 1 << PROBABILITY_BITS
MAX_SYMBOLS = 256
LOWEST = 1 << 16
_QUADS = 32  # fours of lanes whose values wait in the L2 cache, so that rows are filled at once
_EXACT = 44  # ceil(2^44 / f) divides every state below f << 20 exactly, for f < 2^12


@njit(cache=True, nogil=True, error_model="numpy")
def encode_lanes(q, rows, frequencies, clip, buffer, lengths, escapes):
    """Encode the columns of ``q`` from the last token to the first.

    Parameters
    ----------
    q : int16 [tokens, lanes]
    rows : int32 [lanes]
        Row of ``frequencies``, uint16 [tables, symbols], that each lane uses.
    clip : int
        Values of -clip..clip have symbols of their own.
    buffer : uint16 [lanes, 2 * tokens + 2]
        Filled from the end.
    lengths : int64 [lanes]
        Words of each lane.
    escapes : bool [lanes]
        Set where a value was escaped.
    """
    tokens, lanes = q.shape
    symbols = frequencies.shape[1]
    frequency = np.empty(symbols, np.uint32)
    begin = np.empty(symbols, np.uint32)
    inverse = np.empty(symbols, np.uint64)
    capacity = buffer.shape[1]
    escape = symbols - 1
    for lane in range(lanes):
        total = uint32(0)
        for s in range(symbols):
            f = uint32(frequencies[rows[lane], s])
            frequency[s] = f
            begin[s] = total
            inverse[s] = ((uint64(1) << uint64(_EXACT)) + uint64(f) - uint64(1)) // uint64(f)
            total = uint32(total + f)
        x = uint32(LOWEST)
        words = buffer[lane]
        p = uint64(capacity)
        escapes[lane] = False
        for i in range(tokens):
            value = q[tokens - 1 - i, lane]
            s = uint64(value + clip)
            if s >= uint64(escape):  # a negative sum wraps round and lands here too
                s = uint64(escape)
                p -= uint64(1)
                words[p] = uint16(value)
                escapes[lane] = True
            f = frequency[s]
            # Written whether needed or not: no branch to mispredict.
            words[p - uint64(1)] = uint16(x)
            full = uint32(x >> uint32(20)) >= f
            p -= uint64(full)
            x = uint32(x >> uint32(16)) if full else x
            quotient = uint32((uint64(x) * inverse[s]) >> uint64(_EXACT))
            x = uint32((quotient << uint32(12)) + (x - quotient * f) + begin[s])
        p -= uint64(1)
        words[p] = uint16(x)
        p -= uint64(1)
        words[p] = uint16(x >> uint32(16))
        lengths[lane] = capacity - int(p)


@njit(cache=True, nogil=True, inline="always")
def _prepare(row, values, slots, info, place):
    """Symbol of each of 4,096 slots, and (value, begin, frequency) of each symbol, for one lane."""
    position = 0
    for s in range(len(row)):
        f = row[s]
        slots[place * TOTAL + position : place * TOTAL + position + f] = uint8(s)
        info[place * MAX_SYMBOLS + s] = (
            uint64(f) | (uint64(position) << uint64(16)) | (uint64(uint16(values[s])) << uint64(32))
        )
        position += f


@njit(cache=True, nogil=True, inline="always", error_model="numpy")
def _start(words, start):
    high = uint32(words[uint64(start)])
    return uint32(high << uint32(16)) | uint32(words[uint64(start) + uint64(1)])


@njit(cache=True, nogil=True, inline="always", error_model="numpy")
def _step(x, p, words, slots, info, place):
    """Decode one value; return state, position and value."""
    slot = x & uint32(TOTAL - 1)
    s = slots[uint64(slot + uint32(place) * uint32(TOTAL))]
    entry = info[uint64(uint32(s) + uint32(place) * uint32(MAX_SYMBOLS))]
    begin = uint32(entry >> uint64(16)) & uint32(0xFFFF)
    x = uint32(uint32(entry & uint64(0xFFFF)) * (x >> uint32(PROBABILITY_BITS)) + slot - begin)
    longer = uint32((x << uint32(16)) | uint32(words[p]))
    short = x < uint32(LOWEST)
    x = longer if short else x
    return x, uint64(p + uint64(short)), np.int16(entry >> uint64(32))


@njit(cache=True, nogil=True, inline="always", error_model="numpy")
def _step_with_escapes(x, p, words, slots, info, place, escape):
    """As :func:`_step`, for lanes in which values stand in the stream."""
    s = slots[uint64((x & uint32(TOTAL - 1)) + uint32(place) * uint32(TOTAL))]
    x, p, value = _step(x, p, words, slots, info, place)
    # Selected, not branched: a branch here makes the compiler give up on the four-fold overlap.
    escaped = s == escape
    raw = np.int16(words[p])
    return x, uint64(p + uint64(escaped)), raw if escaped else value


@njit(cache=True, nogil=True, error_model="numpy")
def _place(block, lanes, columns, q):
    """Copy lanes decoded four by four, int16 [quads, tokens, 4], to their columns of ``q``.

    Writing 256 bytes of a row at once is faster than coming back to every row of ``q`` for each
    four lanes.
    """
    quads = lanes // 4
    for quad in range(quads):
        if columns[4 * quad + 3] - columns[4 * quad] != 3:
            quads = 0
    for i in range(uint64(q.shape[0])):
        for quad in range(uint64(quads)):
            k = uint64(columns[uint64(4) * quad])
            a, b = block[quad, i, 0], block[quad, i, 1]
            c, d = block[quad, i, 2], block[quad, i, 3]
            q[i, k] = a
            q[i, k + uint64(1)] = b
            q[i, k + uint64(2)] = c
            q[i, k + uint64(3)] = d
    for lane in range(4 * quads, lanes):
        for i in range(q.shape[0]):
            q[i, columns[lane]] = block[lane // 4, i, lane % 4]


@njit(cache=True, nogil=True, error_model="numpy")
def _four(words, starts, lengths, slots, info, escape, out):
    """Decode four lanes with prepared tables into int16 [tokens, 4]; count the damaged.

    ``escape`` is None for lanes without escapes: the compiler then drops the branch, which a flag
    would leave in the loop.
    """
    xa, xb = _start(words, starts[0]), _start(words, starts[1])
    xc, xd = _start(words, starts[2]), _start(words, starts[3])
    pa, pb = uint64(starts[0] + 2), uint64(starts[1] + 2)
    pc, pd = uint64(starts[2] + 2), uint64(starts[3] + 2)
    for i in range(uint64(out.shape[0])):
        if escape is None:
            xa, pa, va = _step(xa, pa, words, slots, info, 0)
            out[i, 0] = va
            xb, pb, vb = _step(xb, pb, words, slots, info, 1)
            out[i, 1] = vb
            xc, pc, vc = _step(xc, pc, words, slots, info, 2)
            out[i, 2] = vc
            xd, pd, vd = _step(xd, pd, words, slots, info, 3)
            out[i, 3] = vd
        else:
            xa, pa, va = _step_with_escapes(xa, pa, words, slots, info, 0, escape)
            out[i, 0] = va
            xb, pb, vb = _step_with_escapes(xb, pb, words, slots, info, 1, escape)
            out[i, 1] = vb
            xc, pc, vc = _step_with_escapes(xc, pc, words, slots, info, 2, escape)
            out[i, 2] = vc
            xd, pd, vd = _step_with_escapes(xd, pd, words, slots, info, 3, escape)
            out[i, 3] = vd
    good = 0
    for k, x, p in ((0, xa, pa), (1, xb, pb), (2, xc, pc), (3, xd, pd)):
        good += x == uint32(LOWEST) and int(p) == starts[k] + lengths[k]
    return 4 - good


@njit(cache=True, nogil=True, error_model="numpy")
def _decode(words, starts, lengths, columns, rows, frequencies, values, q, escape):
    lanes = len(columns)
    slots = np.empty(4 * TOTAL, np.uint8)
    info = np.empty(4 * MAX_SYMBOLS, np.uint64)
    block = np.empty((_QUADS, q.shape[0], 4), np.int16)
    begins, sizes = np.empty(4, np.int64), np.empty(4, np.int64)
    damaged = 0
    for first in range(0, lanes, 4 * _QUADS):
        count = min(lanes - first, 4 * _QUADS)
        for quad in range((count + 3) // 4):
            for place in range(4):
                # At the end of the lanes the last one is decoded again in the idle places.
                lane = min(first + 4 * quad + place, lanes - 1)
                _prepare(frequencies[rows[lane]], values[lane], slots, info, place)
                begins[place], sizes[place] = starts[lane], lengths[lane]
            damaged += _four(words, begins, sizes, slots, info, escape, block[quad])
        _place(block, count, columns[first : first + count], q)
    return damaged


def decode_lanes(
    words: np.ndarray,
    starts: np.ndarray,
    lengths: np.ndarray,
    columns: np.ndarray,
    rows: np.ndarray,
    frequencies: np.ndarray,
    values: np.ndarray,
    q: np.ndarray,
    escapes: bool,
) -> int:
    """Decode lanes four at a time into columns of ``q``; return how many are damaged.

    Parameters
    ----------
    words : uint16
        At least 2 * tokens + 2 words follow the start of every lane (pad with zeros), so that a
        damaged lane reads no foreign memory.
    starts, lengths : int64 [lanes]
        Where each lane begins and how many words it has.
    columns : int64 [lanes]
        Column of ``q``, int16 [tokens, channels], that each lane fills.
    rows : int32 [lanes]
        Row of ``frequencies``, uint16 [tables, symbols].
    values : int16 [lanes, symbols]
        What is written for each symbol: s - clip, or the bits of a dequantised float16.
    escapes : bool
        Whether a lane may hold values in the stream itself; a decoder without is faster.
    """
    escape = np.uint8(frequencies.shape[1] - 1) if escapes else None
    return _decode(words, starts, lengths, columns, rows, frequencies, values, q, escape)
