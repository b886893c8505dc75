"""float16 and bfloat16 bits to float32 and back, compiled.

NumPy converts halves one by one at about 200 million a second, slower than the entropy decoder.
These loops use integer arithmetic that a compiler turns into vector instructions on any machine.
"""

from __future__ import annotations

import numpy as np
from numba import njit, uint16, uint32

# Multiplying by 2^112 turns a half's exponent (bias 15) into a float's (bias 127), subnormals too.
_REBIAS = np.float32(2.0**112)
_INFINITE_HALF = np.uint32(0x7C00)
_SMALLEST_NORMAL = np.uint32(0x38800000)  # 2^-14 as float32
_TOO_LARGE = np.uint32(0x477FF000)  # 65520, which would round to infinity
_INFINITE = np.uint32(0x7F800000)
# Adding 0.5 moves a subnormal half's bits to the end of the mantissa, rounded to nearest even.
_MAGIC = np.float32(0.5)
_MAGIC_BITS = np.uint32(0x3F000000)


@njit(cache=True, nogil=True, error_model="numpy")
def widen(half, single):
    """Write float16 bits, uint16 (n,), as float32 (n,); return how many are not finite."""
    bits = single.view(np.uint32)
    bad = 0
    for i in range(len(half)):
        h = uint32(half[i])
        bits[i] = uint32((h & uint32(0x7FFF)) << uint32(13))
        bad += (h & _INFINITE_HALF) == _INFINITE_HALF
    for i in range(len(half)):
        single[i] *= _REBIAS
    for i in range(len(half)):
        bits[i] |= uint32((uint32(half[i]) & uint32(0x8000)) << uint32(16))
    return bad


@njit(cache=True, nogil=True, error_model="numpy")
def narrow(single, half):
    """Write float32 (n,) as float16 bits, uint16 (n,), rounded to nearest even.

    What is too large becomes the largest half, 65,504: a cache holds no infinities, so a decoder
    must not make any by rounding. NaN stays NaN.
    """
    bits = single.view(np.uint32)
    scratch = np.empty(1, np.float32)
    scratch_bits = scratch.view(np.uint32)
    small = 0
    for i in range(len(single)):
        b = bits[i]
        sign = uint32((b >> uint32(16)) & uint32(0x8000))
        a = b & uint32(0x7FFFFFFF)
        odd = (a >> uint32(13)) & uint32(1)
        # 0xC8000FFF: exponent bias 127 to 15, plus just less than half a unit.
        normal = uint32(a + uint32(0xC8000FFF) + odd) >> uint32(13)
        large = uint32(0x7E00) if a > _INFINITE else uint32(0x7BFF)
        half[i] = uint16(sign | (large if a >= _TOO_LARGE else normal))
        small += a < _SMALLEST_NORMAL
    if small:
        for i in range(len(single)):
            a = bits[i] & uint32(0x7FFFFFFF)
            if a < _SMALLEST_NORMAL:
                scratch_bits[0] = a
                scratch[0] += _MAGIC
                sign = uint32((bits[i] >> uint32(16)) & uint32(0x8000))
                half[i] = uint16(sign | (scratch_bits[0] - _MAGIC_BITS))


def round_to_bfloat16(single: np.ndarray) -> np.ndarray:
    """Return float32 values rounded to the nearest bfloat16, still as float32.

    Examples
    --------
    >>> round_to_bfloat16(np.array([1.0, 1.003], np.float32)).tolist()
    [1.0, 1.0]
    """
    bits = np.ascontiguousarray(single, np.float32).view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    rounded = (bits + np.uint32(0x7FFF) + odd) & np.uint32(0xFFFF0000)
    return rounded.view(np.float32)
