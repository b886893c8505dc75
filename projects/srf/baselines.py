"""What the paper compares against, beyond the encodings of PyG that need no code here."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.nn import GINConv
from torch_geometric.transforms import VirtualNode

from projects.srf.graph_sets import GraphSet


def with_virtual_node(graphs: GraphSet) -> GraphSet:
    """Add one node to every graph that is connected with all others (PyG's ``VirtualNode``).

    The simplest cure for oversquashing: any two nodes are two steps apart.
    """
    transform, widened = VirtualNode(), []
    for data in graphs.graphs():
        out = transform(data)
        widened.append(type(data)(x=out.x, edge_index=out.edge_index, y=data.y))
    return GraphSet.of(graphs.name, widened)


class RandomSamplePearl(nn.Module):
    """PEARL's positional encoding from random samples: a GIN over noise, averaged.

    M independent noise channels 1 + N(0, 1) run through one GIN; the mean over channels is the
    encoding, which depends on the structure alone as M grows (Kanatsoulis et al. 2024).

    Parameters
    ----------
    samples : int
        M.
    width, layers : int
        Of the GIN and of the encoding.

    Examples
    --------
    >>> edges = torch.tensor([[0, 1], [1, 0]])
    >>> RandomSamplePearl(4, 8, 2)(edges, 2).shape
    torch.Size([2, 8])
    """

    def __init__(self, samples: int = 200, width: int = 37, layers: int = 8) -> None:
        super().__init__()
        self.samples, self.width = samples, width

        def mlp(inputs: int) -> nn.Module:
            return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width))

        # Nodes are on the axis before the last: the M channels run side by side.
        self.convs = nn.ModuleList(
            GINConv(mlp(1 if layer == 0 else width), node_dim=-2) for layer in range(layers)
        )

    def forward(self, edge_index: Tensor, nodes: int) -> Tensor:
        """Return the encoding, shape (nodes, width)."""
        h = 1 + torch.randn(self.samples, nodes, 1, device=edge_index.device)
        for conv in self.convs:
            h = conv(h, edge_index).relu()
        return h.mean(dim=0)
