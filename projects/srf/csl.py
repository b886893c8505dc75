"""Circular skip links: ten classes of 4-regular graphs that 1-WL cannot tell apart."""

from __future__ import annotations

import torch
from torch_geometric.data import Data

from projects.srf.graph_sets import GraphSet

SKIPS = (2, 3, 4, 5, 6, 9, 11, 12, 13, 16)


def csl_graphs(nodes: int = 41, copies: int = 15, skips: tuple[int, ...] = SKIPS) -> GraphSet:
    """Build the set: a cycle of ``nodes`` plus links that skip R nodes; the class is R.

    All copies of a class are identical, nodes stored along the cycle. That order is part of the
    set as it is used; :meth:`~projects.srf.graph_sets.GraphSet.permuted` takes it away.

    Examples
    --------
    >>> graphs = csl_graphs()
    >>> len(graphs), graphs.classes, int(graphs.edge_counts[0])
    (150, 10, 164)
    """
    node = torch.arange(nodes)
    graphs = []
    for label, skip in enumerate(skips):
        ends = torch.cat([(node + 1) % nodes, (node + skip) % nodes])
        half = torch.stack([node.repeat(2), ends])
        edges = torch.cat([half, half.flip(0)], dim=1)
        graphs += [Data(x=torch.ones(nodes, 1), edge_index=edges, y=label)] * copies
    return GraphSet.of("CSL", graphs)
