"""Measures set beside JL-Metric, all of one call shape: distances(reference)(stream) -> numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from common.graphs.events import EventStream
from projects.jlmetric.descriptors import Description, classical_distances
from projects.jlmetric.fingerprint import Settings
from projects.jlmetric.histories import Histories, Limits
from projects.jlmetric.released import released_fingerprint
from projects.jlmetric.scores import Against, rows

Distances = Callable[[EventStream], dict[str, float]]
VARIANTS = ("jl id", "jl first_seen", "jl partner", "released", "classical", "pooled", "random tgn")


def distances(reference: EventStream, family: str, *, seed: int = 42) -> Distances:
    """Return what maps a stream to its distances from the reference.

    Parameters
    ----------
    reference : EventStream
        The real stream.
    family : str
        Among :data:`VARIANTS`; ``classical``, ``pooled`` and ``random tgn`` give several numbers.
    seed : int
        Of random maps.
    """
    if family.startswith("jl "):
        return _jl(reference, family, seed)
    if family == "released":
        fingerprint = released_fingerprint(reference, seed=seed).double().numpy()

        def released(stream: EventStream) -> dict[str, float]:
            other = released_fingerprint(stream, seed=seed).double().numpy()
            return {"released": -rows(fingerprint, other)}

        return released
    if family == "classical":
        own = Description.of(reference)
        return lambda stream: classical_distances(own, Description.of(stream))
    if family == "pooled":
        return _pooled(reference)
    if family == "random tgn":
        return _random_tgn(reference, seed)
    raise ValueError(f"unknown measure {family!r}; known are {', '.join(VARIANTS)}")


def _jl(reference: EventStream, family: str, seed: int) -> Distances:
    how = family.removeprefix("jl ")
    settings = Settings(
        seed=seed, align="id" if how == "partner" else how, partner=how == "partner"
    )
    score = Against(reference, settings, score="frobenius", limits=None)
    return lambda stream: {family: -score(stream)}


def _pooled(reference: EventStream) -> Distances:
    """Ablations: the mean over a node's events for W1, the mean over nodes for W2."""

    def node_means(stream: EventStream) -> np.ndarray:
        histories = Histories.of(stream)
        table = entries(stream)
        sums = np.zeros((stream.num_nodes, table.shape[2]))
        np.add.at(sums, stream.src, table[0])
        np.add.at(sums, stream.dst, table[1])
        counts = np.bincount(np.concatenate([stream.src, stream.dst]))
        return (sums / np.maximum(counts, 1)[:, None])[histories.nodes]

    own = node_means(reference)

    def pooled(stream: EventStream) -> dict[str, float]:
        other = node_means(stream)
        gap = own.mean(axis=0) - other.mean(axis=0)
        return {"mean of events and nodes": float(gap @ gap)}

    return pooled


def entries(stream: EventStream) -> np.ndarray:
    """What an event adds to its ends: [features, time, role]; shape (2, E, F + 2)."""
    scaled = Limits.of(stream).scale(stream)
    role = np.zeros((len(stream), 1))
    return np.stack([np.hstack([scaled, role]), np.hstack([scaled, role + 1])])


def _random_tgn(reference: EventStream, seed: int) -> Distances:
    """Embeddings of an untrained temporal graph network: Frechet distance and linear MMD."""
    own = random_embedding(reference, seed)

    def random_tgn(stream: EventStream) -> dict[str, float]:
        other = random_embedding(stream, seed)
        gap = own.mean(axis=0) - other.mean(axis=0)
        return {"random TGN MMD": float(gap @ gap), "random TGN Frechet": frechet(own, other)}

    return random_tgn


def random_embedding(stream: EventStream, seed: int, width: int = 32) -> np.ndarray:
    """Memory of an untrained network after all events, rows of the nodes that occur."""
    import torch

    from common.graphs.links import event_tensors
    from common.graphs.tgn import TGN

    order = np.argsort(stream.t, kind="stable")
    stream = stream[order].shifted()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sizes = {"memory_dim": width, "time_dim": width, "embedding_dim": width}
        tgn = TGN(stream.num_nodes, stream.num_features, **sizes).eval()
    parts = [part.split(100) for part in event_tensors(stream)]
    for batch in zip(*parts, strict=True):
        tgn.update(*batch)
    return tgn.memory[stream.nodes].numpy().astype(float)


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Frechet distance between normal distributions with the means and covariances of the rows.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(50, 3))
    >>> round(abs(frechet(x, x + 1)), 6)
    3.0
    """
    gap = a.mean(axis=0) - b.mean(axis=0)
    first, second = np.cov(a.T), np.cov(b.T)
    # The trace of the root of a product of covariances is the sum of the roots of its eigenvalues.
    values = np.linalg.eigvals(first @ second).real.clip(min=0)
    return float(gap @ gap + np.trace(first) + np.trace(second) - 2 * np.sqrt(values).sum())
