"""Sets of small graphs as flat tensors, so that a batch is made by indexing alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch_geometric.data import Data


@dataclass(frozen=True)
class GraphSet:
    """Graphs one after the other.

    Attributes
    ----------
    name : str
        What it is called in results.
    x : Tensor, shape (N, F)
        Node features of all graphs.
    edges : LongTensor, shape (2, E)
        Edges, in numbers of nodes within their own graph.
    nodes, edge_counts : LongTensor, shape (G,)
        Number of nodes and edges of each graph.
    y : LongTensor, shape (G,)
        Classes from 0.
    edge_features : LongTensor, shape (E, B), optional
        Categories of each edge, such as the kind of a bond.

    Examples
    --------
    >>> pair = torch.tensor([[0, 1], [1, 0]])
    >>> two = GraphSet.of("pairs", [Data(x=torch.ones(2, 1), edge_index=pair, y=0)] * 2)
    >>> two.batch(torch.tensor([1, 0])).edge_index.tolist()
    [[0, 1, 2, 3], [1, 0, 3, 2]]
    """

    name: str
    x: Tensor
    edges: Tensor
    nodes: Tensor
    edge_counts: Tensor
    y: Tensor
    edge_features: Tensor | None = None

    def __len__(self) -> int:
        return len(self.y)

    @classmethod
    def of(cls, name: str, graphs: list[Data]) -> GraphSet:
        """Join PyG graphs with ``x``, ``edge_index``, a class ``y`` and perhaps ``edge_attr``."""
        bare = any(graph.edge_attr is None for graph in graphs)
        return cls(
            name,
            torch.cat([graph.x for graph in graphs]),
            torch.cat([graph.edge_index for graph in graphs], dim=1),
            torch.tensor([graph.num_nodes for graph in graphs]),
            torch.tensor([graph.num_edges for graph in graphs]),
            torch.tensor([int(graph.y) for graph in graphs]),
            None if bare else torch.cat([graph.edge_attr for graph in graphs]),
        )

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.y.max()) + 1

    @property
    def node_starts(self) -> Tensor:
        """Place of the first node of each graph, shape (G + 1,)."""
        return torch.nn.functional.pad(self.nodes.cumsum(0), (1, 0))

    def graphs(self) -> Iterator[Data]:
        """Yield the graphs as PyG data, numbered by ``graph_index``."""
        edge_starts = torch.nn.functional.pad(self.edge_counts.cumsum(0), (1, 0))
        starts = self.node_starts
        for index in range(len(self)):
            yield Data(
                x=self.x[starts[index] : starts[index + 1]],
                edge_index=self.edges[:, edge_starts[index] : edge_starts[index + 1]],
                y=int(self.y[index]),
                graph_index=index,
            )

    def batch(self, chosen: Tensor) -> Batch:
        """Join the chosen graphs into one, in the order given."""
        node_at, graph = _ranges(self.nodes, chosen)
        edge_at, of_edge = _ranges(self.edge_counts, chosen)
        starts = torch.nn.functional.pad(self.nodes[chosen].cumsum(0), (1, 0))
        edges = self.edges[:, edge_at] + starts[of_edge]
        features = None if self.edge_features is None else self.edge_features[edge_at]
        return Batch(self.x[node_at], edges, graph, self.y[chosen], node_at, features)

    def permuted(self, seed: int, *, keep_first: bool = False) -> GraphSet:
        """Return the same graphs with the nodes of every graph in random order.

        ``keep_first`` leaves the first node of every graph where it is: the root of a tree is read
        out by its place.
        """
        generator = torch.Generator().manual_seed(seed)
        graph = torch.repeat_interleave(torch.arange(len(self)), self.nodes)
        starts = self.node_starts
        # Sorting by (graph, random number) shuffles every graph in one go.
        within = torch.rand(len(graph), generator=generator, dtype=torch.double)
        if keep_first:
            within[starts[:-1]] = 0
        old_at_new = (graph.double() + within).argsort(stable=True)
        new_of_old = torch.empty_like(old_at_new)
        new_of_old[old_at_new] = torch.arange(len(graph))
        of_edge = torch.repeat_interleave(torch.arange(len(self)), self.edge_counts)
        edges = new_of_old[self.edges + starts[of_edge]] - starts[of_edge]
        return replace(self, x=self.x[old_at_new], edges=edges)

    def subset(self, chosen: Tensor) -> GraphSet:
        """Return the chosen graphs."""
        node_at, _ = _ranges(self.nodes, chosen)
        edge_at, _ = _ranges(self.edge_counts, chosen)
        return replace(
            self,
            x=self.x[node_at],
            edges=self.edges[:, edge_at],
            edge_features=None if self.edge_features is None else self.edge_features[edge_at],
            nodes=self.nodes[chosen],
            edge_counts=self.edge_counts[chosen],
            y=self.y[chosen],
        )


@dataclass(frozen=True)
class Batch:
    """Some graphs as one.

    Attributes
    ----------
    x, edge_index : Tensor
        Node features and edges of the joint graph.
    graph : LongTensor, shape (n,)
        Which graph each node belongs to.
    y : LongTensor, shape (g,)
        Classes.
    node_at : LongTensor, shape (n,)
        Place of each node in the set, to look up what was computed for the whole set.
    edge_features : LongTensor, shape (e, B), optional
        Categories of each edge.
    """

    x: Tensor
    edge_index: Tensor
    graph: Tensor
    y: Tensor
    node_at: Tensor
    edge_features: Tensor | None = None

    def to(self, device: str) -> Batch:
        """Move what the network needs to a device."""
        parts = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return Batch(
            **{name: None if part is None else part.to(device) for name, part in parts.items()}
        )


def _ranges(counts: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Places of the chosen graphs' entries, and which chosen graph each belongs to."""
    starts = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    picked = counts[chosen]
    which = torch.repeat_interleave(torch.arange(len(chosen)), picked)
    before = torch.nn.functional.pad(picked.cumsum(0), (1, 0))[which]
    return torch.arange(len(which)) - before + starts[chosen][which], which
