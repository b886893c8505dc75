"""The three definitions of the score (brief 2.3), the comparison of two graphs, and its limit."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from common.errors import did_you_mean
from common.graphs.events import EventStream
from projects.jlmetric.alignment import node_keys, sinkhorn
from projects.jlmetric.fingerprint import Embedding, Settings
from projects.jlmetric.histories import Histories, Limits, read

NORMALISE = ("own", "reference")


def frobenius(reference: np.ndarray, generated: np.ndarray) -> float:
    """Return <A, B>_F / (|A| |B|), the paper's definition; 0 if a norm is 0.

    Examples
    --------
    >>> round(frobenius(np.eye(2), np.array([[1.0, 0.0], [0.0, 0.0]])), 4)
    0.7071
    """
    norms = np.linalg.norm(reference) * np.linalg.norm(generated)
    return float(np.vdot(reference, generated) / norms) if norms > 0 else 0.0


def rows(reference: np.ndarray, generated: np.ndarray) -> float:
    """Return the mean cosine of the n rows, as the released experiments (there times -1)."""
    return float(np.mean(_cosines(reference, generated, 1e-6)))


def columns(reference: np.ndarray, generated: np.ndarray) -> float:
    """Return the mean cosine of the o columns, as the released package."""
    return float(np.mean(_cosines(reference.T, generated.T, 1e-8)))


SCORES = {"frobenius": frobenius, "rows": rows, "columns": columns}


def _cosines(a: np.ndarray, b: np.ndarray, eps: float) -> np.ndarray:
    """Cosines of corresponding rows; norms are at least eps."""
    norms = np.maximum(np.linalg.norm(a, axis=1), eps) * np.maximum(np.linalg.norm(b, axis=1), eps)
    return np.einsum("ij,ij->i", a, b) / norms


def known_score(name: str) -> str:
    """Return the name of a score, or raise ValueError with the choices."""
    if name not in SCORES:
        raise ValueError(f"unknown score {name!r}{did_you_mean(name, SCORES)}")
    return name


def known_normalisation(name: str) -> str:
    """Return the name of a way to scale, or raise ValueError with the choices."""
    if name not in NORMALISE:
        raise ValueError(f"unknown normalise {name!r}{did_you_mean(name, NORMALISE)}")
    return name


class Against:
    """Scores of graphs against one reference, whose fingerprint is computed once.

    Parameters
    ----------
    reference : EventStream
        At least one event.
    settings : Settings
        Of the maps.
    score : str
        ``frobenius``, ``rows`` or ``columns``.
    limits : Limits, optional
        That all graphs are scaled with; each with its own by default.
    """

    def __init__(
        self, reference: EventStream, settings: Settings, *, score: str, limits: Limits | None
    ) -> None:
        self._score, self._limits = SCORES[known_score(score)], limits
        self._embedding = Embedding(settings)
        histories = Histories.of(reference, limits)
        self._matched = settings.align == "sinkhorn"
        keys = node_keys(histories, "first_seen" if self._matched else settings.align)
        self._keys, self._x = keys, self._embedding.node_vectors(histories)
        self.fingerprint = self._embedding.mix(self._x, keys)

    def __call__(self, generated: EventStream) -> float:
        """Return the cosine of the two fingerprints."""
        embedding, histories = self._embedding, Histories.of(generated, self._limits)
        if not self._matched:
            return self._score(self.fingerprint, embedding.fingerprint(histories))
        y = embedding.node_vectors(histories)
        shares = sinkhorn(embedding.arrays.numpy(y), embedding.arrays.numpy(self._x))
        moved = embedding.arrays.array(shares).T @ y
        return self._score(self.fingerprint, embedding.mix(moved, self._keys))


def comparable(reference: Any, generated: Any, align: str) -> tuple[EventStream, EventStream]:
    """Return both as streams.

    Raises
    ------
    ValueError
        For an empty graph and for different numbers of features.

    Warns
    -----
    UserWarning
        If ``align="id"`` and no node is in both.
    """
    reference = read(reference, what="the reference graph")
    generated = read(generated, what="the generated graph")
    if reference.num_features != generated.num_features:
        raise ValueError(
            f"the reference has {reference.num_features} feature(s) per event and the generated "
            f"graph {generated.num_features}: give both the same msg columns, or none to both"
        )
    if align == "id" and not np.intersect1d(reference.nodes, generated.nodes).size:
        warnings.warn(
            "no node id is in both graphs, so align='id' compares unmatched nodes; try "
            "align='activity'",
            stacklevel=3,
        )
    return reference, generated


def limits_for(reference: EventStream, normalise: str) -> Limits | None:
    """Return the limits that both graphs are scaled with, None for each by its own."""
    return Limits.of(reference) if known_normalisation(normalise) == "reference" else None


def compare(
    reference: Any,
    generated: Any,
    *,
    score: str = "frobenius",
    align: str = "id",
    normalise: str = "own",
    node_dim: int = 100,
    graph_dim: int = 100,
    seed: int = 42,
    partner: bool = False,
    projection: str = "gaussian",
    device: Any = "cpu",
) -> float:
    """Return the JL-Metric of a generated graph: a cosine, 1 for equal graphs, higher is better.

    Parameters
    ----------
    reference, generated : EventStream, TemporalData, DataFrame, mapping or path of a CSV file
        Streams of events with the same feature columns.
    score : str
        ``frobenius``, the paper's; ``rows``, that of the released experiments; ``columns``, that
        of the released package.
    align : str
        What is compared with what: nodes of the same ``id``; of the same rank of appearance
        (``first_seen``, as released); of the same rank by ``activity``; or matched by their
        projected histories (``sinkhorn``, up to 3,000 nodes).
    normalise : str
        ``own``: every graph is scaled with its own limits, as in the paper; affine changes of
        time and of features are then invisible. ``reference``: both with the reference's.
    node_dim, graph_dim, seed, partner, projection, device
        See :func:`projects.jlmetric.fingerprint`.

    Returns
    -------
    float
        In [-1, 1].

    Raises
    ------
    ValueError
        For an empty graph, different numbers of features, unknown options.
    TypeError
        For something that holds no events.

    Examples
    --------
    >>> reference = {"src": [0, 0, 2], "dst": [1, 2, 1], "t": [0, 4, 9]}
    >>> round(compare(reference, reference), 6)
    1.0
    >>> compare(reference, {"src": [0, 0, 2], "dst": [3, 4, 3], "t": [0, 4, 9]}) < 0.9
    True
    """
    known_score(score)
    settings = Settings(node_dim, graph_dim, seed, align, partner, projection, device)
    reference, generated = comparable(reference, generated, align)
    limits = limits_for(reference, normalise)
    return Against(reference, settings, score=score, limits=limits)(generated)


def limit_cosine(
    reference: Any, generated: Any, *, align: str = "id", normalise: str = "own"
) -> float:
    """Return what the Frobenius score tends to as n and o grow, without any randomness.

    The inner product of two fingerprints is an unbiased estimate of the sum over matched nodes of
    the inner product of their histories, cut to the shorter one. This computes that sum itself, in
    O(E F), and its cosine. It is the score to judge n, o and the seed by.

    Parameters
    ----------
    reference, generated : EventStream, TemporalData, DataFrame, mapping or path of a CSV file
        Streams of events with the same feature columns.
    align : str
        ``id``, ``first_seen`` or ``activity``.
    normalise : str
        ``own`` or ``reference``.

    Returns
    -------
    float

    Examples
    --------
    >>> events = {"src": [0, 0, 2], "dst": [1, 2, 1], "t": [0, 4, 9]}
    >>> round(limit_cosine(events, events), 6)
    1.0
    """
    reference, generated = comparable(reference, generated, align)
    limits = limits_for(reference, normalise)
    a, b = Histories.of(reference, limits), Histories.of(generated, limits)
    _, in_a, in_b = np.intersect1d(
        node_keys(a, align), node_keys(b, align), assume_unique=True, return_indices=True
    )
    shared = np.minimum(a.degree[in_a], b.degree[in_b])
    within = np.arange(shared.sum()) - np.repeat(np.cumsum(shared) - shared, shared)
    i, j = (
        graph.incidence[np.repeat(graph.start[chosen], shared) + within]
        for graph, chosen in ((a, in_a), (b, in_b))
    )
    inner = np.einsum("ij,ij->", a.scaled[i >> 1], b.scaled[j >> 1]) + np.sum(i & j & 1)
    squares = [2.0 * np.sum(graph.scaled**2) + len(graph.scaled) for graph in (a, b)]
    return float(inner / np.sqrt(squares[0] * squares[1]))
