"""Perturbations that take away diversity: modes dropped or collapsed (brief 2.5)."""

from __future__ import annotations

import random
import warnings
from dataclasses import dataclass, replace

import numpy as np

from common.graphs.events import EventStream

KINDS = ("dropping", "collapse", "collapse as released")


@dataclass(frozen=True)
class Modes:
    """Clusters of nodes.

    Attributes
    ----------
    of_node : ndarray of int, shape (V,)
        Mode of every node id; -1 for ids that do not occur.
    representative : ndarray of int, shape (modes,)
        Node nearest to each mode's centre.
    farthest : ndarray of int, shape (modes,)
        For each mode, the one whose centre is farthest away.
    """

    of_node: np.ndarray
    representative: np.ndarray
    farthest: np.ndarray

    @property
    def count(self) -> int:
        """Number of modes."""
        return len(self.representative)


def tgn_modes(
    events: EventStream, *, epochs: int, seed: int, most: int = 3000, **sizes: int
) -> Modes:
    """Cluster the nodes by the memory of a temporal graph network trained on the stream.

    Parameters
    ----------
    events : EventStream
        The stream.
    epochs, seed : int
        Of the training.
    most : int
        Nodes that are clustered at most; affinity propagation is quadratic.
    **sizes
        Of :func:`common.graphs.links.train_tgn`.
    """
    from common.graphs.links import train_tgn

    if len(events.nodes) > most:
        raise ValueError(f"{len(events.nodes)} nodes to cluster, at most {most}: take fewer events")
    tgn, _ = train_tgn(events.shifted(), epochs=epochs, seed=seed, **sizes)
    return cluster(tgn.memory.numpy(), events.nodes)


def cluster(embedding: np.ndarray, nodes: np.ndarray) -> Modes:
    """Cluster rows of an embedding by affinity propagation.

    Parameters
    ----------
    embedding : ndarray, shape (V, d)
        One row per node id.
    nodes : ndarray of int
        Ids that occur.
    """
    from sklearn.cluster import AffinityPropagation

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged: the clusters of the last step count
        found = AffinityPropagation(random_state=5).fit(embedding[nodes])
    labels = np.where(found.labels_ < 0, 0, found.labels_)
    centres = np.stack(
        [embedding[nodes][labels == mode].mean(axis=0) for mode in np.unique(labels)]
    )
    _, labels = np.unique(labels, return_inverse=True)
    of_node = np.full(len(embedding), -1)
    of_node[nodes] = labels
    gaps = np.linalg.norm(embedding[nodes][:, None] - centres[None], axis=-1)
    gaps[labels[:, None] != np.arange(len(centres))] = np.inf
    between = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    return Modes(of_node, nodes[gaps.argmin(axis=0)], between.argmax(axis=1))


def drop_modes(events: EventStream, modes: Modes, p: float, rng: random.Random) -> EventStream:
    """Drop each mode with probability p; its events become copies of others, times stay.

    An event of a dropped mode takes source, destination and features of a random event that
    touches none (of any event, if none is left).
    """
    dropped = np.array([rng.random() < p for _ in range(modes.count)], dtype=bool)
    hit = dropped[modes.of_node[events.src]] | dropped[modes.of_node[events.dst]]
    pool = np.flatnonzero(~hit) if not hit.all() else np.arange(len(events))
    taken = np.arange(len(events))
    for place in np.flatnonzero(hit):
        taken[place] = pool[rng.randrange(len(pool))]
    return replace(events, src=events.src[taken], dst=events.dst[taken], msg=events.msg[taken])


def collapse_modes(
    events: EventStream, modes: Modes, p: float, rng: random.Random, *, released: bool = False
) -> EventStream:
    """Replace each event, with probability p, by what is typical of its nodes' modes.

    Features become the mean of the source's mode, ends the representative nodes of their modes. As
    released the ends become the number of the mode whose centre is farthest: a cluster's number
    used as a node's id.
    """
    if p == 0:
        return events
    mode = modes.of_node[events.src]
    sums = np.zeros((modes.count, events.num_features))
    np.add.at(sums, mode, events.msg)
    means = sums / np.maximum(np.bincount(mode, minlength=modes.count), 1)[:, None]
    src, dst, msg = events.src.copy(), events.dst.copy(), events.msg.copy()
    ends = modes.farthest if released else modes.representative
    for place in range(len(events)):
        if rng.random() < p:
            msg[place] = means[mode[place]]
            src[place] = ends[modes.of_node[events.src[place]]]
            dst[place] = ends[modes.of_node[events.dst[place]]]
    return replace(events, src=src, dst=dst, msg=msg)
