"""Which node of one graph stands for which node of the other: keys of W2's rows, or Sinkhorn."""

from __future__ import annotations

import numpy as np

from common.errors import did_you_mean
from projects.jlmetric.histories import Histories

KEYED = ("id", "first_seen", "activity")
ALIGNMENTS = (*KEYED, "sinkhorn")
SINKHORN_NODES = 3000
_ABSORB_EVERY = 10


def known_alignment(name: str) -> str:
    """Return the name of an alignment, or raise ValueError with the choices."""
    if name not in ALIGNMENTS:
        raise ValueError(f"unknown alignment {name!r}{did_you_mean(name, ALIGNMENTS)}")
    return name


def node_keys(histories: Histories, align: str) -> np.ndarray:
    """Return the key of every node's row of W2.

    Parameters
    ----------
    histories : Histories
        Of one graph.
    align : str
        ``id``: the node's id. ``first_seen``: its rank of first appearance, as released; one
        early event that brings a node in shifts all later keys. ``activity``: its rank by number
        of events, ties by first appearance.

    Returns
    -------
    ndarray of int64, shape (N,)

    Raises
    ------
    ValueError
        For ``sinkhorn``, which needs two graphs, and for unknown names.

    Examples
    --------
    >>> from common.graphs.events import EventStream
    >>> histories = Histories.of(EventStream.of({"src": [4, 9], "dst": [9, 2], "t": [0, 1]}))
    >>> histories.nodes.tolist(), node_keys(histories, "first_seen").tolist()
    ([9, 4, 2], [1, 0, 2])
    """
    if known_alignment(align) == "sinkhorn":
        raise ValueError(
            "align='sinkhorn' matches the nodes of two graphs, there are no keys for one: use "
            f"compare(reference, generated), or one of {', '.join(KEYED)}"
        )
    if align == "id":
        return histories.nodes
    return histories.first_seen if align == "first_seen" else np.arange(len(histories))


def sinkhorn(
    x: np.ndarray,
    y: np.ndarray,
    *,
    regularisation: float = 0.01,
    iterations: int = 1000,
    tolerance: float = 1e-4,
) -> np.ndarray:
    """Match two sets of vectors softly: entropic optimal transport with uniform masses.

    Alternating scaling (Cuturi, NIPS 2013) for the cost |x_i - y_j|^2 over its mean. Potentials
    are kept in the log domain and absorb the scaling factors every few steps, so small
    regularisation neither over- nor underflows.

    Parameters
    ----------
    x : ndarray, shape (N, n)
    y : ndarray, shape (M, n)
        At most 3,000 vectors each; the plan is a dense matrix.
    regularisation : float
        Weight of the entropy; smaller is closer to a hard matching and slower.
    iterations : int
        At most that many.
    tolerance : float
        Stop when the mean relative error of the row masses is smaller.

    Returns
    -------
    ndarray, shape (N, M)
        Row i says what share of x_i goes to every y_j: rows sum to 1, columns to N / M.

    Raises
    ------
    ValueError
        If a set has more than 3,000 vectors.
    """
    if max(len(x), len(y)) > SINKHORN_NODES:
        raise ValueError(
            f"align='sinkhorn' holds a dense matrix of {len(x)} x {len(y)} nodes; at most "
            f"{SINKHORN_NODES} per graph: use align='activity', or compare shorter windows"
        )
    from scipy.special import logsumexp

    cost = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1) - 2.0 * (x @ y.T)
    np.maximum(cost, 0.0, out=cost)
    scale = cost.mean() * regularisation
    kernel = -cost / scale if scale > 0 else np.zeros_like(cost)
    a, b = 1.0 / len(x), 1.0 / len(y)
    f = np.log(a) - logsumexp(kernel, axis=1)
    g = np.log(b) - logsumexp(kernel + f[:, None], axis=0)
    plan, u, v = np.exp(kernel + f[:, None] + g), np.ones(len(x)), np.ones(len(y))
    for step in range(1, iterations):
        masses = plan @ v
        if np.abs(u * masses / a - 1.0).mean() < tolerance:
            break
        # From here on a step changes u and v by a factor of at most N or M, so nothing vanishes.
        u = a / masses
        v = b / (u @ plan)
        if step % _ABSORB_EVERY == 0:
            f, g = f + np.log(u), g + np.log(v)
            plan, u, v = np.exp(kernel + f[:, None] + g), np.ones(len(x)), np.ones(len(y))
    plan *= u[:, None] * v
    return plan / plan.sum(axis=1, keepdims=True)
