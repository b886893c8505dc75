"""Sets of small graphs as flat tensors, so that a batch is made by indexing alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
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

    def __len__(self) -> int:
        return len(self.y)

    @classmethod
    def of(cls, name: str, graphs: list[Data]) -> GraphSet:
        """Join PyG graphs with ``x``, ``edge_index`` and a class ``y``."""
        return cls(
            name,
            torch.cat([graph.x for graph in graphs]),
            torch.cat([graph.edge_index for graph in graphs], dim=1),
            torch.tensor([graph.num_nodes for graph in graphs]),
            torch.tensor([graph.num_edges for graph in graphs]),
            torch.tensor([int(graph.y) for graph in graphs]),
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
        return Batch(self.x[node_at], edges, graph, self.y[chosen], node_at, len(chosen))

    def permuted(self, seed: int) -> GraphSet:
        """Return the same graphs with the nodes of every graph in random order."""
        generator = torch.Generator().manual_seed(seed)
        graph = torch.repeat_interleave(torch.arange(len(self)), self.nodes)
        starts = self.node_starts
        # Sorting by (graph, random number) shuffles every graph in one go.
        key = graph.double() + torch.rand(len(graph), generator=generator, dtype=torch.double)
        old_at_new = key.argsort()
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
    size : int
        g.
    """

    x: Tensor
    edge_index: Tensor
    graph: Tensor
    y: Tensor
    node_at: Tensor
    size: int

    def to(self, device: str) -> Batch:
        """Move what the network needs to a device."""
        moved = {name: getattr(self, name).to(device) for name in ("x", "edge_index", "graph", "y")}
        return replace(self, **moved)


def _ranges(counts: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Places of the chosen graphs' entries, and which chosen graph each belongs to."""
    starts = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    picked = counts[chosen]
    which = torch.repeat_interleave(torch.arange(len(chosen)), picked)
    before = torch.nn.functional.pad(picked.cumsum(0), (1, 0))[which]
    return torch.arange(len(which)) - before + starts[chosen][which], which


def read_graphs(text: str, name: str) -> GraphSet:
    """Read the text format of the TU sets and of EXP.

    The first line is the number of graphs. A graph is a line ``n label`` and n lines ``tag degree
    neighbours [attributes]``. Tags become one-hot features; where there is one tag, a constant.

    Parameters
    ----------
    text : str
        Content of the file.
    name : str
        Name of the set.

    Raises
    ------
    ValueError
        If the file ends early, holds an unknown neighbour, or lines are left over; names the line.
    """
    lines = text.splitlines()
    at, tags, attributes, labels = 1, [], [], []
    targets: list[int] = []
    nodes, degrees = [], []
    try:
        for _ in range(int(lines[0])):
            n, label = map(int, lines[at].split()[:2])
            nodes.append(n)
            labels.append(label)
            for line in lines[at + 1 : at + 1 + n]:
                fields = line.split()
                degree = int(fields[1])
                neighbours = [int(field) for field in fields[2 : 2 + degree]]
                if neighbours and not 0 <= min(neighbours) <= max(neighbours) < n:
                    raise ValueError(f"neighbours {neighbours[:5]} in a graph of {n} nodes")
                if len(neighbours) < degree:
                    raise ValueError(f"{len(neighbours)} neighbours of {degree}")
                tags.append(int(fields[0]))
                degrees.append(degree)
                targets += neighbours
                attributes.append([float(field) for field in fields[2 + degree :]])
            at += 1 + n
    except (ValueError, IndexError) as error:
        raise ValueError(f"{name}: line {at + 1} ff. cannot be read: {error}") from error
    if at != len(lines) or len(tags) != sum(nodes):
        raise ValueError(f"{name}: {len(lines)} lines, but the graphs take {at}")
    return _assembled(name, nodes, labels, degrees, targets, tags, attributes)


def _assembled(
    name: str,
    nodes: list[int],
    labels: list[int],
    degrees: list[int],
    targets: list[int],
    tags: list[int],
    attributes: list[list[float]],
) -> GraphSet:
    counts, degree = torch.tensor(nodes), torch.tensor(degrees)
    within = torch.cat([torch.arange(n) for n in nodes])
    graph = torch.repeat_interleave(torch.arange(len(nodes)), counts)
    edge_counts = torch.zeros(len(nodes), dtype=torch.long).index_add_(0, graph, degree)
    edges = torch.stack([torch.repeat_interleave(within, degree), torch.tensor(targets)])
    _, tag = np.unique(np.array(tags), return_inverse=True)
    x = torch.nn.functional.one_hot(torch.from_numpy(tag)).float()
    if attributes[0]:
        x = torch.cat([x, torch.tensor(attributes)], dim=1)
    _, y = np.unique(np.array(labels), return_inverse=True)
    return GraphSet(name, x, edges, counts, edge_counts, torch.from_numpy(y))
