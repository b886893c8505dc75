"""How the graph of a stream grows: statistics after every event, computed incrementally."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

NAMES = ("mean_degree", "largest_component", "components", "power_law_exponent")


def growth(src: np.ndarray, dst: np.ndarray) -> np.ndarray:
    """Return four statistics of the growing undirected simple graph, after every event.

    Repeated edges count once; a self-loop counts two to its node's degree, as in networkx.
    Components come from a union-find, degrees from running sums: O(E log E) for the whole series.

    Parameters
    ----------
    src, dst : ndarray of int, shape (E,)
        Ends of the events, in the order of time.

    Returns
    -------
    ndarray, shape (E, 4)
        Mean degree 2 |E| / |V|, size of the largest component, number of components, and the
        exponent 1 + |V| / sum ln(d / d_min) (0 where the sum is 0).

    Examples
    --------
    >>> growth(np.array([0, 2]), np.array([1, 3]))[-1].tolist()
    [1.0, 2.0, 2.0, 0.0]
    """
    ends = np.concatenate([src, dst]).astype(np.int64)
    nodes, compact = np.unique(ends, return_inverse=True)
    u, v = compact[: len(src)], compact[len(src) :]
    pair = np.minimum(u, v) * len(nodes) + np.maximum(u, v)
    fresh = np.zeros(len(src), dtype=np.bool_)
    fresh[np.unique(pair, return_index=True)[1]] = True
    return _grow(u, v, fresh, len(nodes))


@numba.njit(cache=True)
def _root(parent, node):
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@numba.njit(cache=True)
def _grow(u, v, fresh, nodes):
    parent, size = np.arange(nodes), np.zeros(nodes, np.int64)
    degree = np.zeros(nodes, np.int64)
    of_degree = np.zeros(2 * len(u) + 3, np.int64)  # number of nodes of each degree
    series = np.empty((len(u), 4))
    seen = edges = components = largest = 0
    smallest, logs = 1, 0.0
    for event in range(len(u)):
        if fresh[event]:
            edges += 1
            for node in (u[event], v[event]):
                if size[node] == 0 and degree[node] == 0:
                    size[node] = 1
                    seen += 1
                    components += 1
                    smallest = 1
                else:
                    of_degree[degree[node]] -= 1
                    logs -= np.log(degree[node])
                degree[node] += 1
                of_degree[degree[node]] += 1
                logs += np.log(degree[node])
            a, b = _root(parent, u[event]), _root(parent, v[event])
            if a != b:
                if size[a] < size[b]:
                    a, b = b, a
                parent[b] = a
                size[a] += size[b]
                components -= 1
            largest = max(largest, size[a])
            while of_degree[smallest] == 0:
                smallest += 1
        spread = logs - seen * np.log(smallest)
        exponent = 1.0 + seen / spread if spread > 1e-9 else 0.0
        series[event, 0], series[event, 1] = 2.0 * edges / seen, largest
        series[event, 2], series[event, 3] = components, exponent
    return series


@dataclass(frozen=True)
class Sampled:
    """A step function of time, sampled at whole units: each value with the number of its samples.

    Attributes
    ----------
    values : ndarray, shape (k, 4)
        Distinct states of the graph.
    weights : ndarray of float, shape (k,)
        Units of time that each state was seen at; zero for states between two units.
    """

    values: np.ndarray
    weights: np.ndarray


def sampled_growth(src: np.ndarray, dst: np.ndarray, t: np.ndarray) -> Sampled:
    """Sample :func:`growth` at times 0, 1, ..., max(t) - 1 from the first event on.

    The graph at time s holds the events up to and including s. Only states that differ are
    computed, so that a stream in unix seconds costs no more than one in hours.

    Parameters
    ----------
    src, dst : ndarray of int, shape (E,)
        Ends of the events.
    t : ndarray, shape (E,)
        Times, not decreasing.

    Returns
    -------
    Sampled
        With a single sample of the last state if the stream lasts less than one unit.
    """
    series, shifted = growth(src, dst), np.asarray(t, float) - t[0]
    last = np.flatnonzero(np.append(np.diff(shifted) > 0, True))
    begins = np.ceil(shifted[last])
    finish = np.floor(shifted[-1])
    ends = np.minimum(np.append(np.ceil(shifted[last[1:]]), finish), finish)
    weights = np.maximum(ends - begins, 0.0)
    if not weights.any():
        weights[-1] = 1.0
    return Sampled(series[last], weights)
