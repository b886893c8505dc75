"""The event streams of the registry by short names, and the generator that stands in for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.errors import DataError, known
from common.graphs.events import EventStream

if TYPE_CHECKING:
    import pandas as pd

    from common.run import Run

REGISTERED = "temporal-graphs"
STAND_IN = "synthetic-stream"


def _table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    frame = pd.read_csv(path)
    if missing := [column for column in columns if column not in frame.columns]:
        raise DataError(f"{path.name} has no column {missing}; it has {list(frame.columns)}")
    return frame


def read_wikipedia(path: Path) -> EventStream:
    """Read Wikipedia edits (users to pages); the column called days holds seconds or hours."""
    frame = _table(path, ("start", "end", "days"))
    return EventStream.of({"src": frame["start"], "dst": frame["end"], "t": frame["days"]})


def read_uci(path: Path) -> EventStream:
    """Read messages between students of UC Irvine; times in seconds since the first one."""
    import pandas as pd

    frame = _table(path, ("start", "end", "time"))
    at = pd.to_datetime(frame["time"])
    seconds = (at - at.min()).dt.total_seconds()
    frame = frame.assign(t=seconds).sort_values("t", kind="stable")
    return EventStream.of({"src": frame["start"], "dst": frame["end"], "t": frame["t"]})


def read_bitcoin(path: Path) -> EventStream:
    """Read Bitcoin-OTC's trust ratings (-10 to 10, never 0), the one stream with a feature."""
    frame = _table(path, ("from", "to", "feature", "time")).sort_values("time", kind="stable")
    columns = {"src": frame["from"], "dst": frame["to"], "t": frame["time"]}
    return EventStream.of({**columns, "msg_rating": frame["feature"]})


@dataclass(frozen=True)
class _Source:
    file: str
    read: Callable[[Path], EventStream]
    # The papers on dynamic graphs use the streams of JODIE; the others play their part.
    label: str = "substitute"


SOURCES = {
    "wikipedia": _Source("wiki_processed.csv", read_wikipedia, "original"),
    "wikipedia-50h": _Source("wiki_744_50.csv", read_wikipedia, "original"),
    "uci": _Source("ucsocial_data.csv", read_uci),
    "bitcoin-otc": _Source("soc-sign-bitcoinotc.csv", read_bitcoin),
}


def load_streams(run: Run, names: Sequence[str], *, stand_ins: int = 1) -> list[EventStream]:
    """Load streams for an experiment, each under its name and with its label on the run.

    Parameters
    ----------
    run : Run
        Decides between real data and stand-ins.
    names : sequence of str
        Among ``wikipedia``, ``wikipedia-50h``, ``uci``, ``bitcoin-otc``.
    stand_ins : int
        Number of generated streams that take the place of those that cannot be had.

    Returns
    -------
    list of EventStream
        Whole streams; Wikipedia's and UCI's have F = 0.
    """
    streams, missing = [], False
    for name in names:
        source = SOURCES[known(name, SOURCES, "event stream")]
        found = run.dataset(REGISTERED, label=source.label, files=[source.file], alias=name)
        if found is None:
            missing = True
            continue
        streams.append(replace(source.read(found.files[source.file]), name=name))
    for number in range(stand_ins if missing else 0):
        name = STAND_IN if stand_ins == 1 else f"{STAND_IN}-{number}"
        run.synthetic(name, "rich-get-richer users, repeated pages; common.graphs.streams")
        streams.append(edit_stream(run.rng(STAND_IN, number), name=name))
    return streams


def edit_stream(
    rng: np.random.Generator, events: int = 5000, *, pages: int = 1000, name: str = STAND_IN
) -> EventStream:
    """Draw a bipartite stream with the coarse statistics of the Wikipedia edits.

    A new user comes with probability 8227 / 157474, else the user of a past event edits again (so
    users get rich with their activity); with probability 0.88 it is one of the pages that they
    edited before, else a page by Zipf's law. Gaps are exponential with mean 17 s, 3 % are zero.
    All four numbers were measured on the real stream.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    events : int
        Number of events.
    pages : int
        Number of pages that can be edited.
    name : str
        Name of the stream.

    Returns
    -------
    EventStream
        F = 0; users come first in the ids, pages after them.
    """
    new_user, repeat = 8227 / 157474, 0.88
    weights = 1.0 / np.arange(1, pages + 1)
    fresh_pages = rng.choice(pages, size=events, p=weights / weights.sum())
    is_new, is_repeat = rng.random(events) < new_user, rng.random(events) < repeat
    is_new[0] = True
    pick, users, chosen = rng.random((2, events)), np.empty(events, np.int64), np.empty(events, int)
    history: list[list[int]] = []
    for event in range(events):
        if is_new[event]:
            users[event] = len(history)
            history.append([])
        else:
            users[event] = users[int(pick[0, event] * event)]
        past = history[users[event]]
        again = past and is_repeat[event]
        chosen[event] = past[int(pick[1, event] * len(past))] if again else fresh_pages[event]
        past.append(chosen[event])
    gaps = np.floor(rng.exponential(17.0 / 0.97, events)) * (rng.random(events) >= 0.03)
    _, compact = np.unique(chosen, return_inverse=True)
    t = np.cumsum(gaps) - gaps[0]
    return EventStream.of({"src": users, "dst": len(history) + compact, "t": t}, name=name)


def with_features(
    events: EventStream, rng: np.random.Generator, width: int, *, name: str | None = None
) -> EventStream:
    """Give a stream synthetic features that depend on both ends of an event.

    msg = 0.6 a_src + 0.6 b_dst + 0.5 noise with standard normal vectors a, b drawn per node.

    Parameters
    ----------
    events : EventStream
        Source, destination and time are kept.
    rng : Generator
        Source of randomness.
    width : int
        F: 4 as in MOOC's stream, 172 as in Wikipedia's and Reddit's.
    name : str, optional
        Name of the result, ``<name>+features`` by default.

    Returns
    -------
    EventStream
    """
    a, b = rng.normal(size=(2, events.num_nodes, width))
    noise = rng.normal(size=(len(events), width))
    msg = 0.6 * a[events.src] + 0.6 * b[events.dst] + 0.5 * noise
    name = name or f"{events.name}+features"
    return replace(events, msg=msg, columns=(), name=name)
