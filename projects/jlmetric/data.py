"""The streams that the measures are tested on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from common.graphs.events import EventStream
from common.graphs.streams import load_streams, with_features
from projects.jlmetric.grid import grid_stream
from projects.jlmetric.sample_efficiency import with_ones

if TYPE_CHECKING:
    from common.run import Run

FEATURES = 4
GRID = "grid-1024"


def load_windows(
    run: Run,
    windows: dict[str, list[int]],
    events: int,
    *,
    features: bool = True,
    grid: bool = True,
) -> list[EventStream]:
    """Load windows of streams; observations call their data :func:`source`.

    Parameters
    ----------
    run : Run
        Decides between real data and stand-ins.
    windows : dict
        First events of the windows of each stream.
    events : int
        Length of a window.
    features : bool
        Whether streams without features also come with synthetic ones; without, they carry (1, 1).
    grid : bool
        Whether the Grid stream is among them.

    Returns
    -------
    list of EventStream
        Named ``<stream>@<first event>``.
    """
    found = []
    for stream in load_streams(run, list(windows)):
        for first in windows.get(stream.name, [0]):
            window = replace(stream[first : first + events], name=f"{stream.name}@{first}")
            found.append(window if window.num_features else with_ones(window))
            if not window.num_features and features:
                name = f"{stream.name}+features"
                run.synthetic(name, "real nodes and times, features drawn per node")
                rng = run.rng("features", window.name)
                found.append(with_features(window, rng, FEATURES, name=f"{name}@{first}"))
    if grid:
        run.synthetic(GRID, "edges of a square lattice, as the paper defines it")
        found.append(grid_stream(1024)[:events])
    return found


def source(window: EventStream) -> str:
    """Name of the data that a window is from.

    Examples
    --------
    >>> source(grid_stream(4))
    'grid-4'
    """
    return window.name.partition("@")[0]


def synthetic_events(count: int, rng: np.random.Generator) -> EventStream:
    """Draw a stream of any length quickly: skewed ends, exponential gaps, one feature."""
    nodes = max(2, count // 10)
    src, dst = (nodes * rng.power(0.5, (2, count))).astype(np.int64)
    t = np.cumsum(rng.exponential(10.0, count))
    columns = {"src": src, "dst": dst, "t": t, "msg": rng.normal(size=(count, 1))}
    return EventStream.of(columns, name="generated-stream")
