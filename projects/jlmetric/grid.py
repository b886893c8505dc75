"""Grid: a deterministic stream of edges of a square lattice."""

from __future__ import annotations

import math

import numpy as np

from common.graphs.events import EventStream


def grid_stream(nodes: int = 1024, max_time: int = 10_000) -> EventStream:
    """Return the lattice's edges, cell by cell, at equal intervals.

    Cells are visited row by row; each gives the edge to its right, then the one below. The m-th
    event is at m (max_time // cells), its features are i t and j + t for cell (i, j).

    Parameters
    ----------
    nodes : int
        At least this many minus what does not fit a square: the side is floor(sqrt(nodes)).
    max_time : int
        Time over which the cells are spread.

    Examples
    --------
    >>> grid_stream(4).to_frame().values.tolist()[:2]
    [[0.0, 1.0, 2500.0, 0.0, 2500.0], [0.0, 2.0, 5000.0, 0.0, 5000.0]]
    """
    side = math.isqrt(nodes)
    if side < 2:
        raise ValueError(f"nodes={nodes}: a lattice needs at least 4")
    step = max_time // side**2
    i, j = np.divmod(np.repeat(np.arange(side**2), 2), side)
    right = np.tile([True, False], side**2)
    kept = np.where(right, j < side - 1, i < side - 1)
    i, j, right = i[kept], j[kept], right[kept]
    t = step * np.arange(1.0, len(i) + 1)
    dst = np.where(right, i * side + j + 1, (i + 1) * side + j)
    columns = {"src": i * side + j, "dst": dst, "t": t, "msg": np.column_stack([i * t, j + t])}
    return EventStream.of(columns, name=f"grid-{nodes}")
