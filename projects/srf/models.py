"""The graph networks of the experiments: features injected at every layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch_geometric.nn import (
    GATConv,
    GCNConv,
    GINConv,
    GINEConv,
    GPSConv,
    SAGEConv,
    global_add_pool,
    global_mean_pool,
)

from common.errors import known
from projects.srf.graph_sets import Batch
from projects.srf.inject import InjectFeatures

CONVOLUTIONS = ("gin", "gine", "gcn", "gat", "sage", "gps")
READOUTS = ("mean", "add", "root")


def convolution(kind: str, width: int, hidden: int) -> nn.Module:
    """One layer from ``width`` to ``hidden`` channels; GPS keeps ``hidden`` throughout."""
    known(kind, CONVOLUTIONS, "convolution")
    if kind == "gcn":
        return GCNConv(width, hidden)
    if kind == "gat":
        return GATConv(width, hidden // 4, heads=4)
    if kind == "sage":
        return SAGEConv(width, hidden)
    mlp = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, hidden))
    if kind == "gine":
        return GINEConv(mlp, train_eps=True, edge_dim=hidden)
    local = GINConv(mlp, train_eps=True)
    return local if kind == "gin" else GPSConv(hidden, local, heads=4, norm="layer_norm")


class LayeredNetwork(nn.Module):
    """Message passing with z concatenated before every layer, batch norm, ReLU and residuals.

    Parameters
    ----------
    inputs, hidden, layers, outputs : int
        Widths and depth.
    z_width : int
        Width of the injected features; 0 for none.
    kind : str
        Among :data:`CONVOLUTIONS`.
    readout : {"mean", "add", "root", None}
        Pooling over the graph; ``root`` takes the first node; None gives an output per node.
    categories : int, optional
        Read ``x`` as integers below this and embed each column, instead of a linear map.
    edge_categories : sequence of int, optional
        Of ``gine``: numbers of categories of the columns of the edge features.
    fully_adjacent : bool
        Replace the edges of the last layer by those between all nodes of a graph.
    positional : Module, optional
        Trained encoding ``f(edge_index, nodes)`` of a ``width`` of its own, added to the input.

    Raises
    ------
    ConfigError
        If the convolution or readout is unknown.
    ValueError
        If ``gine`` comes without edge categories or with a fully adjacent layer, whose edges have
        no features.

    Examples
    --------
    >>> network = LayeredNetwork(1, 8, 2, 3, z_width=4, readout=None)
    >>> edges = torch.tensor([[0, 1], [1, 0]])
    >>> network(torch.ones(2, 1), edges, torch.zeros(2).long(), torch.ones(2, 4)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        layers: int,
        outputs: int,
        *,
        z_width: int = 0,
        kind: str = "gin",
        readout: str | None = "mean",
        categories: int | None = None,
        edge_categories: Sequence[int] | None = None,
        fully_adjacent: bool = False,
        positional: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if readout is not None:
            known(readout, READOUTS, "readout")
        if (kind == "gine") != (edge_categories is not None) or (kind == "gine" and fully_adjacent):
            raise ValueError(
                f"kind={kind!r}, edge_categories={edge_categories}, {fully_adjacent=}: 'gine', and "
                "it alone, takes edge categories, and no fully adjacent layer"
            )
        self.readout, self.fully_adjacent, self.z_width = readout, fully_adjacent, z_width
        self.embed = (
            nn.Linear(inputs, hidden)
            if categories is None
            else nn.ModuleList(nn.Embedding(categories, hidden) for _ in range(inputs))
        )
        self.embed_edges = nn.ModuleList(nn.Embedding(n, hidden) for n in edge_categories or ())
        self.positional = positional
        self.place = None if positional is None else nn.Linear(positional.width, hidden)
        width = hidden + z_width
        convs = [convolution(kind, width, hidden) for _ in range(layers)]
        self.convs = nn.ModuleList(
            InjectFeatures(conv, z_width) if z_width else conv for conv in convs
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(hidden) for _ in range(layers))
        self.head = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, outputs))

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        graph: Tensor,
        z: Tensor,
        edge_features: Tensor | None = None,
    ) -> Tensor:
        """Return logits per graph, or per node without a readout."""
        h = self._input(x, edge_index)
        more = {"z": z} if self.z_width else {}
        if self.embed_edges:
            more["edge_attr"] = _sum_of_embeddings(self.embed_edges, edge_features)
        for number, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            last = number == len(self.convs) - 1
            edges = complete_edges(graph) if last and self.fully_adjacent else edge_index
            attends = {"batch": graph} if isinstance(_inner(conv), GPSConv) else {}
            h = h + norm(conv(h, edges, **more, **attends)).relu()
        return self.head(self._read(h, graph))

    def _input(self, x: Tensor, edge_index: Tensor) -> Tensor:
        tables = isinstance(self.embed, nn.ModuleList)
        h = _sum_of_embeddings(self.embed, x) if tables else self.embed(x.float())
        if self.positional is None:
            return h
        return h + self.place(self.positional(edge_index, len(x)))

    def _read(self, h: Tensor, graph: Tensor) -> Tensor:
        if self.readout is None:
            return h
        if self.readout == "root":
            first = torch.ones_like(graph, dtype=torch.bool)
            first[1:] = graph[1:] != graph[:-1]
            return h[first]
        return (global_mean_pool if self.readout == "mean" else global_add_pool)(h, graph)

    def logits(self, batch: Batch, z: Tensor) -> Tensor:
        """Return the logits of a batch."""
        return self(batch.x, batch.edge_index, batch.graph, z, batch.edge_features)


def _sum_of_embeddings(tables: nn.ModuleList, columns: Tensor) -> Tensor:
    return sum(table(columns[:, number]) for number, table in enumerate(tables))


def _inner(conv: nn.Module) -> nn.Module:
    return conv.model if isinstance(conv, InjectFeatures) else conv


def complete_edges(graph: Tensor) -> Tensor:
    """Edges between all pairs of nodes of the same graph, self loops included.

    Examples
    --------
    >>> complete_edges(torch.tensor([0, 0, 1])).tolist()
    [[0, 0, 1, 1, 2], [0, 1, 0, 1, 2]]
    """
    counts = torch.bincount(graph)
    starts = torch.nn.functional.pad(counts.cumsum(0), (1, 0))[:-1]
    source = torch.repeat_interleave(torch.arange(len(graph), device=graph.device), counts[graph])
    first = torch.nn.functional.pad(counts[graph].cumsum(0), (1, 0))[:-1]
    offset = torch.arange(len(source), device=graph.device) - first[source]
    return torch.stack([source, starts[graph[source]] + offset])
