"""Molecules, heterophilous graphs, and the memory meter, against networkx and by hand."""

import json
import sys

import networkx as nx
import numpy as np
import pytest
import torch
from torch_geometric.utils import erdos_renyi_graph, to_networkx

from common.errors import MissingExtra
from projects.srf.features import injection
from projects.srf.heterophily import fit_nodes, minesweeper, read_node_task, score
from projects.srf.models import LayeredNetwork
from projects.srf.molecules import (
    fit_peptides,
    molecule_network,
    path_statistics,
    read_peptides,
    stand_in,
)
from projects.srf.tensor_memory import peak_tensor_bytes

SMILES = ["CC", "c1ccccc1", "CCO", "CC(=O)O"]


def tables(folder):
    lines = ["index,smiles,peptide_seq,labels,identifier"]
    for row, text in enumerate(SMILES):
        lines.append(f'{row},{text},A,"[{row % 2}, 1]",x{row}')
    (folder / "table.csv").write_text("\n".join(lines))
    (folder / "split.json").write_text(json.dumps({"train": [3, 1], "val": [0], "test": [2]}))
    return folder / "table.csv", folder / "split.json"


@pytest.mark.parametrize("seed", range(4))
def test_path_statistics_are_those_of_networkx(seed):
    torch.manual_seed(seed)
    path = torch.stack([torch.arange(13), torch.arange(1, 14)])  # so that all are connected
    edges = torch.cat([erdos_renyi_graph(14, 0.1), path, path.flip(0)], dim=1).unique(dim=1)
    graph = nx.Graph(edges.T.tolist())
    diameter, wiener, mean = path_statistics(edges, 14)
    assert diameter == nx.diameter(graph) and wiener == nx.wiener_index(graph)
    assert mean == pytest.approx(nx.average_shortest_path_length(graph))


def test_pairs_without_a_path_are_left_out():
    assert path_statistics(torch.tensor([[0, 1], [1, 0]]), 4) == (1, 1, 1)
    assert path_statistics(torch.empty(2, 0, dtype=torch.long), 1) == (0, 0, 0)


def test_smiles_become_graphs(tmp_path):
    pytest.importorskip("rdkit")
    found = read_peptides(*tables(tmp_path))
    # ethane, benzene, ethanol, acetic acid without hydrogens
    assert found.graphs.nodes.tolist() == [2, 6, 3, 4]
    assert found.graphs.edge_counts.tolist() == [2, 12, 4, 6]
    assert found.labels.tolist() == [[0, 1], [1, 1], [0, 1], [1, 1]]
    assert {name: part.tolist() for name, part in found.split.items()} == {
        "train": [3, 1],
        "val": [0],
        "test": [2],
    }
    # Standardised on the training part: acetic acid and benzene are at -1 and 1 (diameter 2 and 3).
    assert found.distances[[3, 1], 0].tolist() == pytest.approx([-1, 1])
    assert read_peptides(*tables(tmp_path), most=1).graphs.nodes.tolist() == [2, 3, 4]


def test_without_rdkit_the_install_line_is_given(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rdkit", None)
    with pytest.raises(MissingExtra, match="molecules"):
        read_peptides(*tables(tmp_path))


@pytest.mark.parametrize("task", ["function", "distance"])
def test_molecules_are_fitted(task):
    """The size of a tree says most about its distances: training beats a constant guess."""
    found = stand_in(80)
    injected = injection(found.graphs, "s_id", width=4, sketches=2, one_hot=True)
    outputs = {"function": 2, "distance": 3}[task]
    torch.manual_seed(0)
    network = molecule_network(found, 16, 3, outputs, injected.width)
    options = {"epochs": 30, "seed": 0, "batch_size": 16, "lr": 5e-3}
    value = fit_peptides(network, found, task, injected, **options)
    test = found.split["test"]
    if task == "distance":
        constant = found.distances[found.split["train"]].median(dim=0).values
        assert value > -float((found.distances[test] - constant).abs().mean())
    else:
        assert value > float(found.labels[test].mean())


def test_minesweeper_counts_its_mines():
    task = minesweeper(side=9, splits=2)
    grid = to_networkx(task_data(task), to_undirected=True)
    king = nx.strong_product(nx.path_graph(9), nx.path_graph(9))
    numbered = nx.relabel_nodes(king, {(i, j): 9 * i + j for i, j in king})
    assert nx.utils.graphs_equal(grid, numbered)
    shown = task.x.argmax(dim=1)
    for cell in grid:
        if shown[cell] < 9:
            assert int(shown[cell]) == sum(int(task.y[other]) for other in grid[cell])
    together = sum(task.masks[part].long() for part in ("train", "val", "test"))
    assert torch.equal(together, torch.ones(2, 81, dtype=torch.long))


def task_data(task):
    from torch_geometric.data import Data

    return Data(edge_index=task.edge_index, num_nodes=len(task.x))


def arrays(**changed):
    masks = {f"{part}_masks": np.eye(3, 4, dtype=bool) for part in ("train", "val", "test")}
    return {
        "node_features": np.ones((4, 2)),
        "node_labels": np.array([0, 1, 2, 1]),
        "edges": np.array([[0, 1], [2, 3]]),
        **masks,
        **changed,
    }


def test_arrays_are_read(tmp_path):
    np.savez(tmp_path / "toy.npz", **arrays())
    task = read_node_task(tmp_path / "toy.npz")
    assert task.name == "toy" and task.edge_index.tolist() == [[0, 2, 1, 3], [1, 3, 0, 2]]
    assert task.masks["val"].shape == (3, 4)


def test_pickled_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "evil.npz", **arrays(edges=np.array([{}, {}], dtype=object)))
    with pytest.raises(ValueError, match="allow_pickle"):
        read_node_task(tmp_path / "evil.npz")


def test_score_of_two_classes_is_the_area_under_the_curve():
    logits = torch.tensor([[0.0, 1.0], [0.0, 3.0], [0.0, 2.0], [0.0, -1.0]])
    # Positives have 3 and -1, negatives 1 and 2: two of four pairs are in order.
    assert score(logits, torch.tensor([0, 1, 0, 1])) == 0.5
    assert score(torch.eye(3), torch.tensor([0, 1, 1])) == pytest.approx(2 / 3)


def test_nodes_are_fitted():
    task = minesweeper(side=20, splits=1)
    torch.manual_seed(0)
    network = LayeredNetwork(task.x.shape[1], 16, 2, 2, kind="sage", readout=None)
    z = torch.empty(len(task.x), 0)
    assert fit_nodes(network, task, 0, z=z, epochs=40, seed=0, lr=1e-2) > 0.65


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (lambda: torch.zeros(1000, dtype=torch.double), 8000),
        (lambda: torch.zeros(1000, dtype=torch.double) + 1, 16_000),
        (lambda: torch.zeros(1000, dtype=torch.double).add_(1).view(10, 100).T, 8000),
        # Of three results in a row two live at one time.
        (lambda: torch.zeros(1000, dtype=torch.double).sin().cos(), 16_000),
        (lambda: [torch.zeros(1000, dtype=torch.double) for _ in range(5)], 40_000),
    ],
)
def test_peak_of_live_tensors(work, expected):
    assert peak_tensor_bytes(work) == expected
