"""The two random maps: W1 from a history to R^n, and W2 from the axis of nodes to R^o.

Both are keyed: what a coordinate is multiplied with depends on the seed and on the coordinate
alone, so two graphs share the maps whatever their sizes are and a history may have any length.

Scale: entries of W1 have variance 1 / n and those of W2 1 / o (the released code has 1 / M with
M = 100,000 rows, and 1 / N with the number of nodes). Every score is a cosine, so the scale
cancels; with this one the inner product of two fingerprints is an unbiased estimate of
sum_v <h_v, h'_v>, the inner product of the histories themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from common.errors import did_you_mean
from common.graphs.projections import StructuredProjection, keyed_normal, power_of_two, stream
from projects.jlmetric.arrays import Arrays
from projects.jlmetric.histories import Histories, over_events

HISTORY, NODE, PARTNER = 1, 2, 3
# Bounds on temporary arrays, in numbers: the gathered histories and the generated rows.
_GATHERED = 1 << 20
_GENERATED = 1 << 21
# Blocks of ranks grow by this factor: few matrix products, little padding.
_GROWTH = 1.5
_LARGEST_BLOCK = 1 << 16


class Gatherer:
    """Pieces of histories as dense arrays, padded with zeros.

    Parameters
    ----------
    histories : Histories
        Whose.
    partners : ndarray, shape (N, P), optional
        A vector per node that is appended to its partners' history entries.
    arrays : Arrays
        Where.
    """

    def __init__(self, histories: Histories, partners: np.ndarray | None, arrays: Arrays) -> None:
        self.histories, self.arrays = histories, arrays
        scaled = histories.scaled
        # A column of zeros contributes nothing: a constant feature costs nothing.
        used = np.flatnonzero(over_events(np.maximum, np.abs(scaled)))
        width = histories.width
        extra = np.arange(width, width + (0 if partners is None else partners.shape[1]))
        self.width = width + len(extra)
        self.columns = np.concatenate([used, [width - 1], extra]).astype(np.int64)
        events = np.zeros((len(scaled) + 1, len(used)))
        events[:-1] = scaled[:, used]
        self._events = arrays.array(events)
        self._padding = 2 * len(scaled)
        self._incidence = arrays.array(histories.incidence)
        self._partners = None
        if partners is not None:
            self._partners = arrays.array(np.vstack([partners, np.zeros(partners.shape[1])]))
            other = histories.owner.reshape(-1, 2)[:, ::-1].ravel()
            self._partner_of = arrays.array(np.append(other, len(partners)))

    def __call__(self, rows: slice, ranks: np.ndarray) -> Any:
        """Return entries ``ranks`` of the histories of nodes ``rows``.

        Returns
        -------
        ndarray or Tensor, shape (nodes, ranks, len(self.columns))
        """
        arrays, xp = self.arrays, self.arrays.xp
        start = self.histories.start[rows, None]
        within = arrays.array(ranks < self.histories.degree[rows, None])
        last = len(self.histories.incidence) - 1
        slots = arrays.array(np.minimum(start + ranks, last))
        chosen = xp.where(within, self._incidence[slots], self._padding)
        plain = self._events.shape[1]
        piece = arrays.zeros(*chosen.shape, len(self.columns))
        piece[..., :plain] = self._events[chosen >> 1]
        piece[..., plain] = chosen & 1
        if self._partners is not None:
            piece[..., plain + 1 :] = self._partners[self._partner_of[chosen]]
        return piece


def _pieces(degree: np.ndarray, length: int, wide: int) -> Iterator[slice]:
    """Cut nodes with a history of that length or more into slices of bounded size."""
    many = int(np.searchsorted(-degree, -length, side="right"))
    step = max(_GATHERED // max(wide, 1), 1)
    for begin in range(0, many, step):
        yield slice(begin, min(begin + step, many))


class GaussianMaps:
    """Dense Gaussian W1 and W2; row r (F + 2) + c of W1 meets column c of a node's entry r.

    Parameters
    ----------
    node_dim, graph_dim : int
        n and o.
    seed : int
        Of both maps.
    arrays : Arrays
        Where.
    """

    def __init__(self, node_dim: int, graph_dim: int, seed: int, arrays: Arrays) -> None:
        self.node_dim, self.graph_dim, self.arrays = node_dim, graph_dim, arrays
        self._history, self._node = stream(seed, HISTORY), stream(seed, NODE)

    def node_vectors(self, gather: Gatherer) -> Any:
        """Return x_v = h_v W1 of every node, shape (N, n), in O(N n) memory.

        Ranks are taken in blocks that grow by half, so there are O(log degree) matrix products,
        and a long history of few nodes is cut only where a block of W1 would be too large.
        """
        degree, columns = gather.histories.degree, gather.columns
        x = self.arrays.zeros(len(degree), self.node_dim)
        begin, size = 0, 1.0
        longest = max(_GENERATED // (len(columns) * self.node_dim), 1)
        while begin < degree[0]:
            end = min(begin + min(int(size), longest), int(degree[0]))
            ranks = np.arange(begin, end)
            keys = (ranks[:, None] * gather.width + columns).ravel()
            block = self.arrays.normal(self._history, keys, self.node_dim)
            for rows in _pieces(degree, begin + 1, max(len(keys), self.node_dim)):
                x[rows] += gather(rows, ranks).reshape(-1, len(keys)) @ block
            begin, size = end, size * _GROWTH
        x /= self.node_dim**0.5
        return x

    def mix(self, x: Any, keys: np.ndarray) -> Any:
        """Return G = X^T W2, shape (n, o); row v of W2 belongs to ``keys[v]``."""
        graph = self.arrays.zeros(self.node_dim, self.graph_dim)
        step = max(_GENERATED // self.graph_dim, 1)
        for begin in range(0, len(keys), step):
            part = slice(begin, begin + step)
            graph += x[part].T @ self.arrays.normal(self._node, keys[part], self.graph_dim)
        graph /= self.graph_dim**0.5
        return graph


class HadamardMaps:
    """Structured W1 and W2 (brief 2.4): O(block) memory, O(log block) work per number.

    A coordinate axis is cut into blocks of 2^q; block b has its own rotation H D1 H D2 H D3 and
    its own choice of n of the 2^q outputs. The blocks are the same for all graphs, and a short
    history is a long one with zeros behind it, so equal prefixes give equal contributions. Pays
    off for long histories; a node with few events costs a whole block, and node ids that are far
    apart a block each.
    """

    def __init__(self, node_dim: int, graph_dim: int, seed: int, arrays: Arrays) -> None:
        self.node_dim, self.graph_dim, self.arrays = node_dim, graph_dim, arrays
        self._seed = seed

    def _block(self, which: int, number: int, size: int, outputs: int) -> Any:
        """Return the map of block ``number``: the last axis from ``size`` to ``outputs``."""
        rotate = StructuredProjection(size, stream(self._seed, which, number, 1))
        order = keyed_normal(stream(self._seed, which, number, 2), np.arange(size), 1)[:, 0]
        chosen = self.arrays.array(np.sort(np.argsort(order)[:outputs]))
        return lambda values: rotate(values)[..., chosen] * (size / outputs) ** 0.5

    def node_vectors(self, gather: Gatherer) -> Any:
        """Return x_v of every node, shape (N, n).

        A block holds a whole number of entries, and each block is twice as long as the one before
        up to 2^16: few blocks, and no more padding than history.
        """
        degree, width = gather.histories.degree, gather.width
        size = power_of_two(max(self.node_dim, width, 64))
        largest = max(size, _LARGEST_BLOCK)
        x = self.arrays.zeros(len(degree), self.node_dim)
        columns = self.arrays.array(gather.columns)
        begin = number = 0
        while begin < degree[0]:
            length = size // width
            ranks = np.arange(begin, begin + length)
            project = self._block(HISTORY, number, size, self.node_dim)
            for rows in _pieces(degree, begin + 1, size):
                piece = gather(rows, ranks)
                entries = self.arrays.zeros(len(piece), length, width)
                entries[..., columns] = piece
                padded = self.arrays.zeros(len(piece), size)
                padded[:, : length * width] = entries.reshape(len(piece), -1)
                x[rows] += project(padded)
            begin, number, size = begin + length, number + 1, min(2 * size, largest)
        return x

    def mix(self, x: Any, keys: np.ndarray) -> Any:
        """Return G = X^T W2, shape (n, o); node v is coordinate ``keys[v]`` of the node axis."""
        size = power_of_two(max(4 * self.graph_dim, 64))
        graph = self.arrays.zeros(self.node_dim, self.graph_dim)
        order = np.argsort(keys, kind="stable")
        blocks, first = np.unique(keys[order] // size, return_index=True)
        for number, members in zip(blocks, np.split(order, first[1:]), strict=True):
            axis = self.arrays.zeros(self.node_dim, size)
            offset = self.arrays.array(keys[members] % size)
            axis[:, offset] = x[self.arrays.array(members)].T
            graph += self._block(NODE, int(number), size, self.graph_dim)(axis)
        return graph


MAPS = {"gaussian": GaussianMaps, "hadamard": HadamardMaps}


def known_map(name: str) -> str:
    """Return the name of a projection, or raise ValueError with the choices."""
    if name not in MAPS:
        raise ValueError(f"unknown projection {name!r}{did_you_mean(name, MAPS)}")
    return name
