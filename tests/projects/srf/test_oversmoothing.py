"""Dirichlet energy against a loop over nodes, and a path worked out by hand."""

import pytest
import torch
from torch_geometric.utils import erdos_renyi_graph

from projects.srf.oversmoothing import dirichlet_energy, energies


def test_closed_form_is_the_sum_over_neighbours():
    torch.manual_seed(0)
    edges, h = erdos_renyi_graph(20, 0.2), torch.randn(20, 3)
    total = 0.0
    for node in range(20):
        for other in edges[1][edges[0] == node]:
            total += float(((h[node] - h[other]) ** 2).sum())
    assert dirichlet_energy(h, edges) == pytest.approx(total / 20, rel=1e-5)


def test_path_by_hand():
    edges = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    assert dirichlet_energy(torch.tensor([[0.0], [1.0], [3.0]]), edges) == pytest.approx(10 / 3)
    assert dirichlet_energy(torch.ones(3, 5), edges) == 0


def test_injected_features_keep_a_deep_network_apart():
    torch.manual_seed(0)
    edges, x, z = erdos_renyi_graph(30, 0.2), torch.randn(30, 8), torch.randn(30, 8)
    plain = energies(x, edges, layers=30, hidden=16, seed=1)
    kept = energies(x, edges, layers=30, hidden=16, seed=1, z=z)
    assert len(plain) == 31 and plain[0] == kept[0]
    assert plain == energies(x, edges, layers=30, hidden=16, seed=1)
    assert plain[-1] < 1e-2 * plain[0] < kept[-1]
