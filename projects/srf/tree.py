"""Tree-NeighborsMatch: what a leaf knows has to reach the root of a binary tree."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch

from common.errors import known
from projects.srf.graph_sets import GraphSet

MOST_PERMUTATIONS, MOST_GRAPHS = 1000, 32_000
ORDERS = ("canonical", "permuted")


def tree_edges(depth: int) -> torch.Tensor:
    """Edges child to parent and self loops of a complete binary tree in pre-order."""
    edges, count = [], 2 ** (depth + 1) - 1

    def grow(node: int, below: int) -> None:
        if below:
            for child in (node + 1, node + 2**below):
                edges.append((child, node))
                grow(child, below - 1)

    grow(0, depth)
    return torch.tensor(edges + [(node, node) for node in range(count)]).T


def leaves(depth: int) -> list[int]:
    """Numbers of the leaves in pre-order, from left to right."""
    parents = set(tree_edges(depth)[1, : 2 ** (depth + 1) - 2].tolist())
    return [node for node in range(2 ** (depth + 1) - 1) if node not in parents]


def tree_graphs(depth: int, seed: int = 11, most: int | None = None) -> GraphSet:
    """Build the task: leaf j carries (key j, value), the root a key, the class is that key's value.

    Every permutation of the values is paired with every key; there are all permutations for depths
    of at most 3 (1000 of them at most), else so many that 32,000 graphs come out.

    Parameters
    ----------
    depth : int
        r, at least 1; the tree has 2^r leaves.
    seed : int
        Of the choice of permutations.
    most : int, optional
        Keep this many graphs, chosen at random; a reduction of the task.

    Returns
    -------
    GraphSet
        x is int64 of shape (nodes, 2): key and value; inner nodes hold zeros.

    Examples
    --------
    >>> len(tree_graphs(2)), len(tree_graphs(3))
    (96, 8000)
    """
    if depth < 1:
        raise ValueError(f"depth={depth}: a tree has at least one level")
    rng, number = np.random.default_rng(seed), 2**depth
    permutations = _permutations(number, depth, rng)
    count, nodes = len(permutations) * number, 2 ** (depth + 1) - 1
    x = torch.zeros(count, nodes, 2, dtype=torch.long)
    keys = torch.arange(1, number + 1)
    values = torch.from_numpy(permutations + 1).repeat_interleave(number, dim=0)
    x[:, leaves(depth), 0], x[:, leaves(depth), 1] = keys, values
    selected = keys.repeat(len(permutations))
    x[:, 0, 0] = selected
    y = values[torch.arange(count), selected - 1] - 1
    edges = tree_edges(depth)
    graphs = GraphSet(
        f"tree-{depth}",
        x.reshape(-1, 2),
        edges.repeat(1, count),
        torch.full((count,), nodes),
        torch.full((count,), edges.shape[1]),
        y,
    )
    if most is None or most >= count:
        return graphs
    return graphs.subset(torch.from_numpy(np.sort(rng.choice(count, most, replace=False))))


def _permutations(number: int, depth: int, rng: np.random.Generator) -> np.ndarray:
    if depth <= 3:
        most = min(MOST_PERMUTATIONS, math.factorial(number))
        if math.factorial(number) <= MOST_PERMUTATIONS:
            return np.array(list(itertools.permutations(range(number))))
    else:
        most = min(MOST_PERMUTATIONS, MOST_GRAPHS // number)
    return np.array([rng.permutation(number) for _ in range(most)])


def in_order(graphs: GraphSet, order: str, seed: int = 0, *, keep_first: bool = False) -> GraphSet:
    """Return the graphs with their nodes as stored, or in a random order of their own.

    ``keep_first`` leaves the first node, the root of a tree, in its place.
    """
    if known(order, ORDERS, "order") == "canonical":
        return graphs
    return graphs.permuted(seed, keep_first=keep_first)
