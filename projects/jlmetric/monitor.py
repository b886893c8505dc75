"""The fingerprint of a stream that is still running: update with events, ask at any time."""

from __future__ import annotations

from typing import Any

import numpy as np

from common.graphs.events import EventStream
from common.graphs.projections import keyed_normal, stream
from projects.jlmetric.arrays import NumpyArrays
from projects.jlmetric.fingerprint import Settings
from projects.jlmetric.histories import Histories, Limits
from projects.jlmetric.projection import HISTORY, GaussianMaps

_ROWS_AT_ONCE = 1 << 15


class FingerprintStream:
    """A fingerprint that is updated event by event, in O(N n) memory; histories are not kept.

    Equal to :func:`projects.jlmetric.fingerprint` of all events so far with the same limits.
    Time and features must be scaled by limits that are known beforehand, such as the reference's.

    Parameters
    ----------
    limits : Limits
        For scaling; fixes the number of features. Values outside are not cut off.
    node_dim, graph_dim, seed
        As in ``fingerprint``.
    align : str
        ``id`` or ``first_seen``.

    Examples
    --------
    >>> from projects.jlmetric import fingerprint
    >>> events = EventStream.of({"src": [0, 0, 2], "dst": [1, 2, 1], "t": [0, 4, 9]})
    >>> monitor = FingerprintStream(Limits.of(events), node_dim=8, graph_dim=4)
    >>> for position in range(3):
    ...     monitor.update(events[position : position + 1])
    >>> whole = fingerprint(events, node_dim=8, graph_dim=4)
    >>> bool(np.allclose(monitor.fingerprint(), whole, atol=1e-12))
    True
    """

    def __init__(
        self,
        limits: Limits,
        *,
        node_dim: int = 100,
        graph_dim: int = 100,
        seed: int = 42,
        align: str = "id",
    ) -> None:
        if align not in ("id", "first_seen"):
            raise ValueError(
                f"align={align!r} is not known while a stream runs; use 'id' or 'first_seen'"
            )
        self.settings = Settings(node_dim, graph_dim, seed, align)
        self.limits = limits
        self.events = 0
        self._maps = GaussianMaps(node_dim, graph_dim, seed, NumpyArrays())
        self._state = stream(seed, HISTORY)
        self._row: dict[int, int] = {}
        self._degree = np.zeros(16, np.int64)
        self._x = np.zeros((16, node_dim))
        self._now = -np.inf

    def update(self, events: Any) -> None:
        """Add events that are not earlier than those before.

        Parameters
        ----------
        events : EventStream or what :meth:`EventStream.of` takes
            One event or many.

        Raises
        ------
        ValueError
            If they go back behind the last time, or have other features than the limits.
        """
        events = EventStream.of(events, sort=False)
        if not len(events):
            return
        if events.t[0] < self._now:
            raise ValueError(
                f"events begin at {events.t[0]}, before the last one at {self._now}: a running "
                "stream cannot be sorted again; pass events in the order of time"
            )
        histories = Histories.of(events, self.limits)
        row = self._rows(histories)
        width, n = histories.width, self.settings.node_dim
        owner = np.repeat(row, histories.degree)
        within = np.arange(len(owner)) - np.repeat(histories.start, histories.degree)
        rank = self._degree[owner] + within
        step = max(_ROWS_AT_ONCE // width, 1)
        for begin in range(0, len(owner), step):
            part = slice(begin, begin + step)
            incidence = histories.incidence[part]
            entries = np.column_stack([histories.scaled[incidence >> 1], incidence & 1])
            keys = (rank[part, None] * width + np.arange(width)).ravel()
            blocks = keyed_normal(self._state, keys, n).reshape(-1, width, n)
            np.add.at(self._x, owner[part], np.einsum("ic,icn->in", entries, blocks) / n**0.5)
        self._degree[row] += histories.degree
        self.events += len(events)
        self._now = float(events.t[-1])

    def fingerprint(self) -> np.ndarray:
        """Return G of all events so far, shape (n, o)."""
        size = len(self._row)
        by_id = self.settings.align == "id"
        keys = np.fromiter(self._row, np.int64, size) if by_id else np.arange(size)
        return self._maps.mix(self._x[:size], keys)

    def _rows(self, histories: Histories) -> np.ndarray:
        """Return the rows of the nodes in X, with new rows in the order of appearance."""
        for node in histories.nodes[np.argsort(histories.first_seen)].tolist():
            self._row.setdefault(node, len(self._row))
        if len(self._row) > len(self._x):
            more = max(2 * len(self._x), len(self._row)) - len(self._x)
            self._x = np.vstack([self._x, np.zeros((more, self._x.shape[1]))])
            self._degree = np.append(self._degree, np.zeros(more, np.int64))
        return np.array([self._row[node] for node in histories.nodes.tolist()])
