"""Negative edges for link prediction: random, historical, inductive (section 2.7 and trap T17).

Poursafaei, Huang, Pelrine, Rabbany, Towards Better Evaluation for Dynamic Link Prediction, 2022.
All return one negative per positive event of a batch, none of them a pair of the batch.
"""

from __future__ import annotations

import numpy as np

from common.graphs.events import EventStream
from projects.dggen.edgebank import pair_keys, unpack_keys

KINDS = ("random", "historical", "inductive")
# A source that is linked with nearly all destinations may be hit again and again.
_ROUNDS = 100
Pairs = tuple[np.ndarray, np.ndarray]


def random_negatives(
    rng: np.random.Generator, src: np.ndarray, dst: np.ndarray, destinations: np.ndarray
) -> Pairs:
    """Return the batch's sources with random destinations.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    src, dst : ndarray of int, shape (B,)
        Positive events.
    destinations : ndarray of int
        Candidates. A source that the batch links with all of them keeps a pair of the batch.

    Returns
    -------
    src, dst : ndarray of int64, shape (B,)

    Raises
    ------
    ValueError
        Without candidates.
    """
    if not len(destinations):
        raise ValueError("there is no candidate destination to draw negatives from")
    positive = pair_keys(src, dst)
    drawn = rng.choice(destinations, len(src))
    for _ in range(_ROUNDS):
        hit = np.flatnonzero(np.isin(pair_keys(src, drawn), positive))
        if not len(hit):
            break
        drawn[hit] = rng.choice(destinations, len(hit))
    return np.array(src), drawn


def historical_negatives(
    rng: np.random.Generator,
    src: np.ndarray,
    dst: np.ndarray,
    history: EventStream,
    destinations: np.ndarray,
) -> Pairs:
    """Return pairs of the history that are not in the batch, each once; then random ones.

    ``history`` are the events before the test; other parameters and the result are those of
    :func:`random_negatives`.
    """
    pool = np.unique(pair_keys(history.src, history.dst))
    return _from_pool(rng, src, dst, pool, destinations)


def inductive_negatives(
    rng: np.random.Generator,
    src: np.ndarray,
    dst: np.ndarray,
    history: EventStream,
    test: EventStream,
    destinations: np.ndarray,
) -> Pairs:
    """Return pairs of the test that are neither in the history nor in the batch; then random ones.

    Parameters and result are those of :func:`historical_negatives`.
    """
    known = pair_keys(history.src, history.dst)
    pool = np.setdiff1d(pair_keys(test.src, test.dst), known)
    return _from_pool(rng, src, dst, pool, destinations)


def _from_pool(
    rng: np.random.Generator,
    src: np.ndarray,
    dst: np.ndarray,
    pool: np.ndarray,
    destinations: np.ndarray,
) -> Pairs:
    """Draw from a pool of keys without replacement; random negatives fill what is missing."""
    pool = np.setdiff1d(pool, pair_keys(src, dst))
    negative_src, negative_dst = random_negatives(rng, src, dst, destinations)
    drawn = rng.permutation(pool)[: len(src)]
    negative_src[: len(drawn)], negative_dst[: len(drawn)] = unpack_keys(drawn)
    return negative_src, negative_dst
