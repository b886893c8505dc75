"""Sets of graphs against PyG's own batches and networkx; the text format, line by line."""

import networkx as nx
import pytest
import torch
from torch_geometric.data import Batch as PyGBatch
from torch_geometric.data import Data
from torch_geometric.utils import erdos_renyi_graph, to_networkx

from common.data import resolve
from common.errors import DataError
from projects.srf.data import balanced, stand_in, tu_set, with_degrees
from projects.srf.graph_sets import GraphSet
from projects.srf.graph_text import read_graphs

TEXT = "2\n3 1\n0 2 1 2 0.5\n1 1 0 1.5\n0 1 0 -2\n1 -1\n1 0 0\n"


def random_set(count=5, seed=0):
    torch.manual_seed(seed)
    graphs = []
    for number in range(count):
        n = 4 + number
        edges = erdos_renyi_graph(n, 0.5)
        bonds = torch.randint(3, (edges.shape[1], 2))
        graphs.append(Data(x=torch.randn(n, 2), edge_index=edges, edge_attr=bonds, y=number % 2))
    return GraphSet.of("random", graphs), graphs


def test_batch_is_that_of_pyg():
    ours, graphs = random_set()
    chosen = torch.tensor([3, 0, 4])
    batch = ours.batch(chosen)
    theirs = PyGBatch.from_data_list([graphs[i] for i in chosen])
    assert torch.equal(batch.x, theirs.x) and torch.equal(batch.edge_index, theirs.edge_index)
    assert torch.equal(batch.graph, theirs.batch) and torch.equal(batch.y, theirs.y)
    assert torch.equal(batch.edge_features, theirs.edge_attr)
    assert torch.equal(ours.x[batch.node_at], batch.x)
    again = ours.subset(chosen).batch(torch.arange(3))
    assert torch.equal(again.edge_index, batch.edge_index) and torch.equal(again.x, batch.x)
    assert torch.equal(again.edge_features, batch.edge_features)


def test_graphs_come_back_as_they_were():
    ours, graphs = random_set()
    for number, (back, graph) in enumerate(zip(ours.graphs(), graphs, strict=True)):
        assert torch.equal(back.x, graph.x) and torch.equal(back.edge_index, graph.edge_index)
        assert (back.y, back.graph_index) == (graph.y, number)


@pytest.mark.parametrize("keep_first", [False, True])
def test_permuted_graphs_are_isomorphic_with_their_features(keep_first):
    ours, graphs = random_set(4)
    mixed = ours.permuted(3, keep_first=keep_first)
    assert torch.equal(mixed.permuted(3).nodes, ours.nodes)
    same = lambda a, b: a["x"] == b["x"]  # noqa: E731
    for back, graph in zip(mixed.graphs(), graphs, strict=True):
        both = [to_networkx(data, node_attrs=["x"]) for data in (back, graph)]
        assert nx.is_isomorphic(*both, node_match=same)
        if keep_first:
            assert torch.equal(back.x[0], graph.x[0])
    assert not torch.equal(mixed.x, ours.x)


def test_every_graph_is_permuted_on_its_own():
    path = Data(x=torch.arange(8.0)[:, None], edge_index=torch.tensor([[0], [1]]), y=0)
    mixed = GraphSet.of("paths", [path] * 50).permuted(0)
    orders = mixed.x.reshape(50, 8)
    assert torch.equal(orders.sort(dim=1).values, torch.arange(8.0).expand(50, 8))
    assert len(orders.unique(dim=0)) == 50


def test_text_by_hand():
    graphs = read_graphs(TEXT, "hand")
    assert graphs.nodes.tolist() == [3, 1] and graphs.edge_counts.tolist() == [4, 0]
    assert graphs.edges.tolist() == [[0, 0, 1, 2], [1, 2, 0, 0]]
    assert graphs.y.tolist() == [1, 0]  # labels 1 and -1, in their order
    one_hot, attribute = graphs.x[:, :2], graphs.x[:, 2]
    assert one_hot.tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]
    assert attribute.tolist() == [0.5, 1.5, -2, 0]
    assert torch.equal(read_graphs(TEXT.replace("\n", "\r\n") + "\n", "hand").edges, graphs.edges)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1"),
        ("0\n", "0 graphs"),
        ("1\n2 0\n0 1 1\n", "2 lines|3 lines"),
        ("2\n1 0\n0 0\n", "line 4"),
        (TEXT + "0 0\n", "8 lines"),
        ("1\n2 0\n0 1 2\n0 0\n", "line 3: a neighbour"),
        ("1\n2 0\n0 1 -1\n0 0\n", "line 3: a neighbour"),
        ("1\n2 0\n0 0\n0 3 0 1\n", "line 4: fewer"),
        ("1\n2 0\n0 0 0.5\n0 0\n", "line 4: another number"),
        ("1\n2 0\n0 0\n0\n", "line 4: a node"),
        ("1\n2 0\n0 x\n0 0\n", "line 3 holds"),
        ("1\nnan 0\n", "line 2"),
    ],
)
def test_bad_text_names_its_line(text, message):
    with pytest.raises(ValueError, match=message):
        read_graphs(text, "bad")


def test_degrees_as_features():
    graphs = with_degrees(stand_in(6), most=5)
    for data in graphs.graphs():
        counted = torch.bincount(data.edge_index[1], minlength=data.num_nodes).clamp(max=5)
        assert torch.equal(data.x.argmax(dim=1), counted) and int(data.x.sum()) == data.num_nodes


def test_balanced_takes_as_many_of_each_class():
    graphs = balanced(stand_in(30), 10)
    assert torch.bincount(graphs.y).tolist() == [5, 5]


def test_damaged_archive_is_an_error_of_the_data(tmp_path):
    path = tmp_path / "MUTAG.zip"
    path.write_bytes(b"PK but no archive")
    with pytest.raises(DataError, match="MUTAG"):
        tu_set(path, "MUTAG")


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "counts", "nodes", "edges"),
    [
        # sizes as TUDataset publishes them (nodes and undirected edges)
        ("MUTAG", [63, 125], 3371, 3721),
        ("PROTEINS", [663, 450], 43471, 81044),
        ("ENZYMES", [100] * 6, 19580, 37282),
        ("IMDB-BINARY", [500, 500], 19773, 96531),
    ],
)
def test_public_sets(name, counts, nodes, edges):
    file = f"{name.replace('-', '')}.zip"
    graphs = tu_set(resolve("graph-classification", files=[file]).files[file], name)
    assert torch.bincount(graphs.y).tolist() == counts
    assert (len(graphs.x), graphs.edges.shape[1]) == (nodes, 2 * edges)


@pytest.mark.data
def test_pairs_of_exp_are_told_apart_by_isomorphism_but_not_by_colours():
    file = "EXP_GRAPHSAT.txt"
    text = resolve("expressivity", files=[file]).files[file].read_text()
    graphs = read_graphs(text, "EXP")
    assert len(graphs) == 1200 and torch.equal(graphs.y.reshape(-1, 2).sum(1), torch.ones(600))
    first = list(graphs.subset(torch.arange(8)).graphs())
    for left, right in zip(first[::2], first[1::2], strict=True):
        both = []
        for data in (left, right):
            data.kind = data.x.argmax(dim=1)
            both.append(to_networkx(data, node_attrs=["kind"], to_undirected=True))
        hashes = [nx.weisfeiler_lehman_graph_hash(g, node_attr="kind", iterations=6) for g in both]
        assert hashes[0] == hashes[1]
        assert not nx.is_isomorphic(*both)
