"""Symbol distributions: histograms, their 12-bit form, and which lane uses which.

The paper profiles one distribution per (K/V, layer, channel) offline (section 5.2). Coarser
groupings (a layer, all of them, clusters of channels) are the same table with another index.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from projects.cachegen.rans import MAX_SYMBOLS, TOTAL

ESCAPE_BITS = 16
_BLOCK = 4096


@dataclass(frozen=True)
class Tables:
    """Distributions over the symbols -clip..clip and the escape.

    Attributes
    ----------
    frequencies : ndarray of uint16, shape (tables, 2 * clip + 2)
        Rows sum to 4,096; every symbol has at least 1, so an unseen one costs 12 bits.
    index : ndarray of int32, shape (planes, channels)
        Row of each lane.
    """

    frequencies: np.ndarray
    index: np.ndarray

    @property
    def clip(self) -> int:
        """Largest value with a symbol of its own."""
        return self.frequencies.shape[1] // 2 - 1

    def check(self) -> None:
        """Raise ValueError unless the coder can use these tables without fear."""
        symbols = self.frequencies.shape[1]
        if symbols % 2 or not 4 <= symbols <= MAX_SYMBOLS:
            raise ValueError(f"an alphabet has an even number of 4 to 256 symbols, got {symbols}")
        if (
            self.frequencies.min() < 1
            or (self.frequencies.sum(axis=1, dtype=np.int64) - TOTAL).any()
        ):
            raise ValueError("frequencies must be at least 1 and sum to 4096 in every row")
        if self.index.min() < 0 or self.index.max() >= len(self.frequencies):
            raise ValueError("a lane points to a table that does not exist")


def twelve_bits(counts: np.ndarray) -> np.ndarray:
    """Scale histograms to sum 4,096 with a minimum of 1, by largest remainders.

    Parameters
    ----------
    counts : ndarray, shape (tables, symbols)
        Non-negative. An empty row becomes uniform.

    Returns
    -------
    ndarray of uint16, shape (tables, symbols)

    Examples
    --------
    >>> twelve_bits(np.array([[3, 1, 0, 0]])).tolist()
    [[3070, 1024, 1, 1]]
    """
    out = np.empty(counts.shape, np.uint16)
    for first in range(0, len(counts), _BLOCK):
        block = counts[first : first + _BLOCK].astype(np.float64)
        block[block.sum(axis=1) == 0] = 1
        spare = TOTAL - block.shape[1]
        ideal = block * (spare / block.sum(axis=1, keepdims=True))
        floor = np.floor(ideal)
        missing = spare - floor.sum(axis=1, keepdims=True)
        rank = np.argsort(np.argsort(floor - ideal, axis=1, kind="stable"), axis=1)
        out[first : first + _BLOCK] = 1 + floor + (rank < missing)
    return out


def code_bits(counts: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Bits that each table needs for its histogram, escapes with their 16 raw bits; (tables,).

    Examples
    --------
    >>> code_bits(np.array([[4, 4, 0, 0]]), np.array([[2048, 2046, 1, 1]])).round(2).tolist()
    [8.01]
    """
    cost = -np.log2(frequencies / TOTAL)
    cost[:, -1] += ESCAPE_BITS
    return (counts * cost).sum(axis=1)


@njit(cache=True, nogil=True, error_model="numpy")
def count(q, clip, counts):
    """Add the columns of ``q``, int16 [tokens, channels], to ``counts`` [channels, symbols]."""
    escape = counts.shape[1] - 1
    for i in range(q.shape[0]):
        for c in range(q.shape[1]):
            value = int(q[i, c])
            counts[c, value + clip if -clip <= value <= clip else escape] += 1


def per_channel(counts: np.ndarray) -> Tables:
    """One table for each lane; ``counts`` has the shape (planes, channels, symbols)."""
    planes, channels, symbols = counts.shape
    index = np.arange(planes * channels, dtype=np.int32).reshape(planes, channels)
    return Tables(twelve_bits(counts.reshape(-1, symbols)), index)


def grouped(counts: np.ndarray, by: str) -> Tables:
    """One table for each group of lanes.

    Parameters
    ----------
    counts : ndarray, shape (planes, channels, symbols)
    by : {"channel", "plane", "all"}
        ``"channel"`` is the paper's (K/V, layer, channel).
    """
    planes, channels, _ = counts.shape
    if by == "channel":
        return per_channel(counts)
    if by == "plane":
        index = np.repeat(np.arange(planes, dtype=np.int32)[:, None], channels, axis=1)
        return Tables(twelve_bits(counts.sum(axis=1)), index)
    if by == "all":
        pooled = counts.sum(axis=(0, 1))[None]
        return Tables(twelve_bits(pooled), np.zeros((planes, channels), np.int32))
    raise ValueError(f"tables by {by!r}; allowed: channel, plane, all")


def clustered(counts: np.ndarray, clusters: int, rounds: int = 12) -> Tables:
    """Share tables among lanes of similar histograms: k-means under the code length.

    A lane joins the table that codes its histogram in the fewest bits, a table is the sum of its
    lanes. 64 tables of 64 symbols take 8 KB where a table per lane of an 8B model takes 8 MB.

    Parameters
    ----------
    counts : ndarray, shape (planes, channels, symbols)
    clusters : int
        Largest number of tables.
    rounds : int
        Of reassignment.
    """
    planes, channels, symbols = counts.shape
    flat = counts.reshape(-1, symbols)
    clusters = min(clusters, len(flat))
    # Start from lanes spread evenly over the order of spread: deterministic and never empty.
    values = np.minimum(np.abs(np.arange(symbols) - (symbols // 2 - 1)), symbols // 2)
    spread = (flat * values).sum(axis=1) / np.maximum(flat.sum(axis=1), 1)
    parts = np.array_split(np.argsort(spread, kind="stable"), clusters)
    index = np.empty(len(flat), np.int32)
    for number, part in enumerate(parts):
        index[part] = number
    for _ in range(rounds):
        frequencies = twelve_bits(_summed(flat, index, clusters))
        cost = -np.log2(frequencies / TOTAL).T.astype(np.float32)
        nearest = np.concatenate(
            [
                (flat[first : first + _BLOCK].astype(np.float32) @ cost).argmin(axis=1)
                for first in range(0, len(flat), _BLOCK)
            ]
        ).astype(np.int32)
        if (nearest == index).all():
            break
        index = nearest
    return Tables(twelve_bits(_summed(flat, index, clusters)), index.reshape(planes, channels))


def _summed(flat: np.ndarray, index: np.ndarray, clusters: int) -> np.ndarray:
    totals = np.zeros((clusters, flat.shape[1]), np.int64)
    np.add.at(totals, index, flat)
    return totals
