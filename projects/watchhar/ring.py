"""A ring buffer whose windows are contiguous."""

from __future__ import annotations

import numpy as np


class Ring:
    """The last rows of a stream; every window of them is a view, not a copy.

    Rows are written twice, ``capacity`` apart, so that no window wraps around.

    Examples
    --------
    >>> ring = Ring(4)
    >>> ring.push(np.arange(6.0))
    >>> ring.window(2, 6).tolist()
    [2.0, 3.0, 4.0, 5.0]
    """

    def __init__(self, capacity: int, *shape: int) -> None:
        self.capacity = capacity
        self._rows = np.zeros((2 * capacity, *shape), np.float32)
        self.restart(0)

    def restart(self, place: int) -> None:
        """Forget everything; the next row is number ``place``."""
        self.start = self.end = place

    def push(self, rows: np.ndarray) -> None:
        """Append any number of rows."""
        self.end += max(0, len(rows) - self.capacity)
        rows = rows[-self.capacity :]
        place = self.end % self.capacity
        room = self.capacity - place
        for first in (place, place + self.capacity):
            self._rows[first : first + min(room, len(rows))] = rows[:room]
        for first in (0, self.capacity):
            self._rows[first : first + max(0, len(rows) - room)] = rows[room:]
        self.end += len(rows)

    def window(self, start: int, end: int) -> np.ndarray:
        """Rows ``start`` to ``end``, valid until the next push."""
        place = start % self.capacity
        return self._rows[place : place + end - start]
