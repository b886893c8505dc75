"""Likelihoods from counts: what a learned likelihood has to beat, term by term."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np

from common.graphs.events import EventStream

# Pseudo-counts tried on the validation part.
GRID = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


class CountModel:
    """Counts with back-off from pairs to the marginal.

    p(v) = (c(v) + a) / (N + a V) and p(v | u) = (c(u, v) + b p(v)) / (c(u) + b), with N events and
    V candidates. The counts go on through the test, as the memory of a learned model does.

    Parameters
    ----------
    sources, destinations : array of int
        Candidates, sorted; every id that is ever asked for.
    a : float
        Pseudo-count of every candidate.
    b : float
        Weight of the marginal in the conditional: pseudo-count of the back-off.

    Examples
    --------
    >>> model = CountModel([0, 1], [2, 3], a=1.0, b=1.0)
    >>> stream = EventStream.of({"src": [0, 0], "dst": [2, 2], "t": [0, 1]})
    >>> model.observe(stream)
    >>> model.log_prob(stream[:1])["marginal_dst"].round(4).tolist() == [round(np.log(3 / 4), 4)]
    True
    """

    def __init__(
        self,
        sources: np.ndarray | list[int],
        destinations: np.ndarray | list[int],
        a: float = 1.0,
        b: float = 1.0,
    ) -> None:
        self.a, self.b = a, b
        self._ids = {"src": np.asarray(sources), "dst": np.asarray(destinations)}
        self._counts = {end: np.zeros(len(ids)) for end, ids in self._ids.items()}
        self._pairs: dict[tuple[int, int], int] = defaultdict(int)

    def observe(self, events: EventStream) -> None:
        """Count events."""
        for end, ids in self._ids.items():
            np.add.at(self._counts[end], np.searchsorted(ids, getattr(events, end)), 1)
        for pair in zip(events.src.tolist(), events.dst.tolist(), strict=True):
            self._pairs[pair] += 1

    def log_prob(self, events: EventStream) -> dict[str, np.ndarray]:
        """Return log p(src), log p(dst) and log p(dst | src) of every event, given the counts."""
        probabilities, own = {}, {}
        for end, ids in self._ids.items():
            count = self._counts[end][np.searchsorted(ids, getattr(events, end))]
            own[end] = count
            total = self._counts[end].sum() + self.a * len(ids)
            probabilities[end] = (count + self.a) / total
        pairs = zip(events.src.tolist(), events.dst.tolist(), strict=True)
        together = np.array([self._pairs.get(pair, 0) for pair in pairs])
        given = (together + self.b * probabilities["dst"]) / (own["src"] + self.b)
        return {
            "marginal_src": np.log(probabilities["src"]),
            "marginal_dst": np.log(probabilities["dst"]),
            "backoff_dst": np.log(given),
        }

    def scores(self, src: np.ndarray, dst: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Return log p(src) + log p(dst | src), shape (B,): counts as a link predictor."""
        found = self.log_prob(EventStream(src, dst, t, np.empty((len(src), 0))))
        return found["marginal_src"] + found["backoff_dst"]


def in_batches(model: CountModel, events: EventStream, batch_size: int) -> dict[str, np.ndarray]:
    """Return the log likelihoods of events, every batch scored before it is counted."""
    rows = []
    for begin in range(0, len(events), batch_size):
        batch = events[begin : begin + batch_size]
        rows.append(model.log_prob(batch))
        model.observe(batch)
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def fit_counts(
    train: EventStream,
    val: EventStream,
    sources: np.ndarray,
    destinations: np.ndarray,
    batch_size: int,
) -> CountModel:
    """Return a model that has counted both parts, with pseudo-counts chosen on the second."""

    def scored(a: float, b: float) -> tuple[CountModel, dict[str, np.ndarray]]:
        model = CountModel(sources, destinations, a, b)
        model.observe(train)
        return model, in_batches(model, val, batch_size)

    def worth(a: float, b: float, *names: str) -> float:
        found = scored(a, b)[1]
        return sum(found[name].mean() for name in names)

    a = max(GRID, key=lambda a: worth(a, 1.0, "marginal_src", "marginal_dst"))
    b = max(GRID, key=lambda b: worth(a, b, "backoff_dst"))
    return scored(a, b)[0]


def exponential_log_prob(spans: np.ndarray, train_spans: np.ndarray) -> np.ndarray:
    """Return the log density of spans under one exponential with the mean of training.

    Examples
    --------
    >>> exponential_log_prob(np.array([0.0]), np.array([1.0, 3.0])).tolist() == [-math.log(2)]
    True
    """
    mean = train_spans.mean()
    return -math.log(mean) - spans / mean


def column_log_prob(values: np.ndarray, train: np.ndarray, law: int | str) -> np.ndarray:
    """Return the log likelihood of a feature column under its training marginal.

    Levels of a categorical column (``law`` is their number) get one pseudo-count each, any other
    column the normal law of training.

    Examples
    --------
    >>> column_log_prob(np.array([1.0]), np.array([0.0, 1.0]), 2).tolist() == [math.log(0.5)]
    True
    """
    if isinstance(law, int):
        counts = np.bincount(train.astype(int), minlength=law) + 1.0
        return np.log(counts / counts.sum())[values.astype(int)]
    mean, std = train.mean(), max(train.std(), 1e-3)
    return -((((values - mean) / std) ** 2) + math.log(2 * math.pi)) / 2 - math.log(std)
