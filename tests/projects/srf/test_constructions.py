"""CSL and Tree-NeighborsMatch against networkx and against their definitions."""

import itertools

import networkx as nx
import numpy as np
import pytest
import torch
from torch_geometric.utils import to_networkx

from common.errors import ConfigError
from projects.srf.csl import SKIPS, csl_graphs
from projects.srf.tree import in_order, leaves, tree_edges, tree_graphs


def test_csl_is_networkx_circulant_graph():
    graphs = csl_graphs(copies=1)
    for skip, data in zip(SKIPS, graphs.graphs(), strict=True):
        ours = to_networkx(data, to_undirected=True)
        assert nx.utils.graphs_equal(ours, nx.circulant_graph(41, [1, skip]))
        assert data.num_edges == 4 * 41


def test_csl_classes_are_not_isomorphic_but_look_alike_to_colours():
    graphs = [to_networkx(data, to_undirected=True) for data in csl_graphs(copies=1).graphs()]
    spectra = [np.round(nx.adjacency_spectrum(graph).real, 6) for graph in graphs]
    for left, right in itertools.combinations([sorted(s) for s in spectra], 2):
        assert not np.allclose(left, right)
    assert len({nx.weisfeiler_lehman_graph_hash(graph, iterations=8) for graph in graphs}) == 1


def test_csl_copies_and_classes():
    graphs = csl_graphs()
    assert len(graphs) == 150 and torch.bincount(graphs.y).tolist() == [15] * 10


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_tree_is_the_complete_binary_tree(depth):
    edges = tree_edges(depth)
    nodes = 2 ** (depth + 1) - 1
    loops = edges[0] == edges[1]
    assert int(loops.sum()) == nodes
    tree = nx.DiGraph(edges[:, ~loops].T.tolist())
    assert nx.is_isomorphic(tree.reverse(), nx.balanced_tree(2, depth, nx.DiGraph))
    assert [node for node in tree if tree.out_degree(node) == 0] == [0]  # the root
    assert leaves(depth) == sorted(node for node in tree if tree.in_degree(node) == 0)
    # Pre-order: a node's children come after it, its left subtree before its right one.
    assert list(nx.dfs_preorder_nodes(tree.reverse(), 0)) == list(range(nodes))


@pytest.mark.parametrize(("depth", "count"), [(2, 96), (3, 8000), (4, 16000), (5, 32000)])
def test_tree_counts(depth, count):
    graphs = tree_graphs(depth)
    assert len(graphs) == count
    assert int(graphs.y.max()) == 2**depth - 1


def test_tree_counts_of_deep_trees():
    from projects.srf.tree import _permutations

    rng = np.random.default_rng(0)
    for depth in (6, 7, 8):
        assert len(_permutations(2**depth, depth, rng)) * 2**depth == 32_000


def test_tree_label_is_the_value_under_the_selected_key():
    graphs = tree_graphs(3, most=50)
    assert graphs.x.dtype == torch.long
    for data in graphs.graphs():
        key, value = data.x[leaves(3)].T
        assert sorted(key.tolist()) == sorted(value.tolist()) == list(range(1, 9))
        selected = int(data.x[0, 0])
        assert int(value[key == selected]) == int(data.y) + 1
        inner = [node for node in range(1, 15) if node not in leaves(3)]
        assert not data.x[inner].any() and int(data.x[0, 1]) == 0


def test_all_pairs_of_permutation_and_key_stand_once_at_depth_two():
    rows = {(*data.x[leaves(2), 1].tolist(), int(data.x[0, 0])) for data in tree_graphs(2).graphs()}
    expected = {(*p, key) for p in itertools.permutations(range(1, 5)) for key in range(1, 5)}
    assert rows == expected


def test_order_keeps_the_root():
    graphs = tree_graphs(2)
    assert in_order(graphs, "canonical") is graphs
    mixed = in_order(graphs, "permuted", 1, keep_first=True)
    roots = mixed.node_starts[:-1]
    assert torch.equal(mixed.x[roots], graphs.x[roots])
    assert not torch.equal(mixed.x, graphs.x)
    with pytest.raises(ConfigError, match="canonical"):
        in_order(graphs, "canonica")


def test_depth_is_positive():
    with pytest.raises(ValueError, match="depth=0"):
        tree_graphs(0)
