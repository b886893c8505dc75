"""Naive generators of event streams: what a learned generator has to beat.

All have one call shape, ``generate(train, num_events, rng, start_time=0.0)``; the first event is
at ``start_time`` and later ones follow after gaps resampled from those of the training stream.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from common.graphs.events import EventStream

Generator = Callable[..., EventStream]


def uniform(
    train: EventStream, num_events: int, rng: np.random.Generator, start_time: float = 0.0
) -> EventStream:
    """Draw both ends uniformly over the sources and the destinations that occur.

    Parameters
    ----------
    train : EventStream
        Gives the ids, the gaps and the features.
    num_events : int
        Number of events to draw.
    rng : Generator
        Source of randomness.
    start_time : float
        Time of the first event.

    Returns
    -------
    EventStream
        Features are those of events drawn at random, independent of the ends.

    Raises
    ------
    ValueError
        If the training stream is empty or ``num_events`` is negative.

    Examples
    --------
    >>> train = EventStream.of({"src": [0, 0, 1], "dst": [2, 3, 3], "t": [0, 4, 8]})
    >>> uniform(train, 4, np.random.default_rng(0), start_time=100.0).t.tolist()
    [100.0, 104.0, 108.0, 112.0]
    """
    _check(train, num_events)
    src = rng.choice(np.unique(train.src), num_events)
    dst = rng.choice(np.unique(train.dst), num_events)
    return _assemble(train, src, dst, _rows(train, num_events, rng), rng, start_time, "uniform")


def degree_preserving(
    train: EventStream, num_events: int, rng: np.random.Generator, start_time: float = 0.0
) -> EventStream:
    """Draw both ends independently of each other, each by its share of the training events.

    Parameters, result and errors are those of :func:`uniform`.
    """
    _check(train, num_events)
    src, dst = train.src[_rows(train, num_events, rng)], train.dst[_rows(train, num_events, rng)]
    rows = _rows(train, num_events, rng)
    return _assemble(train, src, dst, rows, rng, start_time, "degree_preserving")


def bootstrap(
    train: EventStream, num_events: int, rng: np.random.Generator, start_time: float = 0.0
) -> EventStream:
    """Draw whole training events (both ends and features) with replacement, at new times.

    Parameters, result and errors are those of :func:`uniform`.
    """
    _check(train, num_events)
    rows = _rows(train, num_events, rng)
    return _assemble(train, train.src[rows], train.dst[rows], rows, rng, start_time, "bootstrap")


def replay(
    train: EventStream, num_events: int, rng: np.random.Generator, start_time: float = 0.0
) -> EventStream:
    """Repeat the last training events with their own gaps, shifted to ``start_time``.

    Parameters and result are those of :func:`uniform`; nothing is random.

    Raises
    ------
    ValueError
        Also if more events are asked for than the training stream has.
    """
    _check(train, num_events)
    if num_events > len(train):
        raise ValueError(
            f"num_events={num_events} but only {len(train)} training events can be replayed; ask "
            "for fewer or use bootstrap"
        )
    last = train[len(train) - num_events :].shifted(start_time)
    return replace(last, name="replay")


GENERATORS: dict[str, Generator] = {
    "uniform": uniform,
    "degree_preserving": degree_preserving,
    "bootstrap": bootstrap,
    "replay": replay,
}


def _check(train: EventStream, num_events: int) -> None:
    if not len(train):
        raise ValueError("the training stream has no events; nothing can be drawn from it")
    if num_events < 0:
        raise ValueError(f"num_events={num_events} must not be negative")


def _rows(train: EventStream, num_events: int, rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, len(train), num_events)


def _assemble(
    train: EventStream,
    src: np.ndarray,
    dst: np.ndarray,
    rows: np.ndarray,
    rng: np.random.Generator,
    start_time: float,
    name: str,
) -> EventStream:
    """Join ends with the features of the training events ``rows`` and with resampled gaps."""
    observed = np.diff(train.t) if len(train) > 1 else np.zeros(1)
    gaps = rng.choice(observed, len(src))
    gaps[:1] = 0.0
    t = start_time + np.cumsum(gaps)
    return EventStream(src, dst, t, train.msg[rows], name=name, columns=train.columns)
