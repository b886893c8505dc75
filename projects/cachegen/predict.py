"""Predictors along the tokens: none, the group's anchor, the previous token (section 5.2).

All are closed loop: the decoder's own values are subtracted, so no error adds to the next. The
kernels walk token by token over all channels of a plane, which a compiler turns into vectors.
``x`` is float32 [tokens, channels], ``q`` int16, ``mean`` and ``step`` float32 [channels].
"""

from __future__ import annotations

import numpy as np
from numba import njit

from projects.cachegen.halves import narrow

NONE, ANCHOR, PREVIOUS = "none", "anchor", "previous"
PREDICTORS = (NONE, ANCHOR, PREVIOUS)
_LARGEST = np.float32(32767)


def anchors(tokens: int, group: int) -> int:
    """Number of anchor tokens: the first of every group; the last group may be short.

    Examples
    --------
    >>> anchors(1500, 10), anchors(11, 10), anchors(3, 10)
    (150, 2, 1)
    """
    return -(-tokens // group)


@njit(cache=True, nogil=True, inline="always", error_model="numpy")
def _round(value):
    return np.int16(max(-_LARGEST, min(_LARGEST, np.rint(value))))


@njit(cache=True, nogil=True, error_model="numpy")
def quantise(x, mean, step, q):
    """Set q = round((x - mean) / step), saturated at 16 bits."""
    inverse = np.float32(1) / step
    for t in range(x.shape[0]):
        for c in range(x.shape[1]):
            q[t, c] = _round((x[t, c] - mean[c]) * inverse[c])


@njit(cache=True, nogil=True, error_model="numpy")
def restore(q, mean, step, x):
    """Undo :func:`quantise`: x = mean + q step."""
    for t in range(x.shape[0]):
        for c in range(x.shape[1]):
            x[t, c] = mean[c] + np.float32(q[t, c]) * step[c]


@njit(cache=True, nogil=True, error_model="numpy")
def quantise_deltas(x, group, anchor, step, q):
    """Differences of the tokens between the anchors to the dequantised anchor of their group."""
    inverse = np.float32(1) / step
    row = 0
    for t in range(x.shape[0]):
        if t % group:
            for c in range(x.shape[1]):
                q[row, c] = _round((x[t, c] - anchor[t // group, c]) * inverse[c])
            row += 1


@njit(cache=True, nogil=True, error_model="numpy")
def restore_deltas(q, group, anchor, step, x):
    """Undo :func:`quantise_deltas` and put the anchors in their places."""
    row = 0
    for t in range(x.shape[0]):
        if t % group:
            for c in range(x.shape[1]):
                x[t, c] = anchor[t // group, c] + np.float32(q[row, c]) * step[c]
            row += 1
        else:
            for c in range(x.shape[1]):
                x[t, c] = anchor[t // group, c]


@njit(cache=True, nogil=True, error_model="numpy")
def quantise_previous(x, mean, step, q):
    """Differences to the dequantised previous token; before the first stands the mean.

    The sum of the differences is kept in integers, so a decoder may form it in any order and
    gets the same values.
    """
    inverse = np.float32(1) / step
    total = np.zeros(x.shape[1], np.int32)
    for t in range(x.shape[0]):
        for c in range(x.shape[1]):
            last = mean[c] + np.float32(total[c]) * step[c]
            q[t, c] = _round((x[t, c] - last) * inverse[c])
            total[c] += q[t, c]


@njit(cache=True, nogil=True, error_model="numpy")
def restore_previous(q, mean, step, x):
    """Undo :func:`quantise_previous`."""
    total = np.zeros(x.shape[1], np.int32)
    for t in range(x.shape[0]):
        for c in range(x.shape[1]):
            total[c] += q[t, c]
            x[t, c] = mean[c] + np.float32(total[c]) * step[c]


# The same for a float16 cache, in the memory of the result: the values wait there as int16 and
# give way to the bits of their halves, a row at a time, so that nothing leaves the L1 cache.


def symbol_halves(clip: int, mean: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Bits of mean + q step for q = -clip..clip and the escape; int16 [channels, symbols]."""
    q = np.arange(-clip, clip + 2, dtype=np.float32)
    out = np.empty((len(mean), len(q)), np.uint16)
    narrow((mean[:, None] + q * step[:, None]).reshape(-1), out.reshape(-1))
    return out.view(np.int16)


@njit(cache=True, nogil=True, error_model="numpy")
def restore_column_halves(q, columns, mean, step):
    """Turn the int16 values of some columns into float16 bits in place."""
    bits = q.view(np.uint16)
    x, half = np.empty(len(columns), np.float32), np.empty(len(columns), np.uint16)
    if len(columns):
        for t in range(q.shape[0]):
            for k in range(len(columns)):
                c = columns[k]
                x[k] = mean[c] + np.float32(q[t, c]) * step[c]
            narrow(x, half)
            for k in range(len(columns)):
                bits[t, columns[k]] = half[k]


@njit(cache=True, nogil=True, error_model="numpy")
def restore_previous_halves(q, mean, step):
    """Turn int16 differences to the previous token into float16 bits in place."""
    bits = q.view(np.uint16)
    x = np.empty(q.shape[1], np.float32)
    total = np.zeros(q.shape[1], np.int32)
    for t in range(q.shape[0]):
        for c in range(q.shape[1]):
            total[c] += q[t, c]
            x[c] = mean[c] + np.float32(total[c]) * step[c]
        narrow(x, bits[t])


@njit(cache=True, nogil=True, error_model="numpy")
def restore_delta_halves(q, group, anchor, step):
    """Turn int16 differences into float16 bits in place.

    The differences fill the last rows of ``q``, [tokens, channels]. Token t is written when the
    differences of all tokens up to it have been read: they lie at t or behind.
    """
    bits = q.view(np.uint16)
    row = len(anchor)
    x = np.empty(q.shape[1], np.float32)
    for t in range(q.shape[0]):
        if t % group:
            for c in range(q.shape[1]):
                x[c] = anchor[t // group, c] + np.float32(q[row, c]) * step[c]
            row += 1
            narrow(x, bits[t])
        else:
            narrow(anchor[t // group], bits[t])
