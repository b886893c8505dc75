"""Node classification on one large graph with fixed splits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from projects.srf.models import LayeredNetwork

NAMES = ("minesweeper", "tolokers", "actor", "chameleon_filtered")


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
