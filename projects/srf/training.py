"""Training of graph classifiers, with honest selection of the epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.errors import DataError
from projects.srf.features import Injection
from projects.srf.graph_sets import Batch, GraphSet
from projects.srf.models import LayeredNetwork


@dataclass(frozen=True)
class Split:
    """Indices of the graphs of one fold."""

    train: Tensor
    val: Tensor
    test: Tensor


@dataclass
class History:
    """Accuracy after every epoch.

    Keeping the curves instead of the weights of the best epoch is the same selection, without the
    trap of a ``state_dict`` that goes on changing with the network.
    """

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


def published_folds(entries: Sequence[Mapping[str, Any]], y: Tensor) -> list[Split]:
    """Folds of Errica et al. (ICLR 2020), as their JSON file holds them.

    Parameters
    ----------
    entries : sequence of mapping
        ``{"test": [...], "model_selection": [{"train": [...], "validation": [...]}]}`` per fold.
    y : LongTensor, shape (G,)
        Classes in the order of the set at hand.

    Raises
    ------
    DataError
        If a graph is missing or stands twice in a fold, or a part does not hold the classes in the
        set's own shares: the file then numbers the graphs in another order than the set.
    """
    share, found = torch.bincount(y) / len(y), []
    for number, entry in enumerate(entries):
        inner = entry["model_selection"][0]
        parts = [torch.tensor(inner["train"]), torch.tensor(inner["validation"])]
        split = Split(*parts, torch.tensor(entry["test"]))
        everything = torch.cat([split.train, split.val, split.test]).sort().values
        if not torch.equal(everything, torch.arange(len(y))):
            raise DataError(f"fold {number} does not hold each of the {len(y)} graphs once")
        for name in ("train", "val", "test"):
            part = getattr(split, name)
            counts = torch.bincount(y[part], minlength=len(share))
            if (counts - share * len(part)).abs().max() > 1:
                raise DataError(
                    f"fold {number}: {name} holds {counts.tolist()} graphs of each class; folds "
                    "and labels are not in the same order"
                )
        found.append(split)
    return found


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
    optimizer = torch.optim.Adam(network.parameters(), lr=lr, fused=True)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, max(1, epochs // 3), 0.5)
    generator, history = torch.Generator().manual_seed(seed), History()
    held_out = _collated(graphs, torch.cat([split.val, split.test]), device)
    z = injected.draw(0).to(device)
    for epoch in range(epochs):
        if injected.resampled:
            z = injected.draw(2 * epoch + 1).to(device)
        network.train()
        order = split.train[torch.randperm(len(split.train), generator=generator)]
        right = []
        # Even batches: a remainder of a few graphs would have statistics of its own.
        for chosen in order.chunk(-(-len(order) // batch_size)):
            batch = graphs.batch(chosen).to(device)
            logits = network.logits(batch, z[batch.node_at])
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(logits, batch.y).backward()
            optimizer.step()
            right.append(logits.argmax(dim=1) == batch.y)
        schedule.step()
        if injected.resampled:
            z = injected.draw(2 * epoch + 2).to(device)
        val, test = _right(network, held_out, z).split([len(split.val), len(split.test)])
        for curve, part in zip(
            (history.train, history.val, history.test), (torch.cat(right), val, test), strict=True
        ):
            curve.append(float(part.double().mean()))
    return history


def _collated(graphs: GraphSet, chosen: Tensor, device: str, size: int = 512) -> list[Batch]:
    return [graphs.batch(part).to(device) for part in chosen.split(size)]


@torch.no_grad()
def _right(network: LayeredNetwork, batches: list[Batch], z: Tensor) -> Tensor:
    """Whether the class of each graph is predicted."""
    network.eval()
    parts = [network.logits(batch, z[batch.node_at]).argmax(1) == batch.y for batch in batches]
    return torch.cat(parts).cpu()
