"""Statistics of snapshots of an event stream (TIGGER's protocol, section 2.8 of the brief).

A snapshot is the undirected 0/1 graph of the events in a window: directions, repeats and
self-loops are dropped, and its nodes are those with an edge.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from common.graphs.events import EventStream

# The ten of the paper's tables, by the names used here; `transitivity` is an addition (T13).
TIGGER_TEN = (
    "mean_degree",
    "wedge_count",
    "triangle_count",
    "power_law_exponent",
    "edge_entropy",
    "largest_component",
    "num_components",
    "tigger_clustering",
    "mean_closeness",
    "mean_betweenness",
)
# Windows by time are made for empty stretches too; more than this are a wrong unit.
_MOST_WINDOWS = 1_000_000
# Words of 64 sources times neighbours that a breadth-first search holds at once (32 MiB).
_WORDS = 2**22


def statistics(src: np.ndarray, dst: np.ndarray) -> dict[str, float]:
    """Return the statistics of the undirected simple graph of some events.

    Parameters
    ----------
    src, dst : ndarray of int, shape (E,)
        Ends of the events.

    Returns
    -------
    dict
        :data:`TIGGER_TEN` and ``transitivity``, with n nodes, m edges and degrees d:
        ``mean_degree``; ``wedge_count`` sum d(d-1)/2; ``triangle_count``; ``power_law_exponent``
        1 + n / sum ln(d / d_min), NaN if all degrees are equal; ``edge_entropy``
        -(1/ln n) sum d/2m ln((d + 1e-4)/2m); ``largest_component`` in nodes; ``num_components``;
        ``tigger_clustering`` 3 triangles / sum d(d-1)(d-2)/6, which is not the usual clustering
        coefficient (T13), infinite or NaN without claws; ``transitivity`` 3 triangles / wedges,
        NaN without wedges; ``mean_closeness`` as networkx (scaled by the share of nodes that are
        reached); ``mean_betweenness`` as networkx (normalised). Without edges counts are 0 and
        the others NaN.

    Examples
    --------
    >>> square = statistics(np.array([0, 1, 2, 3]), np.array([1, 2, 3, 0]))
    >>> square["wedge_count"], square["triangle_count"], square["mean_closeness"]
    (4.0, 0.0, 0.75)
    """
    edges = _edges(src, dst)
    if not len(edges):
        counts = ("wedge_count", "triangle_count", "largest_component", "num_components")
        names = (*TIGGER_TEN, "transitivity")
        return {name: 0.0 if name in counts else float("nan") for name in names}
    adjacency = _adjacency(edges)
    n, degrees = adjacency.shape[0], np.diff(adjacency.indptr).astype(float)
    wedges = (degrees * (degrees - 1) / 2).sum()
    claws = (degrees * (degrees - 1) * (degrees - 2) / 6).sum()
    triangles = (adjacency @ adjacency).multiply(adjacency).sum() / 6
    logs = np.log(degrees / degrees.min()).sum()
    shares, offset_shares = degrees / degrees.sum(), (degrees + 1e-4) / degrees.sum()
    components, member = connected_components(adjacency, directed=False)
    closeness, betweenness = _centralities(adjacency, np.bincount(member)[member])
    with np.errstate(divide="ignore", invalid="ignore"):
        values = {
            "mean_degree": degrees.mean(),
            "wedge_count": wedges,
            "triangle_count": triangles,
            "power_law_exponent": 1 + n / logs if logs > 0 else np.nan,
            "edge_entropy": -(shares * np.log(offset_shares)).sum() / np.log(n),
            "largest_component": np.bincount(member).max(),
            "num_components": components,
            "tigger_clustering": np.divide(3 * triangles, claws),
            "mean_closeness": closeness,
            "mean_betweenness": betweenness,
            "transitivity": np.divide(3 * triangles, wedges),
        }
    return {name: float(value) for name, value in values.items()}


def windows_by_time(
    events: EventStream, width: float = 500.0, origin: float | None = None
) -> list[EventStream]:
    """Cut a stream into windows [origin + i width, origin + (i + 1) width), empty ones included.

    Parameters
    ----------
    events : EventStream
        Stream to cut.
    width : float
        Length in the stream's unit of time; the paper takes 500 whatever the unit is (T14).
    origin : float, optional
        Begin of the first window, by default the time of the first event. Streams whose windows
        are compared need origins that mean the same.

    Returns
    -------
    list of EventStream
        Up to the window of the last event.

    Raises
    ------
    ValueError
        If the width is not positive, events precede the origin, or windows are more than 1e6.
    """
    if not width > 0:
        raise ValueError(f"width={width} must be positive")
    if not len(events):
        return []
    origin = float(events.t[0]) if origin is None else origin
    if events.t[0] < origin:
        raise ValueError(f"the first event, at {events.t[0]}, precedes origin={origin}")
    count = int((events.t[-1] - origin) // width) + 1
    if count > _MOST_WINDOWS:
        raise ValueError(
            f"width={width} cuts a span of {events.t[-1] - origin:g} into {count} windows; take a "
            "larger width or windows_by_count"
        )
    cuts = np.searchsorted(events.t, origin + width * np.arange(1, count), side="left")
    bounds = [0, *cuts.tolist(), len(events)]
    return [events[bounds[i] : bounds[i + 1]] for i in range(count)]


def windows_by_count(events: EventStream, count: int = 500) -> list[EventStream]:
    """Cut a stream into windows of ``count`` events; the last one may have fewer.

    Examples
    --------
    >>> stream = EventStream.of({"src": [0, 1, 2], "dst": [3, 3, 3], "t": [0, 1, 2]})
    >>> [len(window) for window in windows_by_count(stream, 2)]
    [2, 1]
    """
    if count < 1:
        raise ValueError(f"count={count} must be at least 1")
    return [events[begin : begin + count] for begin in range(0, len(events), count)]


def edge_overlap(a: EventStream, b: EventStream) -> float:
    """Return the share of the distinct undirected edges of ``b`` that are in ``a`` too.

    NaN if ``b`` has no edge that is not a self-loop.
    """
    ours = set(map(tuple, _edges(a.src, a.dst).tolist()))
    theirs = _edges(b.src, b.dst).tolist()
    return sum(tuple(edge) in ours for edge in theirs) / len(theirs) if theirs else float("nan")


def median_errors(
    real_windows: Sequence[EventStream], generated_windows: Sequence[EventStream]
) -> dict[str, float]:
    """Return, for every statistic, the median over windows of |real - generated|.

    Windows are paired by their place, up to the shorter list. Pairs whose real window has no
    events are left out, else a stream with long pauses would make every median 0; for each
    statistic pairs with an infinite or undefined value are left out.

    Parameters
    ----------
    real_windows, generated_windows : sequence of EventStream
        Of :func:`windows_by_time` or :func:`windows_by_count`.

    Returns
    -------
    dict
        Name to error, NaN where no pair is left.
    """
    differences: dict[str, list[float]] = {name: [] for name in (*TIGGER_TEN, "transitivity")}
    for real, generated in zip(real_windows, generated_windows, strict=False):
        if not len(real):
            continue
        ours, theirs = statistics(real.src, real.dst), statistics(generated.src, generated.dst)
        for name, errors in differences.items():
            if np.isfinite(ours[name]) and np.isfinite(theirs[name]):
                errors.append(abs(ours[name] - theirs[name]))
    return {
        name: float(np.median(errors)) if errors else float("nan")
        for name, errors in differences.items()
    }


def _edges(src: np.ndarray, dst: np.ndarray) -> np.ndarray:
    """Return the distinct undirected edges without loops, shape (m, 2), smaller id first."""
    ends = np.sort(np.column_stack([src, dst]), axis=1)
    return np.unique(ends[ends[:, 0] != ends[:, 1]], axis=0)


def _adjacency(edges: np.ndarray) -> sparse.csr_array:
    nodes, ends = np.unique(edges, return_inverse=True)
    ends = ends.reshape(edges.shape)
    rows, columns = np.concatenate([ends, ends[:, ::-1]]).T
    ones, shape = np.ones(len(rows), dtype=np.int64), (len(nodes), len(nodes))
    return sparse.csr_array((ones, (rows, columns)), shape=shape)


def _centralities(adjacency: sparse.csr_array, reached: np.ndarray) -> tuple[float, float]:
    """Return mean closeness and betweenness; ``reached`` are the sizes of nodes' components.

    A shortest path of length l has l - 1 inner nodes, so betweenness summed over all nodes is the
    sum of l - 1 over connected pairs: distances are enough for its mean.
    """
    n = adjacency.shape[0]
    distances = _distance_sums(adjacency)
    others = reached - 1.0
    closeness = others / distances * others / (n - 1)
    inner = (distances - others).sum() / 2
    pairs = (n - 1) * (n - 2) / 2
    return closeness.mean(), inner / n / pairs if pairs else 0.0


def _distance_sums(adjacency: sparse.csr_array) -> np.ndarray:
    """Return the sum of distances from every node to those it reaches, shape (n,).

    Breadth-first search from 64 sources per machine word. The graph is undirected, so the number
    of sources at distance l from a node is its number of targets at distance l.
    """
    n = adjacency.shape[0]
    sums = np.zeros(n)
    width = 64 * max(1, _WORDS // adjacency.nnz)
    for begin in range(0, n, width):
        sources = np.arange(begin, min(begin + width, n))
        frontier = np.zeros((n, (len(sources) + 63) // 64), dtype=np.uint64)
        place = sources - begin
        frontier[sources, place // 64] = np.uint64(1) << (place % 64).astype(np.uint64)
        seen, distance = frontier.copy(), 0
        while frontier.any():
            distance += 1
            # Every node has a neighbour, so no segment of the reduction is empty.
            spread = np.bitwise_or.reduceat(
                frontier[adjacency.indices], adjacency.indptr[:-1], axis=0
            )
            frontier = spread & ~seen
            seen |= frontier
            sums += distance * np.bitwise_count(frontier).sum(axis=1, dtype=np.int64)
    return sums
