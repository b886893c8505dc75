"""How fast deep networks make all nodes alike: Dirichlet energy over the layers."""

from __future__ import annotations

import torch
from torch import Tensor


def dirichlet_energy(h: Tensor, edge_index: Tensor) -> float:
    """Return D(H) = (1/N) sum over nodes i and neighbours j of |h_i - h_j|^2.

    Parameters
    ----------
    h : Tensor, shape (N, d)
        Node states.
    edge_index : LongTensor, shape (2, E)
        Every undirected edge in both directions.

    Examples
    --------
    >>> dirichlet_energy(torch.tensor([[0.0], [2.0]]), torch.tensor([[0, 1], [1, 0]]))
    4.0
    """
    source, target = edge_index
    return float(((h[source] - h[target]) ** 2).sum() / len(h))


@torch.no_grad()
def energies(
    x: Tensor, edge_index: Tensor, *, layers: int, hidden: int, seed: int, z: Tensor | None = None
) -> list[float]:
    """Dirichlet energy of the input and after every layer of an untrained GCN.

    Each layer is a graph convolution with random weights, ReLU, and states scaled to length 1.

    Parameters
    ----------
    x : Tensor, shape (N, F)
        Node features.
    edge_index : LongTensor, shape (2, E)
        Undirected graph.
    layers, hidden, seed : int
        Depth, width and the seed of the weights.
    z : Tensor, shape (N, D), optional
        Features injected at every layer.

    Returns
    -------
    list of float, length layers + 1
    """
    from torch_geometric.nn import GCNConv

    h, values = torch.nn.functional.normalize(x, dim=1), []
    values.append(dirichlet_energy(h, edge_index))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(layers):
            wide = h if z is None else torch.cat([h, z], dim=1)
            h = GCNConv(wide.shape[1], hidden).to(x.device)(wide, edge_index).relu()
            h = torch.nn.functional.normalize(h, dim=1)
            values.append(dirichlet_energy(h, edge_index))
    return values
