"""An activity-driven generator: users with rates of their own who come back to their partners."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.graphs.events import EventStream
from projects.dggen.config import NotFittedError
from projects.dggen.edgebank import pair_keys


def repeat_share(events: EventStream) -> float:
    """Return the share of events whose pair (src, dst) occurred before them in the stream.

    Examples
    --------
    >>> stream = EventStream.of({"src": [0, 0, 1, 0], "dst": [2, 2, 2, 3], "t": [0, 1, 2, 3]})
    >>> repeat_share(stream)
    0.25
    """
    if not len(events):
        raise ValueError("an empty stream has no share of repeated pairs")
    return 1 - len(np.unique(pair_keys(events.src, events.dst))) / len(events)


@dataclass(frozen=True)
class _Fitted:
    train: EventStream
    sources: np.ndarray
    rates: np.ndarray
    repeat: float


class ActivityDriven:
    """Poisson sources; destinations by re-contact or by popularity (section 4 of the brief).

    Each source fires at the rate of its training events over the span of training. With
    probability r, the share of training events whose pair had occurred before, the destination is
    one of its past partners by the number of contacts, those generated so far included; else it is
    drawn by its share of the training events. The second may hit a past partner too, so slightly
    more than r of the generated events repeat a pair.

    Parameters
    ----------
    repeat : float, optional
        r, if it is not to be measured.

    Examples
    --------
    >>> train = EventStream.of({"src": [0, 0, 1, 0], "dst": [2, 2, 3, 2], "t": [0, 1, 2, 4]})
    >>> model = ActivityDriven().fit(train)
    >>> model.repeat, model.rates.tolist()
    (0.5, [0.75, 0.25])
    >>> len(model.sample(10, np.random.default_rng(0)))
    10
    """

    def __init__(self, repeat: float | None = None) -> None:
        if repeat is not None and not 0 <= repeat <= 1:
            raise ValueError(f"repeat={repeat} must be a probability, or None to measure it")
        self._given = repeat
        self._fitted: _Fitted | None = None

    def fit(self, train: EventStream) -> ActivityDriven:
        """Measure rates, partners, popularity and r.

        Raises
        ------
        ValueError
            If the stream spans no time: rates would be infinite.
        """
        span = float(train.t[-1] - train.t[0]) if len(train) else 0.0
        if not span > 0:
            raise ValueError(
                f"{len(train)} training events span {span:g} units of time; rates need a span"
            )
        sources, counts = np.unique(train.src, return_counts=True)
        repeat = repeat_share(train) if self._given is None else self._given
        self._fitted = _Fitted(train, sources, counts / span, repeat)
        return self

    @property
    def repeat(self) -> float:
        """Probability r of a past partner."""
        return self._get().repeat

    @property
    def rates(self) -> np.ndarray:
        """Events per unit of time of every source, in the order of ids."""
        return self._get().rates

    def sample(
        self, num_events: int, rng: np.random.Generator, start_time: float = 0.0
    ) -> EventStream:
        """Draw a stream that goes on after training.

        Parameters
        ----------
        num_events : int
            Number of events.
        rng : Generator
            Source of randomness.
        start_time : float
            Time from which the sources fire; the first event comes one gap later.

        Returns
        -------
        EventStream
            Features are those of training events drawn at random, independent of the ends.

        Raises
        ------
        NotFittedError
            Before :meth:`fit`.
        ValueError
            If ``num_events`` is negative.
        """
        model = self._get()
        if num_events < 0:
            raise ValueError(f"num_events={num_events} must not be negative")
        train, total = model.train, model.rates.sum()
        # Independent Poisson processes fire together as one of the summed rate, each event being
        # of a source by its share of the rate.
        t = start_time + np.cumsum(rng.exponential(1 / total, num_events))
        src = rng.choice(model.sources, num_events, p=model.rates / total)
        popular = train.dst[rng.integers(0, len(train), num_events)]
        again, pick = rng.random(num_events) < model.repeat, rng.random(num_events)
        history: dict[int, list[int]] = {int(u): [] for u in model.sources}
        for u, v in zip(train.src.tolist(), train.dst.tolist(), strict=True):
            history[u].append(v)
        dst = np.empty(num_events, dtype=np.int64)
        for event, u in enumerate(src.tolist()):
            past = history[u]
            dst[event] = past[int(pick[event] * len(past))] if again[event] else popular[event]
            past.append(int(dst[event]))
        msg = train.msg[rng.integers(0, len(train), num_events)]
        return EventStream(src, dst, t, msg, name="activity_driven", columns=train.columns)

    def _get(self) -> _Fitted:
        if self._fitted is None:
            raise NotFittedError("ActivityDriven has no rates yet; call fit(train) first")
        return self._fitted
