"""Arithmetic coder of Witten, Neal and Cleary (1987), as the released code uses it (brief 2.4).

32-bit low and high, 16-bit probabilities, carries resolved by pending bits. Beside rANS it is an
independent coder of the same symbols.
"""

from __future__ import annotations

import numpy as np
from numba import njit, uint64

_HALF = np.uint64(1 << 31)
_QUARTER = np.uint64(1 << 30)
_TOP = np.uint64((1 << 32) - 1)
_ONE = np.uint64(1)
PRECISION = 16


def largest_stream(tokens: int) -> int:
    """Bytes that a lane can take: 16 bits a symbol, and two bits with a byte's rest to end it."""
    return 2 * tokens + 8


@njit(cache=True, nogil=True, error_model="numpy")
def _put(bit, pending, out, at):
    """Append a bit and the pending opposite ones; ``at`` counts bits."""
    if bit:
        out[at >> 3] |= np.uint8(128 >> (at & 7))
    at += 1
    for _ in range(pending):
        if not bit:
            out[at >> 3] |= np.uint8(128 >> (at & 7))
        at += 1
    return at


@njit(cache=True, nogil=True, error_model="numpy")
def encode(symbols, cdf, out):
    """Encode one lane into zeroed bytes; return how many were used.

    Parameters
    ----------
    symbols : uint16 [tokens]
    cdf : int64 [alphabet + 1]
        Strictly increasing from 0 to 65,536.
    out : uint8 [largest_stream(tokens)]
        Zeros.
    """
    low, high, pending, at = uint64(0), _TOP, 0, 0
    for symbol in symbols:
        span = high - low + _ONE
        high = low + ((span * uint64(cdf[symbol + 1])) >> uint64(PRECISION)) - _ONE
        low = low + ((span * uint64(cdf[symbol])) >> uint64(PRECISION))
        while True:
            if high < _HALF:
                at = _put(False, pending, out, at)
                pending = 0
            elif low >= _HALF:
                at = _put(True, pending, out, at)
                pending = 0
                low -= _HALF
                high -= _HALF
            elif low >= _QUARTER and high < _HALF + _QUARTER:
                pending += 1
                low -= _QUARTER
                high -= _QUARTER
            else:
                break
            low <<= _ONE
            high = (high << _ONE) | _ONE
    at = _put(low >= _QUARTER, pending + 1, out, at)
    return (at + 7) >> 3


@njit(cache=True, nogil=True, error_model="numpy")
def decode(data, cdf, symbols):
    """Decode one lane into ``symbols``; zeros are read behind the end of ``data``."""
    low, high, value, at = uint64(0), _TOP, uint64(0), 0
    bits = 8 * len(data)
    for _ in range(32):
        value <<= _ONE
        if at < bits:
            value |= uint64((data[at >> 3] >> (7 - (at & 7))) & 1)
        at += 1
    for i in range(len(symbols)):
        span = high - low + _ONE
        target = (((value - low + _ONE) << uint64(PRECISION)) - _ONE) // span
        begin, end = 0, len(cdf) - 1
        while end - begin > 1:
            middle = (begin + end) >> 1
            if uint64(cdf[middle]) <= target:
                begin = middle
            else:
                end = middle
        symbols[i] = begin
        high = low + ((span * uint64(cdf[begin + 1])) >> uint64(PRECISION)) - _ONE
        low = low + ((span * uint64(cdf[begin])) >> uint64(PRECISION))
        while True:
            if high < _HALF:
                pass
            elif low >= _HALF:
                low -= _HALF
                high -= _HALF
                value -= _HALF
            elif low >= _QUARTER and high < _HALF + _QUARTER:
                low -= _QUARTER
                high -= _QUARTER
                value -= _QUARTER
            else:
                break
            low <<= _ONE
            high = (high << _ONE) | _ONE
            value <<= _ONE
            if at < bits:
                value |= uint64((data[at >> 3] >> (7 - (at & 7))) & 1)
            at += 1


@njit(cache=True, nogil=True, error_model="numpy")
def encode_lanes(symbols, cdfs, out, lengths):
    """Encode the columns of uint16 [tokens, lanes] one behind the other; return the bytes used."""
    total = 0
    scratch = np.empty(2 * symbols.shape[0] + 8, np.uint8)
    for lane in range(symbols.shape[1]):
        scratch[:] = 0
        used = encode(symbols[:, lane], cdfs[lane], scratch)
        for i in range(used):  # not as a slice, see `entropy._gather`
            out[total + i] = scratch[i]
        lengths[lane] = used
        total += used
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def decode_lanes(data, lengths, cdfs, symbols):
    """Undo :func:`encode_lanes`."""
    begin = 0
    for lane in range(symbols.shape[1]):
        decode(data[begin : begin + lengths[lane]], cdfs[lane], symbols[:, lane])
        begin += lengths[lane]
