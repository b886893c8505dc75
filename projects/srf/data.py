"""The graphs of the experiments: constructions of the paper, public sets, and a stand-in."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch_geometric.data import Data
from torch_geometric.utils import barabasi_albert_graph, erdos_renyi_graph

from common.errors import DataError, known
from projects.srf.graph_sets import GraphSet
from projects.srf.graph_text import read_graphs
from projects.srf.heterophily import NodeTask, minesweeper, read_node_task
from projects.srf.molecules import Peptides, read_peptides
from projects.srf.molecules import stand_in as tree_molecules
from projects.srf.training import Split, published_folds

if TYPE_CHECKING:
    from common.run import Run

TU = "graph-classification"
TU_SETS = {
    "MUTAG": "MUTAG",
    "PROTEINS": "PROTEINS",
    "ENZYMES": "ENZYMES",
    "IMDB-BINARY": "IMDBBINARY",
    "REDDIT-BINARY": "REDDIT-BINARY",
}
REDDIT_FOLDS = "REDDIT-BINARY_splits.json"
EXP = "expressivity"
EXP_FILE = "EXP_GRAPHSAT.txt"
STAND_IN, TREES = "synthetic-graphs", "synthetic-trees"
LARGEST_TEXT = 200 << 20


def tu_set(path: Path, name: str) -> GraphSet:
    """Read one TU set from its zip file, in memory."""
    inner = f"{TU_SETS[name]}/{TU_SETS[name]}.txt"
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(inner).file_size > LARGEST_TEXT:
                raise DataError(f"{path.name}: {inner} would take more than {LARGEST_TEXT} bytes")
            text = archive.read(inner).decode("ascii")
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError) as error:
        raise DataError(f"{path.name} holds no readable {inner}: {error}") from error
    graphs = read_graphs(text, name)
    if graphs.x.shape[1] == 1 and name.startswith("IMDB"):
        return with_degrees(graphs)
    return graphs


def with_degrees(graphs: GraphSet, most: int = 64) -> GraphSet:
    """Return the graphs with the one-hot degree (cut at ``most``) as features."""
    graph = torch.repeat_interleave(torch.arange(len(graphs)), graphs.edge_counts)
    target = graphs.edges[1] + graphs.node_starts[graph]
    degree = torch.bincount(target, minlength=len(graphs.x)).clamp(max=most)
    return replace(graphs, x=torch.nn.functional.one_hot(degree, most + 1).float())


def load_tu(
    run: Run, name: str, *, most: int | None = None, largest: int | None = None
) -> GraphSet:
    """Load a TU set, or a stand-in.

    Parameters
    ----------
    run : Run
        Decides between real data and stand-in.
    name : str
        Among :data:`TU_SETS`.
    most : int, optional
        Keep this many graphs, the same number of each class, chosen at random.
    largest : int, optional
        Leave out graphs with more nodes.
    """
    known(name, TU_SETS, "graph set")
    found = run.dataset(TU, files=[f"{TU_SETS[name]}.zip"], alias=name)
    if found is None:
        run.synthetic(STAND_IN, "random graphs of two growth rules; projects.srf.data")
        return stand_in(60)
    graphs = tu_set(next(iter(found.files.values())), name)
    if largest is not None:
        graphs = graphs.subset(torch.nonzero(graphs.nodes <= largest)[:, 0])
    return graphs if most is None else balanced(graphs, most)


def load_reddit_folds(run: Run, graphs: GraphSet) -> list[Split] | None:
    """Load the published folds of REDDIT-BINARY; None where they are not available."""
    found = run.dataset(TU, files=[REDDIT_FOLDS], alias="REDDIT-BINARY folds")
    if found is None:
        return None
    return published_folds(json.loads(found.files[REDDIT_FOLDS].read_text()), graphs.y)


def load_node_task(run: Run, name: str) -> NodeTask:
    """Load a set of ``heterophily`` by name, or a small generated Minesweeper."""
    found = run.dataset("heterophily", files=[f"{name}.npz"], alias=name)
    if found is not None:
        return read_node_task(found.files[f"{name}.npz"])
    task = minesweeper()
    run.synthetic(task.name, "a small generated Minesweeper; projects.srf.heterophily")
    return task


def load_peptides(run: Run, most: int | None) -> tuple[str, Peptides]:
    """Load the peptides, at most ``most`` of each part, or random trees; returns name and data."""
    files = ["peptide_multi_class_dataset.csv", "splits_random_stratified_peptide.json"]
    # Its official task's targets are not in it: other targets on the paper's kind of graphs.
    found = run.dataset("peptides-func", files=files, label="substitute")
    if found is not None:
        return found.name, read_peptides(*(found.files[file] for file in files), most)
    run.synthetic(TREES, "random trees with the same kinds of targets; projects.srf.molecules")
    return TREES, tree_molecules()


def balanced(graphs: GraphSet, most: int, seed: int = 0) -> GraphSet:
    """Return ``most`` graphs, as many of each class, in the order of the set."""
    generator = torch.Generator().manual_seed(seed)
    share, chosen = most // graphs.classes, []
    for label in range(graphs.classes):
        own = torch.nonzero(graphs.y == label)[:, 0]
        chosen.append(own[torch.randperm(len(own), generator=generator)[:share]])
    return graphs.subset(torch.cat(chosen).sort().values)


def load_exp(run: Run, most: int | None = None) -> GraphSet:
    """Load EXP, or the pairs of circular skip links that stand in for it.

    ``most`` keeps the first graphs; neighbours 2i and 2i + 1 are a pair.
    """
    found = run.dataset(EXP, alias="EXP")
    if found is None:
        run.synthetic(STAND_IN, "pairs of circular skip link graphs; projects.srf.data")
        return _pairs(most or 60)
    graphs = read_graphs(found.files[EXP_FILE].read_text(encoding="ascii"), "EXP")
    return graphs if most is None else graphs.subset(torch.arange(most))


def _pairs(count: int) -> GraphSet:
    """Pairs that 1-WL cannot tell apart: skip 2 (class 1) and skip 3 (class 0)."""
    from projects.srf.csl import csl_graphs

    both = csl_graphs(nodes=11, copies=1, skips=(3, 2))
    graphs = list(both.graphs())
    return GraphSet.of(STAND_IN, [graphs[number % 2] for number in range(count)])


def stand_in(count: int, seed: int = 0) -> GraphSet:
    """Draw graphs of two classes: preferential attachment, and random edges at its density."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        graphs = []
        for number in range(count):
            nodes = int(torch.randint(15, 40, ()))
            edges = (
                barabasi_albert_graph(nodes, 2)
                if number % 2
                else erdos_renyi_graph(nodes, 4 / (nodes - 1))
            )
            graphs.append(Data(x=torch.ones(nodes, 1), edge_index=edges, y=number % 2))
    return GraphSet.of(STAND_IN, graphs)


def random_graph(nodes: int, probability: float, width: int, seed: int) -> Data:
    """Erdos-Renyi graph with normal features: the input of the oversmoothing study."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        edges = erdos_renyi_graph(nodes, probability)
        return Data(x=torch.randn(nodes, width), edge_index=edges, num_nodes=nodes)
