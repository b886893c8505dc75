"""Node classification on one large graph with fixed splits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from projects.srf.models import LayeredNetwork


@dataclass(frozen=True)
class NodeTask:
    """One graph whose nodes are classified.

    Attributes
    ----------
    name : str
        Name of the set.
    x, edge_index, y : Tensor
        Features (N, F), both directions of every edge (2, E), classes (N,).
    masks : dict of str to Tensor
        ``train``, ``val`` and ``test``, each of shape (splits, N).
    """

    name: str
    x: Tensor
    edge_index: Tensor
    y: Tensor
    masks: dict[str, Tensor]


def read_node_task(path: Path) -> NodeTask:
    """Read one set; arrays alone are accepted, nothing is unpickled."""
    with np.load(path, allow_pickle=False) as arrays:
        edges = torch.from_numpy(arrays["edges"]).long().T
        return NodeTask(
            path.stem,
            torch.from_numpy(arrays["node_features"]).float(),
            torch.cat([edges, edges.flip(0)], dim=1),
            torch.from_numpy(arrays["node_labels"]).long(),
            {part: torch.from_numpy(arrays[f"{part}_masks"]) for part in ("train", "val", "test")},
        )


def minesweeper(side: int = 30, splits: int = 5, seed: int = 0) -> NodeTask:
    """Generate a small Minesweeper, where the cells that hide a mine are to be found.

    As Platonov et al. (ICLR 2023) describe their set: a square grid with diagonal neighbours, a
    fifth of the cells are mines, and the feature is the one-hot number of neighbouring mines, which
    is unknown for half of the cells. A stand-in that needs no download.
    """
    rng, count = np.random.default_rng(seed), side * side
    row, column = np.divmod(np.arange(count), side)
    steps = [(1, 0), (0, 1), (1, 1), (1, -1)]
    pairs = []
    for down, right in steps:
        inside = (row + down < side) & (column + right >= 0) & (column + right < side)
        here = np.flatnonzero(inside)
        pairs.append(np.stack([here, here + down * side + right]))
    half = torch.from_numpy(np.concatenate(pairs, axis=1))
    edges = torch.cat([half, half.flip(0)], dim=1)
    mine = torch.from_numpy(rng.random(count) < 0.2).long()
    near = torch.zeros(count, dtype=torch.long).index_add_(0, edges[1], mine[edges[0]])
    hidden = torch.from_numpy(rng.random(count) < 0.5)
    x = torch.nn.functional.one_hot(near, 10).float()
    x[hidden] = torch.nn.functional.one_hot(torch.tensor(9), 10).float()
    drawn = torch.from_numpy(rng.random((splits, count)))
    bounds = {"train": (0, 0.5), "val": (0.5, 0.75), "test": (0.75, 1)}
    masks = {part: (low <= drawn) & (drawn < high) for part, (low, high) in bounds.items()}
    return NodeTask("synthetic-minesweeper", x, edges, mine, masks)


def fit_nodes(
    network: LayeredNetwork,
    task: NodeTask,
    split: int,
    *,
    z: Tensor,
    epochs: int,
    seed: int,
    lr: float = 3e-3,
    device: str = "cpu",
) -> float:
    """Train on one split; return the test score at the epoch of the best validation score.

    The score is the area under the ROC curve for two classes, else accuracy.
    """
    torch.manual_seed(seed)
    network.to(device)
    x, edges, y, z = (part.to(device) for part in (task.x, task.edge_index, task.y, z))
    graph = torch.zeros(len(x), dtype=torch.long, device=device)
    masks = {part: mask[split].to(device) for part, mask in task.masks.items()}
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)
    best, reached = -1.0, float("nan")
    for _ in range(epochs):
        network.train()
        logits = network(x, edges, graph, z)
        loss = torch.nn.functional.cross_entropy(logits[masks["train"]], y[masks["train"]])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        network.eval()
        with torch.no_grad():
            logits = network(x, edges, graph, z)
        val = score(logits[masks["val"]], y[masks["val"]])
        if val > best:
            best, reached = val, score(logits[masks["test"]], y[masks["test"]])
    return reached


def score(logits: Tensor, y: Tensor) -> float:
    """Area under the ROC curve for two classes, else accuracy."""
    if logits.shape[1] > 2:
        return float((logits.argmax(dim=1) == y).double().mean())
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(y.cpu(), (logits[:, 1] - logits[:, 0]).cpu()))
