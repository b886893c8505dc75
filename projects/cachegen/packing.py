"""Fixed-width bit packing and variable-length integers, compiled."""

from __future__ import annotations

import numpy as np
from numba import njit, uint8, uint16, uint64

from projects.cachegen.errors import CorruptStreamError

_LONGEST = 10  # bytes of a 64-bit varint


def pack(symbols: np.ndarray, width: int) -> bytes:
    """Pack non-negative symbols below 2^width, lowest bits first.

    Examples
    --------
    >>> pack(np.array([1, 2, 3]), 2).hex()
    '39'
    """
    symbols = np.ascontiguousarray(symbols, np.uint16).reshape(-1)
    out = np.zeros((len(symbols) * width + 7) // 8, np.uint8)
    if width:
        _pack(symbols, width, out)
    return out.tobytes()


def unpack(data: bytes | memoryview, count: int, width: int) -> np.ndarray:
    """Undo :func:`pack`; uint16 of shape (count,).

    Raises
    ------
    CorruptStreamError
        If ``data`` has another length than ``count`` symbols need.

    Examples
    --------
    >>> unpack(bytes.fromhex("39"), 3, 2).tolist()
    [1, 2, 3]
    """
    if len(data) != (count * width + 7) // 8:
        raise CorruptStreamError(f"{len(data)} bytes cannot hold {count} symbols of {width} bits")
    out = np.zeros(count, np.uint16)
    if width:
        _unpack(np.frombuffer(data, np.uint8), width, out)
    return out


def write_varints(values: np.ndarray) -> bytes:
    """Write integers as zigzag differences, seven bits a byte (small steps take one byte).

    Examples
    --------
    >>> write_varints(np.array([300, 301, 299])).hex()
    'd8040203'
    """
    values = np.ascontiguousarray(values, np.int64)
    out = np.empty(len(values) * _LONGEST, np.uint8)
    return out[: _write_varints(values, out)].tobytes()


def read_varints(data: bytes | memoryview, count: int) -> np.ndarray:
    """Undo :func:`write_varints`; int64 of shape (count,).

    Raises
    ------
    CorruptStreamError
        Unless ``data`` holds exactly ``count`` integers.

    Examples
    --------
    >>> read_varints(bytes.fromhex("d8040203"), 3).tolist()
    [300, 301, 299]
    """
    out = np.empty(count, np.int64)
    if _read_varints(np.frombuffer(data, np.uint8), out) != len(data):
        raise CorruptStreamError(f"{len(data)} bytes are not {count} variable-length integers")
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _pack(symbols, width, out):
    held, bits, place = uint64(0), 0, 0
    for symbol in symbols:
        held |= uint64(symbol) << uint64(bits)
        bits += width
        while bits >= 8:
            out[place] = uint8(held & uint64(255))
            place += 1
            held >>= uint64(8)
            bits -= 8
    if bits:
        out[place] = uint8(held & uint64(255))


@njit(cache=True, nogil=True, error_model="numpy")
def _unpack(data, width, out):
    mask = (uint64(1) << uint64(width)) - uint64(1)
    held, bits, place = uint64(0), 0, 0
    for i in range(len(out)):
        while bits < width:
            held |= uint64(data[place]) << uint64(bits)
            place += 1
            bits += 8
        out[i] = uint16(held & mask)
        held >>= uint64(width)
        bits -= width


@njit(cache=True, nogil=True, error_model="numpy")
def _write_varints(values, out):
    previous, place = np.int64(0), 0
    for value in values:
        step = value - previous
        previous = value
        rest = uint64((step << 1) ^ (step >> 63))
        while rest >= uint64(128):
            out[place] = uint8((rest & uint64(127)) | uint64(128))
            rest >>= uint64(7)
            place += 1
        out[place] = uint8(rest)
        place += 1
    return place


@njit(cache=True, nogil=True, error_model="numpy")
def _read_varints(data, out):
    previous, place = np.int64(0), 0
    for i in range(len(out)):
        value, shift = uint64(0), 0
        while True:
            if place >= len(data) or shift > 63:
                return -1
            byte = uint64(data[place])
            place += 1
            value |= (byte & uint64(127)) << uint64(shift)
            shift += 7
            if byte < uint64(128):
                break
        previous += np.int64(value >> uint64(1)) ^ -np.int64(value & uint64(1))
        out[i] = previous
    return place
