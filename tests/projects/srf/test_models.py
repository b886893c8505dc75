"""Networks and baselines against hand-made layers, theory of colour refinement, and networkx."""

import networkx as nx
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.nn import global_add_pool
from torch_geometric.utils import to_networkx

from common.errors import ConfigError
from projects.srf.baselines import RandomSamplePearl, with_virtual_node
from projects.srf.csl import csl_graphs
from projects.srf.data import stand_in
from projects.srf.features import injection
from projects.srf.graph_sets import GraphSet
from projects.srf.models import CONVOLUTIONS, LayeredNetwork, complete_edges


def logits(graphs, variant="plain", seed=0, **options):
    injected = injection(graphs, variant, width=8, sketches=2)
    torch.manual_seed(seed)
    width = graphs.x.shape[1]
    network = LayeredNetwork(width, 8, 3, 4, z_width=injected.width, **options).eval()
    batch = graphs.batch(torch.arange(len(graphs)))
    with torch.no_grad():
        return network.logits(batch, injected.draw(0))


@pytest.mark.parametrize("kind", [kind for kind in CONVOLUTIONS if kind not in ("gine", "gps")])
def test_colour_refinement_bounds_what_is_told_apart(kind):
    """Without a sketch no weights tell one CSL class from another; with one they do."""
    graphs = csl_graphs(copies=1)
    for variant in ("plain", "s_id"):
        out = logits(graphs, variant, kind=kind)
        assert torch.allclose(out, out[:1].expand_as(out), atol=1e-5)
    out = logits(graphs, "shared", kind=kind)
    assert torch.pdist(out).min() > 1e-4


@pytest.mark.parametrize("variant", ["plain", "s_id", "rwpe"])
def test_what_does_not_depend_on_the_order_of_nodes(variant):
    graphs = stand_in(6)
    canonical, permuted = logits(graphs, variant), logits(graphs.permuted(5), variant)
    assert torch.allclose(canonical, permuted, atol=1e-4)


@pytest.mark.parametrize("variant", ["shared", "per-graph", "random"])
def test_what_does_depend_on_it(variant):
    graphs = stand_in(6)
    canonical, permuted = logits(graphs, variant), logits(graphs.permuted(5), variant)
    assert not torch.allclose(canonical, permuted, atol=1e-3)


def test_one_layer_by_hand():
    graphs = stand_in(2)
    batch, z = graphs.batch(torch.tensor([0, 1])), torch.randn(len(graphs.x), 3)
    network = LayeredNetwork(1, 4, 1, 2, z_width=3, readout="add").eval()
    h = network.embed(batch.x)
    wide = torch.cat([h, z], dim=1)
    source, target = batch.edge_index
    conv = network.convs[0].model
    summed = (1 + conv.eps) * wide + torch.zeros_like(wide).index_add_(0, target, wide[source])
    h = h + network.norms[0](conv.nn(summed)).relu()
    expected = network.head(global_add_pool(h, batch.graph))
    assert torch.allclose(network.logits(batch, z), expected, atol=1e-4)


def test_root_readout_takes_the_first_node_of_each_graph():
    graphs = stand_in(3)
    torch.manual_seed(0)
    rooted = LayeredNetwork(1, 8, 3, 4, readout="root").eval()
    batch = graphs.batch(torch.arange(3))
    arguments = (batch.x, batch.edge_index, batch.graph, torch.empty(len(batch.x), 0))
    out = rooted(*arguments)
    rooted.readout = None
    assert torch.allclose(out, rooted(*arguments)[graphs.node_starts[:-1]])


def test_complete_edges_are_all_pairs_within_a_graph():
    graph = torch.tensor([0, 0, 0, 1, 2, 2])
    expected = {(i, j) for i in range(6) for j in range(6) if graph[i] == graph[j]}
    found = complete_edges(graph).T.tolist()
    assert len(found) == len(expected) and set(map(tuple, found)) == expected


def test_fully_adjacent_last_layer_reaches_the_far_end_of_a_path():
    """Two layers see two steps; with a fully adjacent last one, all nodes."""
    n = 8
    half = torch.stack([torch.arange(n - 1), torch.arange(1, n)])
    edges, graph = torch.cat([half, half.flip(0)], dim=1), torch.zeros(n, dtype=torch.long)
    for adjacent, reaches in ((False, False), (True, True)):
        torch.manual_seed(0)
        network = LayeredNetwork(1, 8, 2, 3, readout="root", fully_adjacent=adjacent).eval()
        x = torch.ones(n, 1, requires_grad=True)
        network(x, edges, graph, torch.empty(n, 0)).sum().backward()
        assert bool(x.grad[-1].abs() > 0) is reaches


def test_bonds_are_seen():
    edges = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    atoms = torch.tensor([[0], [1], [0]])

    def molecule(kind):
        return Data(x=atoms, edge_index=edges, edge_attr=torch.full((4, 1), kind), y=0)

    graphs = GraphSet.of("pair", [molecule(0), molecule(1), molecule(0)])
    out = logits(graphs, kind="gine", categories=2, edge_categories=[2])
    assert torch.allclose(out[0], out[2]) and not torch.allclose(out[0], out[1], atol=1e-4)
    injected = logits(graphs, "s_id", kind="gine", categories=2, edge_categories=[2])
    assert injected.shape == (3, 4)


def test_attention_network_runs_and_sees_all_nodes():
    graphs = stand_in(3)
    out = logits(graphs, kind="gps")
    assert out.shape == (3, 4) and torch.isfinite(out).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"kind": "gni"}, ConfigError, "gin"),
        ({"readout": "max"}, ConfigError, "mean"),
        ({"kind": "gine"}, ValueError, "edge_categories=None"),
        ({"edge_categories": [2]}, ValueError, "gine"),
        ({"kind": "gine", "edge_categories": [2], "fully_adjacent": True}, ValueError, "adjacent"),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        LayeredNetwork(1, 8, 2, 3, **options)


def test_virtual_node_makes_all_nodes_two_steps_apart():
    graphs = stand_in(3)
    for before, after in zip(graphs.graphs(), with_virtual_node(graphs).graphs(), strict=True):
        assert after.num_nodes == before.num_nodes + 1
        assert nx.diameter(to_networkx(after, to_undirected=True)) <= 2


def test_pearl_tends_to_what_the_structure_alone_decides():
    """On a cycle all nodes are alike: with more samples their encodings come together."""
    node = torch.arange(12)
    half = torch.stack([node, (node + 1) % 12])
    edges = torch.cat([half, half.flip(0)], dim=1)
    torch.manual_seed(0)
    pearl = RandomSamplePearl(samples=10, width=6, layers=3)

    def spread(samples):
        pearl.samples = samples
        with torch.no_grad():
            h = pearl(edges, 12)
        return float(((h - h.mean(dim=0)) ** 2).sum())

    few, many = spread(10), spread(4000)
    assert many < few / 50  # the variance falls as 1 / samples: by 400, with room for chance
