"""The benchmark's peers do the same work as the product itself."""

import numpy as np
import pytest
import torch

from projects.dggen import bench
from projects.dggen.decoder import Product
from projects.dggen.encoding import Batch
from projects.dggen.network import Candidates


@pytest.fixture(scope="module")
def model():
    return bench.fitted(nodes=25, dim=8, events=60)


@pytest.mark.parametrize("peer", [bench.PairTensor, bench.LayersPerPair])
def test_peers_score_and_train_alike(model, peer):
    ours, other = bench._swapped(model, Product), bench._swapped(model, peer)
    z = torch.randn(25, 8)
    gap = bench._same_scores(*(bench.all_scores(n.product, z) for n in (ours, other)))
    assert gap["largest gap"] < 1e-5
    ends = torch.from_numpy(np.random.default_rng(0).integers(0, 25, (2, 10)))
    batch = Batch(ends[0], ends[1], torch.full((10,), 10**6), torch.rand(10, 1))
    candidates = Candidates.all_of(torch.arange(25))
    steps = [bench.training_step(n, batch, candidates) for n in (ours, other)]
    agreed = bench._same_step(*steps)
    assert agreed["loss ours"] == pytest.approx(agreed["loss peer"], rel=1e-5)
    assert agreed["largest gap of a gradient"] < 1e-5 < float(steps[0][1].abs().max())


@pytest.mark.parametrize("batch_size", [1, 5])
def test_generation_with_and_without_the_cache_is_the_same(model, batch_size):
    streams = [bench.sample(model, 30, batch_size, reembed) for reembed in (False, True)]
    assert bench._same_stream(*streams)["share of equal events"] == 1
    assert model.num_events_ == 60
