"""Node histories of a stream (paper's section 3; brief 2.2, steps 3 and 4), without Python loops.

An incidence is one end of an event: event i gives its source the vector ``[msg', t', 0]`` and
then its destination ``[msg', t', 1]``; a self-loop gives its node both. All incidences are sorted
by node once; a node's history is then one slice of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from common.graphs.events import EventStream, read_csv

_EPS = 1e-6


@dataclass(frozen=True)
class Limits:
    """Smallest and largest value of every feature and of time, for scaling to [0, 1].

    Attributes
    ----------
    low, high : ndarray, shape (F + 1,)
        The features come first, time is last.
    """

    low: np.ndarray
    high: np.ndarray

    def __post_init__(self) -> None:
        if np.shape(self.low) != np.shape(self.high) or np.ndim(self.low) != 1:
            raise ValueError(
                f"low {np.shape(self.low)} and high {np.shape(self.high)} must both have one entry "
                "per feature and a last one for time"
            )

    @classmethod
    def of(cls, events: EventStream) -> Limits:
        """Return the limits of a stream.

        Examples
        --------
        >>> events = EventStream.of({"src": [0, 1], "dst": [1, 0], "t": [3, 9]})
        >>> Limits.of(events).high.tolist()
        [9.0]
        """
        events = read(events)
        low = np.append(over_events(np.minimum, events.msg), events.t.min())
        return cls(low, np.append(over_events(np.maximum, events.msg), events.t.max()))

    def scale(self, events: EventStream) -> np.ndarray:
        """Return ``[msg', t']``, shape (E, F + 1): (x - low) / (high - low + 1e-6).

        A column that is constant in the limits is only shifted (the quotient would be 0 / 1e-6 for
        the stream it came from, and anything divided by 1e-6 for another).
        """
        if len(self.low) != events.num_features + 1:
            raise ValueError(
                f"the limits are those of {len(self.low) - 1} feature(s), the events have "
                f"{events.num_features}: take Limits.of a stream with the same columns"
            )
        span = self.high - self.low
        divisor = np.where(span > 0, span + _EPS, 1.0)
        scaled = np.empty((len(events), len(self.low)))
        np.subtract(events.msg, self.low[:-1], out=scaled[:, :-1])
        np.subtract(events.t, self.low[-1], out=scaled[:, -1])
        scaled /= divisor
        return scaled


def over_events(ufunc: np.ufunc, table: np.ndarray) -> np.ndarray:
    """Reduce a table of shape (E, F) to (F,); many short rows at a time, far faster than one."""
    width = table.shape[1]
    many = 512 // max(width, 1) + 1
    whole = len(table) // many * many
    if not whole or not width:
        return ufunc.reduce(table, axis=0) if width else np.empty(0)
    long_rows = np.ascontiguousarray(table[:whole]).reshape(-1, many * width)
    head = ufunc.reduce(long_rows, axis=0).reshape(many, width)
    return ufunc.reduce(np.concatenate([head, table[whole:]]), axis=0)


def read(data: Any, *, what: str = "graph", sort: bool = True) -> EventStream:
    """Return data as a stream of at least one event.

    Parameters
    ----------
    data : EventStream, TemporalData, DataFrame, mapping or path of a CSV file
        See :meth:`common.graphs.events.EventStream.of`.
    what : str
        What the message calls it.
    sort : bool
        Sort events that are out of order, with a warning, instead of refusing them.

    Raises
    ------
    ValueError
        If there are no events, and whatever ``EventStream.of`` refuses.
    """
    if isinstance(data, str | Path):
        data = read_csv(Path(data))
    src = data.get("src") if isinstance(data, dict) else getattr(data, "src", None)
    if src is not None and len(src) == 0:
        raise ValueError(f"{what} has no events: pass a stream of at least one event")
    return EventStream.of(data, sort=sort)


@dataclass(frozen=True, eq=False)
class Histories:
    """The histories of all nodes of a stream, the longest history first.

    Attributes
    ----------
    nodes : ndarray of int64, shape (N,)
        Ids; by falling length of history, ties by first appearance.
    degree, start : ndarray of int64, shape (N,)
        Length and begin of every node's slice of ``incidence``.
    incidence : ndarray of int64, shape (2 E,)
        2 i for the source and 2 i + 1 for the destination of event i, by node and time.
    owner : ndarray of int64, shape (2 E,)
        Position in ``nodes`` of incidence 0, 1, 2, ... (in the order of time).
    scaled : ndarray, shape (E, F + 1)
        Features and time in [0, 1].
    """

    nodes: np.ndarray
    degree: np.ndarray
    start: np.ndarray
    incidence: np.ndarray
    owner: np.ndarray
    scaled: np.ndarray

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def width(self) -> int:
        """F + 2: features, time, role."""
        return self.scaled.shape[1] + 1

    @cached_property
    def first_seen(self) -> np.ndarray:
        """Rank of every node's first appearance, the source before the destination; shape (N,)."""
        rank = np.empty(len(self), np.int64)
        rank[np.argsort(self.incidence[self.start])] = np.arange(len(self))
        return rank

    @classmethod
    def of(cls, events: Any, limits: Limits | None = None) -> Histories:
        """Collect the histories of a stream.

        Parameters
        ----------
        events : EventStream or what :meth:`EventStream.of` takes
            At least one event.
        limits : Limits, optional
            For scaling; the stream's own by default.

        Examples
        --------
        >>> events = EventStream.of({"src": [5, 5], "dst": [7, 5], "t": [0, 1]})
        >>> histories = Histories.of(events)
        >>> histories.nodes.tolist(), histories.degree.tolist(), histories.incidence.tolist()
        ([5, 7], [3, 1], [0, 2, 3, 1])
        """
        events = read(events)
        scaled = (limits or Limits.of(events)).scale(events)
        ends = np.empty(2 * len(events), np.int64)
        ends[0::2], ends[1::2] = events.src, events.dst
        ids, code, degree, first = _compact(ends)
        longest = np.lexsort((first, -degree))
        place = np.empty(len(ids), np.int64)
        place[longest] = np.arange(len(ids))
        owner, degree = place[code], degree[longest]
        return cls(
            nodes=ids[longest],
            degree=degree,
            start=np.cumsum(degree) - degree,
            incidence=_stable_order(owner, len(ids)),
            owner=owner,
            scaled=scaled,
        )


def _compact(ends: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return distinct ids, their number for every end, their counts and first positions."""
    size = int(ends.max()) + 1
    if size > 4 * len(ends) + 1024:
        ids, first, code, degree = np.unique(
            ends, return_index=True, return_inverse=True, return_counts=True
        )
        return ids, code, degree, first
    counts = np.bincount(ends, minlength=size)
    ids = np.flatnonzero(counts)
    number = np.empty(size, np.int64)
    number[ids] = np.arange(len(ids))
    first = np.empty(size, np.int64)
    first[ends[::-1]] = np.arange(len(ends) - 1, -1, -1)
    return ids, number[ends], counts[ids], first[ids]


def _stable_order(codes: np.ndarray, size: int) -> np.ndarray:
    """Argsort small integers stably; 16 bits at a time, which numpy sorts by radix in O(E)."""
    order = np.argsort(codes.astype(np.uint16), kind="stable")
    for shift in range(16, max(size - 1, 1).bit_length(), 16):
        digit = (codes[order] >> shift).astype(np.uint16)
        order = order[np.argsort(digit, kind="stable")]
    return order
