"""The hot paths beside plain implementations: a training step, all scores, generation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.bench import Benchmark
from common.graphs.events import EventStream
from projects.dggen.decoder import Product
from projects.dggen.encoding import Batch
from projects.dggen.model import DGGen
from projects.dggen.network import Candidates, Network
from projects.dggen.sampling import Clock, generate
from projects.dggen.scores import ScoreTable
from projects.dggen.training import normalised_loss

NODES, DIM, BATCH, HISTORY = 1000, 64, 200, 4000


class PairTensor(Product):
    """The product with its whole hidden layer (S, V, d) in memory, linear layers once per node."""

    def scores(self, a: Tensor, b: Tensor) -> Tensor:
        """Return scores (S, V)."""
        return self.last((a[:, None] + b[None]).relu())[:, :, 0]


class LayersPerPair(Product):
    """The product with its linear layers applied to every pair: S V d^2 multiplications more."""

    def forward(self, z_u: Tensor, z_v: Tensor) -> Tensor:
        """Return scores (S, V)."""
        shape = len(z_u), len(z_v), z_u.shape[1]
        first = self.source(z_u[:, None].expand(shape))
        second = self.destination(z_v[None].expand(shape))
        return self.last((first + second).relu())[:, :, 0]


class ReembedAll(ScoreTable):
    """Scores that embed all nodes anew after every batch."""

    def advance(self, batch: Batch) -> None:
        """Show events and embed all nodes."""
        self.network.update(batch)
        with torch.no_grad():
            self._renew(torch.arange(self.network.num_nodes, device=self.z.device))


def random_pairs(nodes: int, events: int = HISTORY, seed: int = 0) -> EventStream:
    """Return a stream of uniform pairs of nodes, a span of 0 to 29 between events."""
    rng = np.random.default_rng(seed)
    return EventStream.of(
        {
            "src": rng.integers(0, nodes, events),
            "dst": rng.integers(0, nodes, events),
            "t": np.cumsum(rng.integers(0, 30, events)),
        }
    )


def fitted(
    nodes: int = NODES, dim: int = DIM, events: int = HISTORY, seed: int = 0, device: str = "cpu"
) -> DGGen:
    """Return a model after one epoch on random pairs; all nodes are sources and destinations."""
    stream = random_pairs(nodes, events, seed)
    sizes = {"embedding_dim": dim, "memory_dim": dim, "time_dim": dim, "feats_dim": dim}
    options = {"epochs": 1, "batch_size": min(BATCH, events), "num_sampled": 50, "device": device}
    model = DGGen(**sizes, **options)
    ids = np.arange(nodes)
    return model.fit(stream, progress=False, sources=ids, destinations=ids)


def training_step(network: Network, batch: Batch, candidates: Candidates) -> tuple[float, Tensor]:
    """Exact softmax over all nodes, forward and backward; return loss and a gradient."""
    torch.manual_seed(0)  # the same dropout for all
    network.zero_grad()
    loss = normalised_loss(network.terms(batch, candidates, candidates))
    loss.backward()
    return float(loss.detach()), network.product.source.weight.grad.clone()


def all_scores(product: Product, z: Tensor) -> Tensor:
    """Return log p(dst | src) of all pairs, shape (V, V)."""
    with torch.no_grad():
        return product(z, z).log_softmax(dim=1)


def sample(model: DGGen, num_events: int, batch_size: int, reembed: bool) -> dict[str, np.ndarray]:
    """Generate from the history with cached scores, or with all nodes embedded every batch."""
    table, past = model.history_.leave("history")
    if reembed:
        table = ReembedAll(table.network, table.sources, table.destinations)
    clock = Clock(past.last, past.origin)
    scaling = model.encoding_.scaling
    return generate(table, scaling, num_events, clock=clock, batch_size=batch_size, seed=0)


def _swapped(model: DGGen, product: type[Product]) -> Network:
    """Return the network with another implementation of the product, same weights."""
    network = model._network(model.encoding_.num_nodes)
    network.product = product(model.config.embedding_dim)
    network.load_state_dict(dict(model.network_.named_parameters()), strict=False)
    network.eval()
    network.tgn.restore(model.history_.keep())
    return network


def benchmarks() -> list[Benchmark]:
    """V = 1,000 nodes in both roles, d = 64, on one thread."""
    model = fitted()
    peers: dict[str, type[Product]] = {
        "the pair tensor (S, V, d)": PairTensor,
        "linear layers per pair": LayersPerPair,
    }
    networks = {name: _swapped(model, product) for name, product in peers.items()}
    ours = _swapped(model, Product)
    rng = np.random.default_rng(1)
    ends = torch.from_numpy(rng.integers(0, NODES, (2, BATCH)))
    ticks, x = torch.full((BATCH,), 10**6), torch.rand(BATCH, 1)
    batch, candidates = Batch(ends[0], ends[1], ticks, x), Candidates.all_of(torch.arange(NODES))
    with torch.no_grad():
        z = ours.tgn.embed(torch.arange(NODES))
    sizes = {"nodes": NODES, "d": DIM}
    found = []
    for name, peer in networks.items():
        step = partial(training_step, batch=batch, candidates=candidates)
        calls = partial(step, ours), partial(step, peer)
        title = "training step, exact softmax"
        found.append(Benchmark(title, *calls, name, {**sizes, "batch": BATCH}, _same_step))
        calls = partial(all_scores, ours.product, z), partial(all_scores, peer.product, z)
        found.append(Benchmark("log p(dst | src), all pairs", *calls, name, sizes, _same_scores))
    for batch_size, events in ((1, 100), (10, 300), (100, 1000)):
        run: Callable[..., Any] = partial(sample, model, events, batch_size)
        calls = partial(run, reembed=False), partial(run, reembed=True)
        counts = {**sizes, "events": events, "batch": batch_size}
        found.append(
            Benchmark("generation", *calls, "all nodes embedded anew", counts, _same_stream)
        )
    return found


def _same_step(ours: tuple[float, Tensor], peer: tuple[float, Tensor]) -> dict[str, float]:
    gap = float((ours[1] - peer[1]).abs().max())
    return {"loss ours": ours[0], "loss peer": peer[0], "largest gap of a gradient": gap}


def _same_scores(ours: Tensor, peer: Tensor) -> dict[str, float]:
    return {"largest gap": float((ours - peer).abs().max())}


def _same_stream(ours: dict[str, np.ndarray], peer: dict[str, np.ndarray]) -> dict[str, float]:
    same = (ours["src"] == peer["src"]) & (ours["dst"] == peer["dst"])
    return {"share of equal events": float(same.mean())}
