"""Perturbations of a stream whose strength p is known (brief 2.5)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from common.graphs.events import EventStream

KINDS = ("rewiring", "permutation", "time")
STRENGTHS = tuple(np.linspace(0, 0.9, 10).round(1).tolist())


def perturbations(
    events: EventStream,
    seed: int,
    strengths: Sequence[float] = STRENGTHS,
    *,
    bipartite: bool = False,
) -> Iterator[tuple[float, str, EventStream]]:
    """Yield (p, kind, perturbed stream) for every strength and kind.

    One generator serves them all, in the released order: for each p rewiring, permutation, time.

    Parameters
    ----------
    events : EventStream
        Left as it is.
    seed : int
        Of Python's generator.
    strengths : sequence of float
        Probabilities p.
    bipartite : bool
        Rewire to destinations that occur, instead of the released range of ids.
    """
    rng = random.Random(seed)
    for p in strengths:
        yield p, "rewiring", rewire(events, p, rng, bipartite=bipartite)
        yield p, "permutation", permute(events, p, rng)
        yield p, "time", move_times(events, p, rng)


def rewire(
    events: EventStream, p: float, rng: random.Random, *, bipartite: bool = False
) -> EventStream:
    """Replace each destination with probability p.

    As released the new one is uniform on 0 to the largest SOURCE id, so pages of a bipartite stream
    become users; ``bipartite`` draws among the destinations that occur.
    """
    largest, pool, dst = int(events.src.max()), np.unique(events.dst), events.dst.copy()
    for place in range(len(dst)):
        if rng.random() < p:
            dst[place] = pool[rng.randrange(len(pool))] if bipartite else rng.randint(0, largest)
    return replace(events, dst=dst)


def permute(events: EventStream, p: float, rng: random.Random) -> EventStream:
    """Swap each event's features, with probability p, with those of a random other event."""
    order = np.arange(len(events))
    for place in range(len(order)):
        if rng.random() < p and len(order) > 1:
            other = rng.randrange(len(order) - 1)
            other += other >= place
            order[place], order[other] = order[other], order[place]
    return replace(events, msg=events.msg[order])


def move_times(events: EventStream, p: float, rng: random.Random) -> EventStream:
    """Move each time, with probability p, to a whole one strictly between its neighbours'.

    Neighbours are those of the original stream, so two events that are both moved may change
    places: the result is then not in the order of time. It is scored as it is, as released.
    """
    old, t = events.t, events.t.copy()
    for place in range(len(old)):
        if rng.random() < p:
            before, after = old[max(place - 1, 0)], old[min(place + 1, len(old) - 1)]
            low, high = int(np.floor(before)) + 1, int(np.ceil(after)) - 1
            if abs(before - after) >= 2 and low <= high:
                t[place] = rng.randint(low, high)
    return replace(events, t=t)
