"""Peptides as graphs, with the official labels and with exact long-range targets of our own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from common.errors import require
from projects.srf.features import Injection
from projects.srf.graph_sets import GraphSet
from projects.srf.models import LayeredNetwork

TARGETS = ("diameter", "wiener", "mean_distance")


@dataclass(frozen=True)
class Peptides:
    """Molecular graphs with several targets each.

    Attributes
    ----------
    graphs : GraphSet
        Atoms with nine and bonds with three integer features; ``y`` is not used.
    labels : Tensor, shape (G, 10)
        Functional classes, 0 or 1.
    distances : Tensor, shape (G, 3)
        Diameter, Wiener index and mean distance between atoms, each standardised on the training
        part: the substitute for the structural targets, whose values this set does not hold.
    split : dict of str to Tensor
        Indices ``train``, ``val``, ``test``.
    """

    graphs: GraphSet
    labels: Tensor
    distances: Tensor
    split: dict[str, Tensor]


def read_peptides(table: Path, split: Path, most: int | None = None) -> Peptides:
    """Read the table of SMILES and the official split.

    Parameters
    ----------
    table, split : Path
        The two files of the dataset.
    most : int, optional
        Keep this many molecules of each part, the first of each.

    Raises
    ------
    MissingExtra
        Without RDKit, which turns SMILES into graphs.
    """
    require("rdkit", "molecules")
    import pandas as pd
    from torch_geometric.utils import from_smiles

    frame = pd.read_csv(table)
    parts = {name: rows[:most] for name, rows in json.loads(split.read_text()).items()}
    rows = sorted(row for part in parts.values() for row in part)
    place = {row: number for number, row in enumerate(rows)}
    graphs = []
    for smiles in frame["smiles"].iloc[rows]:
        data = from_smiles(smiles)
        data.y = 0
        graphs.append(data)
    labels = [json.loads(text) for text in frame["labels"].iloc[rows]]
    places = {name: [place[row] for row in part] for name, part in parts.items()}
    return _peptides(graphs, torch.tensor(labels).float(), places)


def stand_in(count: int = 60, seed: int = 0) -> Peptides:
    """Draw random trees with three kinds of nodes and two of edges, where there is no download.

    The two classes of the labels are whether the tree is deeper than most, and chance.
    """
    rng, graphs = np.random.default_rng(seed), []
    for _ in range(count):
        nodes = int(rng.integers(8, 30))
        parent = torch.tensor(
            [int(rng.integers(max(0, node - 4), node)) for node in range(1, nodes)]
        )
        half = torch.stack([torch.arange(1, nodes), parent])
        kind = torch.from_numpy(rng.integers(0, 2, (nodes - 1, 1)))
        data = Data(
            x=torch.from_numpy(rng.integers(0, 3, (nodes, 1))),
            edge_index=torch.cat([half, half.flip(0)], dim=1),
            edge_attr=torch.cat([kind, kind]),
            y=0,
        )
        graphs.append(data)
    diameters = np.array([path_statistics(data.edge_index, data.num_nodes)[0] for data in graphs])
    labels = np.stack([diameters > np.median(diameters), rng.random(count) < 0.5], axis=1)
    order, cut = rng.permutation(count).tolist(), (count * 6 // 10, count * 8 // 10)
    places = {"train": order[: cut[0]], "val": order[cut[0] : cut[1]], "test": order[cut[1] :]}
    return _peptides(graphs, torch.from_numpy(labels).float(), places)


def _peptides(graphs: list[Data], labels: Tensor, places: dict[str, list[int]]) -> Peptides:
    distances = np.array([path_statistics(data.edge_index, data.num_nodes) for data in graphs])
    training = distances[places["train"]]
    scaled = (distances - training.mean(axis=0)) / training.std(axis=0).clip(1e-9)
    return Peptides(
        GraphSet.of("peptides", graphs),
        labels,
        torch.from_numpy(scaled).float(),
        {name: torch.tensor(part) for name, part in places.items()},
    )


def path_statistics(edge_index: Tensor, nodes: int) -> tuple[float, float, float]:
    """Diameter, Wiener index and mean distance of the pairs that are connected.

    Examples
    --------
    >>> path_statistics(torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), 3)
    (2.0, 4.0, 1.3333333333333333)
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import shortest_path

    source, target = edge_index.numpy()
    adjacency = coo_array((np.ones(len(source)), (source, target)), shape=(nodes, nodes))
    distance = shortest_path(adjacency.tocsr(), unweighted=True, directed=False)
    pairs = distance[np.triu_indices(nodes, 1)]
    pairs = pairs[np.isfinite(pairs)]
    if not len(pairs):
        return 0.0, 0.0, 0.0
    return float(pairs.max()), float(pairs.sum()), float(pairs.mean())


def molecule_network(
    peptides: Peptides, hidden: int, layers: int, outputs: int, z_width: int
) -> LayeredNetwork:
    """GINE over embedded atoms and bonds, mean readout."""
    graphs = peptides.graphs
    return LayeredNetwork(
        graphs.x.shape[1],
        hidden,
        layers,
        outputs,
        z_width=z_width,
        kind="gine",
        categories=int(graphs.x.max()) + 1,
        edge_categories=(graphs.edge_features.amax(dim=0) + 1).tolist(),
    )


def fit_peptides(
    network: LayeredNetwork,
    peptides: Peptides,
    task: str,
    injected: Injection,
    *,
    epochs: int,
    seed: int,
    batch_size: int = 64,
    lr: float = 1e-3,
    device: str = "cpu",
) -> float:
    """Train on one task; return the test score at the epoch of the best validation score.

    ``function``: macro average precision. ``distance``: minus the mean absolute error.
    """
    target = peptides.labels if task == "function" else peptides.distances
    loss_of = torch.nn.functional
    measure = loss_of.binary_cross_entropy_with_logits if task == "function" else loss_of.l1_loss
    network.to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)
    generator = torch.Generator().manual_seed(seed)
    best, reached, z = -np.inf, float("nan"), injected.draw(0).to(device)
    for _ in range(epochs):
        network.train()
        train = peptides.split["train"]
        order = train[torch.randperm(len(train), generator=generator)]
        for chosen in order.split(batch_size):
            batch = peptides.graphs.batch(chosen).to(device)
            loss = measure(network.logits(batch, z[batch.node_at]), target[chosen].to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        scores = [
            _score(network, peptides, target, task, z, peptides.split[part], device)
            for part in ("val", "test")
        ]
        if scores[0] > best:
            best, reached = scores
    return reached


@torch.no_grad()
def _score(
    network: LayeredNetwork,
    peptides: Peptides,
    target: Tensor,
    task: str,
    z: Tensor,
    chosen: Tensor,
    device: str,
) -> float:
    from sklearn.metrics import average_precision_score

    network.eval()
    parts = []
    for part in chosen.split(512):
        batch = peptides.graphs.batch(part).to(device)
        parts.append(network.logits(batch, z[batch.node_at]).cpu())
    predicted, true = torch.cat(parts), target[chosen]
    if task == "distance":
        return -float((predicted - true).abs().mean())
    present = true.sum(dim=0) > 0
    return float(average_precision_score(true[:, present], predicted[:, present], average="macro"))
