"""Test likelihoods term by term, of DG-Gen and of counts; strange events by their likelihood."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np

from common.graphs.events import EventStream
from projects.dggen.counts import (
    CountModel,
    column_log_prob,
    exponential_log_prob,
    fit_counts,
    in_batches,
)
from projects.dggen.data import Task
from projects.dggen.model import DGGen


def counted(task: Task, batch_size: int) -> CountModel:
    """Return counts of everything before the test."""
    return fit_counts(task.train, task.val, task.sources, task.destinations, batch_size)


def count_likelihoods(
    counts: CountModel, task: Task, batch_size: int
) -> dict[str, dict[str, float]]:
    """Return mean negative log likelihoods of the test under counts, in nats per event.

    Parameters
    ----------
    counts : CountModel
        From :func:`counted`; it is left as it is.
    task : Task
        Its test is scored batch by batch, each batch counted after it was scored.
    batch_size : int
        Events per batch.

    Returns
    -------
    dict
        ``marginal``: ``src``, ``dst`` from their own counts, ``time`` under one exponential,
        ``features`` under their marginals; ``backoff``: ``dst`` given the source.
    """
    history = task.history
    terms = in_batches(copy.deepcopy(counts), task.test, batch_size)
    spans = np.diff(task.test.t, prepend=history.t[-1])
    time = exponential_log_prob(spans, np.diff(history.t))
    laws = task.columns or ("gmm",) * task.test.num_features
    features = [
        column_log_prob(task.test.msg[:, place], history.msg[:, place], law)
        for place, law in enumerate(laws)
    ]
    marginal = {"src": terms["marginal_src"], "dst": terms["marginal_dst"], "time": time}
    if features:
        marginal["features"] = np.sum(features, axis=0)
    return {
        "marginal": {name: -float(values.mean()) for name, values in marginal.items()},
        "backoff": {"dst": -float(terms["backoff_dst"].mean())},
    }


def model_likelihoods(model: DGGen, task: Task, batch_size: int) -> dict[str, float]:
    """Return the model's mean negative log likelihoods of the test, terms as above."""
    means = -model.log_prob(task.test, batch_size=batch_size).mean()
    names = ["src", "dst", "time", *(["features"] if task.test.num_features else [])]
    return {name: float(means[name]) for name in names}


def with_anomalies(
    events: EventStream, share: float, rng: np.random.Generator
) -> tuple[EventStream, np.ndarray]:
    """Exchange the destinations and the features of some events, each among these events.

    Times, sources, and the numbers of events of every destination stay as they are, so that only
    what belongs together gives the changed events away.

    Parameters
    ----------
    events : EventStream
        Normal events.
    share : float
        Share of events that are changed, at least two of them.
    rng : Generator
        Source of randomness.

    Returns
    -------
    EventStream
        With the changed events in their places.
    ndarray of bool
        True for changed ones. One whose new destination and features equal the old ones is not.

    Examples
    --------
    >>> stream = EventStream.of({"src": range(20), "dst": range(20, 40), "t": range(20)})
    >>> mixed, strange = with_anomalies(stream, 0.1, np.random.default_rng(0))
    >>> int(strange.sum()), sorted(mixed.dst.tolist()) == sorted(stream.dst.tolist())
    (2, True)
    """
    chosen = rng.choice(len(events), max(2, round(share * len(events))), replace=False)
    dst, msg = events.dst.copy(), events.msg.copy()
    # Moving on by one along a random order leaves nothing in its place.
    dst[chosen] = events.dst[np.roll(chosen, 1)]
    msg[chosen] = events.msg[np.roll(chosen, 2)]
    changed = (dst != events.dst) | (msg != events.msg).any(axis=1)
    return replace(events, dst=dst, msg=msg), changed


def anomaly_auc(
    model: DGGen,
    counts: CountModel,
    task: Task,
    share: float,
    batch_size: int,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Return the ROC AUC of surprise for changed events, of the model and of counts.

    Both score the same test batch by batch: ``dggen`` by -log p(event), ``dggen-ends`` by
    -log p(src, dst), ``backoff`` by that of counts.
    """
    from sklearn.metrics import roc_auc_score

    mixed, strange = with_anomalies(task.test, share, rng)
    terms = model.log_prob(mixed, batch_size=batch_size)
    found = in_batches(copy.deepcopy(counts), mixed, batch_size)
    scores = {
        "dggen": terms["total"].to_numpy(),
        "dggen-ends": (terms["src"] + terms["dst"]).to_numpy(),
        "backoff": found["marginal_src"] + found["backoff_dst"],
    }
    return {name: float(roc_auc_score(strange, -values)) for name, values in scores.items()}
