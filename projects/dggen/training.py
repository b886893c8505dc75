"""Maximum likelihood training (section 2.4)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from projects.dggen.config import DGGenConfig
from projects.dggen.encoding import Batch
from projects.dggen.network import Candidates, Network
from projects.dggen.scores import ScoreTable

Metrics = dict[str, float]


class NoiseSchedule:
    """Noise on continuous features that shrinks when the feature loss stalls.

    Times 0.1 when the loss fell by less than the (relative) threshold over ``patience`` epochs,
    never below 0.01 of the start.

    Examples
    --------
    >>> schedule = NoiseSchedule(1.0, threshold=0.1, patience=1)
    >>> [round(schedule.step(loss), 3) for loss in (5.0, 3.0, 2.9, 2.8, 2.8)]
    [1.0, 1.0, 0.1, 0.01, 0.01]
    """

    def __init__(self, start: float, threshold: float, patience: int) -> None:
        self.value, self._floor = start, 0.01 * start
        self._threshold, self._patience = threshold, patience
        self._losses: list[float] = []

    def step(self, loss: float) -> float:
        """Take in the feature loss of an epoch; return the noise of the next one."""
        self._losses.append(loss)
        if len(self._losses) > self._patience:
            before = self._losses[-1 - self._patience]
            if before - loss < self._threshold * abs(before):
                self.value = max(0.1 * self.value, self._floor)
                self._losses = [loss]
        return self.value


def normalised_loss(terms: list[Tensor]) -> Tensor:
    """Return -(all log likelihoods) / (1 + B + B + B (1 + F)), the paper's loss."""
    count = 1 + sum(term.numel() for term in terms)
    return -sum(term.sum() for term in terms) / count


def check_memory(config: DGGenConfig, num_candidates: int, num_events: int, width: int) -> None:
    """Refuse a training step that would not fit.

    Raises
    ------
    ValueError
        Naming the estimate, the limit and what makes it smaller.
    """
    nodes = min(num_candidates, 2 * (config.batch_size + (config.num_sampled or num_candidates)))
    edges = min(nodes * config.num_neighbors, 2 * num_events)
    floats = edges * (config.time_dim + width + 6 * config.embedding_dim)
    floats += 4 * nodes * config.batch_size + nodes * (config.memory_dim * 8 + config.time_dim)
    needed = 2 * 4 * floats / 2**30
    if needed > config.memory_limit:
        raise ValueError(
            f"one training step over {nodes} candidates needs about {needed:.1f} GiB, the limit is "
            f"memory_limit={config.memory_limit:g} GiB; train with candidate sampling "
            f"(num_sampled=500), with fewer neighbours (num_neighbors={config.num_neighbors}) or "
            f"smaller batches (batch_size={config.batch_size}), or raise the limit"
        )


def train(
    network: Network,
    events: Batch,
    sources: Tensor,
    destinations: Tensor,
    config: DGGenConfig,
    *,
    validate: Callable[[], float] | None = None,
    callback: Callable[[int, Metrics], Any] | None = None,
    progress: bool = False,
) -> list[Metrics]:
    """Fit a network; it ends with the weights of the lowest validation (else training) loss.

    Parameters
    ----------
    network : Network
        Changed in place; left in evaluation mode with a state that is to be replayed.
    events : Batch
        All training events in order.
    sources, destinations : LongTensor
        Candidate sets of the softmax, sorted.
    config : DGGenConfig
        Training settings.
    validate : callable, optional
        Returns the validation loss of the network; called in evaluation mode after every epoch.
    callback : callable, optional
        Called with the epoch's number and its metrics, for example to log them.
    progress : bool
        Show a bar.

    Returns
    -------
    list of dict
        Per epoch: loss, the mean negative log likelihoods src, dst, columns, the noise, val_loss.

    Raises
    ------
    FloatingPointError
        If the loss is not finite: nothing is replaced by a number (T11).
    """
    from tqdm import tqdm

    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    noise = NoiseSchedule(config.noise, config.noise_threshold, config.noise_patience)
    history: list[Metrics] = []
    best, kept = math.inf, None
    for epoch in tqdm(range(config.epochs), desc="DGGen", unit="epoch", disable=not progress):
        metrics = _epoch(network, events, sources, destinations, config, optimizer, noise.value)
        metrics |= {"noise": noise.value}
        noise.step(metrics["columns"])
        network.eval()
        if validate is not None:
            metrics["val_loss"] = validate()
        history.append(metrics)
        if callback is not None:
            callback(epoch, metrics)
        if (reached := metrics.get("val_loss", metrics["loss"])) < best:
            best, kept = reached, copy.deepcopy(dict(network.named_parameters()))
    network.load_state_dict(kept, strict=False)
    return history


def _epoch(
    network: Network,
    events: Batch,
    sources: Tensor,
    destinations: Tensor,
    config: DGGenConfig,
    optimizer: torch.optim.Optimizer,
    noise: float,
) -> Metrics:
    network.train()
    network.tgn.reset()
    totals, loss_sum, steps = torch.zeros(3), 0.0, 0
    for batch in events.split(config.batch_size):
        if noise and network.continuous:
            x = batch.x.clone()
            x[:, network.continuous] += noise * torch.randn_like(x[:, network.continuous])
            batch = Batch(batch.src, batch.dst, batch.ticks, x)
        terms = network.terms(
            batch,
            _candidates(sources, batch.src, config),
            _candidates(destinations, batch.dst, config),
        )
        loss = normalised_loss(terms)
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"the training loss is {loss.item()} at step {steps + 1}; lower the learning rate "
                f"({config.learning_rate:g}) or look for outliers in the columns"
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            network.update(batch)
        network.tgn.detach()
        totals += torch.tensor([float(term.detach().sum()) for term in terms])
        loss_sum, steps = loss_sum + loss.item(), steps + 1
    source, destination, columns = (-totals / len(events)).tolist()
    return {"loss": loss_sum / steps, "src": source, "dst": destination, "columns": columns}


def _candidates(ids: Tensor, positives: Tensor, config: DGGenConfig) -> Candidates:
    if config.num_sampled is None:
        return Candidates.all_of(ids)
    return Candidates.sample(ids, positives, config.num_sampled, config.correction)


@torch.no_grad()
def mean_loss(table: ScoreTable, events: Batch, batch_size: int) -> float:
    """Return the paper's loss on events that go on from the table's state."""
    losses = []
    for batch in events.split(batch_size):
        log_p_src, log_p_dst = table.log_p_links(batch.src, batch.dst)
        losses.append(float(normalised_loss([log_p_src, log_p_dst, table.log_p_columns(batch)])))
        table.advance(batch)
    return sum(losses) / len(losses)
