"""Link prediction by the protocol of section 2.7(b): score a batch, then show it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from common.graphs.events import EventStream
from projects.dggen.negatives import (
    KINDS,
    historical_negatives,
    inductive_negatives,
    random_negatives,
)


class LinkScorer(Protocol):
    """What predicts links: DG-Gen, TGN, EdgeBank or counts, after some history."""

    def scores(self, src: np.ndarray, dst: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Return scores of pairs, higher for likelier links, given the events so far."""

    def observe(self, events: EventStream) -> None:
        """Take in events; later scores may depend on them."""


def evaluate_links(
    scorers: Mapping[str, LinkScorer],
    history: EventStream,
    test: EventStream,
    destinations: np.ndarray,
    rng: np.random.Generator,
    batch_size: int = 200,
) -> dict[tuple[str, str], dict[str, float]]:
    """Compare the scores of test events with those of negatives, batch by batch.

    All scorers get the same negatives. A batch is scored before it is shown, so the score of an
    event never depends on the event.

    Parameters
    ----------
    scorers : mapping of str to LinkScorer
        Have seen the history; they move on through the test.
    history, test : EventStream
        Events before the test, and those of the test.
    destinations : ndarray of int
        Candidates of random negatives.
    rng : Generator
        Draws the negatives.
    batch_size : int
        Events per batch.

    Returns
    -------
    dict
        Per scorer and kind of negatives (``random``, ``historical``, ``inductive``): ``ap`` and
        ``auc``, means over batches; ``ap_pooled`` and ``auc_pooled`` over all pairs at once;
        ``ap_new`` and ``auc_new``, pooled over the events with a node that the history does not
        hold, and their negatives; NaN without such events.

    Raises
    ------
    ValueError
        If a score is NaN.
    """
    parts: dict[tuple[str, str], list[tuple[np.ndarray, np.ndarray]]] = {
        (name, kind): [] for name in scorers for kind in KINDS
    }
    for begin in range(0, len(test), batch_size):
        batch = test[begin : begin + batch_size]
        ends = rng, batch.src, batch.dst
        drawn = (
            random_negatives(*ends, destinations),
            historical_negatives(*ends, history, destinations),
            inductive_negatives(*ends, history, test, destinations),
        )
        src, dst = (
            np.concatenate([own, *others])
            for own, others in zip((batch.src, batch.dst), zip(*drawn, strict=True), strict=True)
        )
        for name, scorer in scorers.items():
            scores = np.asarray(scorer.scores(src, dst, np.tile(batch.t, 1 + len(KINDS))), float)
            if np.isnan(scores).any():
                raise ValueError(f"{name}: {np.isnan(scores).sum()} scores are NaN at {begin}")
            positive, *negatives = np.split(scores, 1 + len(KINDS))
            for kind, negative in zip(KINDS, negatives, strict=True):
                parts[name, kind].append((positive, negative))
            scorer.observe(batch)
    seen = history.nodes
    new = ~(np.isin(test.src, seen) & np.isin(test.dst, seen))
    return {key: _summary(pairs, new) for key, pairs in parts.items()}


def _summary(pairs: list[tuple[np.ndarray, np.ndarray]], new: np.ndarray) -> dict[str, float]:
    batches = [ap_auc(*pair) for pair in pairs]
    positive, negative = (np.concatenate(side) for side in zip(*pairs, strict=True))
    summary = dict(zip(("ap", "auc"), np.mean(batches, axis=0).tolist(), strict=True))
    summary["ap_pooled"], summary["auc_pooled"] = ap_auc(positive, negative)
    summary["ap_new"], summary["auc_new"] = ap_auc(positive[new], negative[new])
    return summary


def ap_auc(positive: np.ndarray, negative: np.ndarray) -> tuple[float, float]:
    """Return average precision and ROC AUC of positive against negative scores.

    NaN without scores. Minus infinity, a pair that a model rules out, ranks last.

    Examples
    --------
    >>> [round(value, 4) for value in ap_auc(np.array([2.0, 1.0]), np.array([0.0, 1.0]))]
    [0.8333, 0.875]
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    if not len(positive):
        return float("nan"), float("nan")
    scores = np.concatenate([positive, negative])
    lowest = scores[np.isfinite(scores)].min(initial=0.0)
    scores = np.where(np.isneginf(scores), lowest - 1.0, scores)
    labels = np.repeat([1, 0], [len(positive), len(negative)])
    return float(average_precision_score(labels, scores)), float(roc_auc_score(labels, scores))
