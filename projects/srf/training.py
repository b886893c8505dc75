"""Training of graph classifiers, with honest selection of the epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from projects.srf.features import Injection
from projects.srf.graph_sets import GraphSet
from projects.srf.models import LayeredNetwork


@dataclass(frozen=True)
class Split:
    """Indices of the graphs of one fold."""

    train: Tensor
    val: Tensor
    test: Tensor


@dataclass
class History:
    """Accuracy after every epoch."""

    train: list[float] = field(default_factory=list)
    val: list[float] = field(default_factory=list)
    test: list[float] = field(default_factory=list)

    def selected(self) -> float:
        """Test accuracy at the epoch of the best validation accuracy (the first of equals)."""
        return self.test[int(np.argmax(self.val))]


def released_selection(folds: Sequence[History]) -> list[float]:
    """Test accuracy of every fold at the epoch that maximises their mean: it has seen the test."""
    curves = np.array([history.test for history in folds])
    return curves[:, curves.mean(axis=0).argmax()].tolist()


def folds(y: Tensor, count: int, seed: int, *, val_share: float = 0.1) -> list[Split]:
    """Stratified folds; a part of each fold's training graphs is kept for validation."""
    from sklearn.model_selection import StratifiedKFold, train_test_split

    labels = y.numpy()
    splits = []
    for rest, test in StratifiedKFold(count, shuffle=True, random_state=seed).split(labels, labels):
        size = max(round(val_share * len(rest)), len(np.unique(labels)))
        train, val = train_test_split(
            rest, test_size=size, stratify=labels[rest], random_state=seed
        )
        splits.append(Split(*(torch.from_numpy(np.sort(part)) for part in (train, val, test))))
    return splits


def pair_folds(count: int, pairs: int, seed: int) -> list[Split]:
    """Folds of a set of pairs (2i, 2i + 1) that keep every pair together."""
    rng = np.random.default_rng(seed)
    parts = np.array_split(rng.permutation(pairs), count)
    splits = []
    for number in range(count):
        rest = np.concatenate([parts[other] for other in range(count) if other != number])
        cut = max(1, len(rest) // 10)
        chosen = (rest[cut:], rest[:cut], parts[number])
        graphs = (np.sort(np.concatenate([2 * part, 2 * part + 1])) for part in chosen)
        splits.append(Split(*(torch.from_numpy(part) for part in graphs)))
    return splits


def train(
    network: LayeredNetwork,
    graphs: GraphSet,
    injected: Injection,
    split: Split,
    *,
    epochs: int,
    batch_size: int = 64,
    lr: float = 1e-3,
    seed: int = 0,
    device: str = "cpu",
) -> History:
    """Train by cross entropy with Adam and record accuracies.

    Parameters
    ----------
    network : LayeredNetwork
        Trained in place.
    graphs : GraphSet
        All graphs.
    injected : Injection
        Features of their nodes; resampled ones are drawn anew for every epoch, and once more for
        every evaluation.
    split : Split
        Training, validation and test graphs.
    epochs, batch_size, lr, seed : int and float
        Training settings; the rate falls to a half after each third of the epochs.
    device : str
        Where to train.

    Returns
    -------
    History
    """
    network.to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, max(1, epochs // 3), 0.5)
    generator, history = torch.Generator().manual_seed(seed), History()
    z = injected.draw(0).to(device)
    for epoch in range(epochs):
        if injected.resampled:
            z = injected.draw(2 * epoch + 1).to(device)
        network.train()
        order = split.train[torch.randperm(len(split.train), generator=generator)]
        correct = 0
        for chosen in order.split(batch_size):
            if len(chosen) == 1:  # batch norm needs two
                continue
            batch = graphs.batch(chosen).to(device)
            logits = network.logits(batch, z[batch.node_at])
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(logits, batch.y).backward()
            optimizer.step()
            correct += int((logits.argmax(dim=1) == batch.y).sum())
        schedule.step()
        history.train.append(correct / len(order))
        if injected.resampled:
            z = injected.draw(2 * epoch + 2).to(device)
        history.val.append(accuracy(network, graphs, z, split.val, device))
        history.test.append(accuracy(network, graphs, z, split.test, device))
    return history


@torch.no_grad()
def accuracy(
    network: LayeredNetwork, graphs: GraphSet, z: Tensor, chosen: Tensor, device: str = "cpu"
) -> float:
    """Share of the chosen graphs whose class is predicted; NaN of none."""
    network.eval()
    correct = 0
    for part in chosen.split(512):
        batch = graphs.batch(part).to(device)
        correct += int((network.logits(batch, z[batch.node_at]).argmax(dim=1) == batch.y).sum())
    return correct / len(chosen) if len(chosen) else float("nan")
