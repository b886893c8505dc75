"""The streams of the experiments, cut into train, validation and test; Bikeshare's stand-in."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from common.graphs.events import EventStream
from common.graphs.streams import load_streams

if TYPE_CHECKING:
    from common.run import Run

BIKESHARE = "bikeshare-stand-in"
RATING_LEVELS, LOWEST_RATING = 21, -10


@dataclass(frozen=True)
class Task:
    """A stream as the experiments use it.

    Attributes
    ----------
    train, val, test : EventStream
        70, 15 and 15 % of the events in time.
    columns : tuple or None
        Laws of the features for :class:`DGGenConfig`.
    settings : dict
        Settings of :class:`DGGenConfig` for this stream alone.
    sources, destinations : ndarray of int
        All ids that ever act and are acted on in the stream. As in the release the world is
        closed: unseen nodes of the test are candidates, without a history.
    """

    name: str
    train: EventStream
    val: EventStream
    test: EventStream
    columns: tuple[int | str, ...] | None
    sources: np.ndarray
    destinations: np.ndarray
    settings: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, stream: EventStream, columns: tuple[int | str, ...] | None = None) -> Task:
        """Cut a stream 70 / 15 / 15; times count from its first event.

        Raises
        ------
        ValueError
            If a part would be empty.
        """
        parts = stream.shifted().split(0.7, 0.15)
        if not all(map(len, parts)):
            raise ValueError(f"{stream.name}: {len(stream)} events are too few to cut into three")
        ends = np.unique(stream.src), np.unique(stream.dst)
        return cls(stream.name, *parts, columns, *ends)

    @property
    def history(self) -> EventStream:
        """Everything before the test."""
        first, second = self.train, self.val
        arrays = {
            field: np.concatenate([getattr(first, field), getattr(second, field)])
            for field in ("src", "dst", "t", "msg")
        }
        return replace(first, **arrays)

    @property
    def num_nodes(self) -> int:
        """Size of the table of nodes."""
        return int(max(self.sources[-1], self.destinations[-1])) + 1


def load_tasks(run: Run, specs: dict[str, dict[str, Any]]) -> dict[str, Task]:
    """Load the streams of an experiment.

    Parameters
    ----------
    run : Run
        Decides between real data and stand-ins.
    specs : dict
        Per stream: ``events``, how many of its first events are used (null: all); ``rating``,
        the law of Bitcoin-OTC's feature, ``categorical`` or ``gmm``; ``model``, settings of the
        model for this stream alone. Streams are those of :data:`common.graphs.streams.SOURCES`
        and ``bikeshare-stand-in``.

    Returns
    -------
    dict of str to Task
        By the name that observations give the data.
    """
    streams = load_streams(run, [name for name in specs if name != BIKESHARE])
    if BIKESHARE in specs:
        run.synthetic(BIKESHARE, "gravity model of bicycle trips; projects.dggen.data")
        count = specs[BIKESHARE].get("events") or 20_000
        streams.append(bikeshare_stream(run.rng(BIKESHARE), count))
    tasks = {}
    for stream in streams:
        # A stand-in takes the place of the first stream that is missing.
        spec = specs.get(stream.name, next(iter(specs.values())))
        stream = stream[: spec.get("events")]
        task = Task.of(*with_laws(stream, spec.get("rating", "categorical")))
        tasks[stream.name] = replace(task, settings=spec.get("model", {}))
    return tasks


def with_laws(
    stream: EventStream, rating: str = "categorical"
) -> tuple[EventStream, tuple[int | str, ...] | None]:
    """Return a stream with levels that start at 0 and whole seconds, and the laws of its features.

    Examples
    --------
    >>> events = {"src": [0], "dst": [1], "t": [0.5], "msg_rating": [-10]}
    >>> stream, laws = with_laws(EventStream.of(events, name="bitcoin-otc"))
    >>> float(stream.msg[0, 0]), laws
    (0.0, (21,))
    """
    stream = replace(stream, t=np.floor(stream.t))
    if stream.name == "bitcoin-otc" and rating == "categorical":
        return replace(stream, msg=stream.msg - LOWEST_RATING), (RATING_LEVELS,)
    if stream.name == BIKESHARE:
        return stream, ("gmm", 3, 2)
    return stream, None


def bikeshare_stream(
    rng: np.random.Generator, events: int, *, stations: int = 600, name: str = BIKESHARE
) -> EventStream:
    """Draw bicycle trips between stations by a gravity model (brief, section 5).

    Popularities are log-normal (0, 1.2), stations uniform in a square of 15 km, p(v | u) is
    proportional to pop_v exp(-distance / 2 km) without loops. Starts follow a daily profile with
    peaks at 8 and 17 h over a third of uniform traffic. ln(seconds) ~ N(6.5 + 0.25 distance, 0.4);
    the type of bicycle has shares 0.5, 0.35, 0.15, members are 62 %. All parameters are those of
    the brief; the shares of the types and of uniform traffic are assumed.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    events : int
        Number of trips, at 10,000 a day.
    stations : int
        Number of stations.
    name : str
        Name of the stream.

    Returns
    -------
    EventStream
        Features log_duration, rideable_type (0 to 2) and member (0 or 1); times in seconds.
    """
    popularity = rng.lognormal(0.0, 1.2, stations)
    place = rng.uniform(0.0, 15.0, (stations, 2))
    distance = np.linalg.norm(place[:, None] - place[None], axis=2)
    gravity = popularity * np.exp(-distance / 2.0)
    np.fill_diagonal(gravity, 0.0)
    sums = np.cumsum(gravity, axis=1)
    src = rng.choice(stations, events, p=popularity / popularity.sum())
    draws = rng.random(events) * sums[src, -1]
    dst = (sums[src] <= draws[:, None]).sum(axis=1)
    kind = rng.choice(3, events, p=[1 / 3, 1 / 3, 1 / 3])
    hour = np.where(kind == 0, rng.uniform(0, 24, events), 0.0)
    hour = np.where(kind == 1, rng.normal(8.0, 1.2, events), hour)
    hour = np.where(kind == 2, rng.normal(17.0, 1.8, events), hour) % 24
    days = rng.integers(0, max(1, -(-events // 10_000)), events)
    order = np.argsort(t := np.floor(86_400 * days + 3_600 * hour), kind="stable")
    duration = rng.normal(6.5 + 0.25 * distance[src, dst], 0.4)
    bicycle, member = rng.choice(3, events, p=[0.5, 0.35, 0.15]), rng.random(events) < 0.62
    columns = {"src": src[order], "dst": dst[order], "t": t[order]}
    columns |= {"msg_log_duration": duration[order], "msg_rideable_type": bicycle[order]}
    return EventStream.of({**columns, "msg_member": member[order].astype(float)}, name=name)
