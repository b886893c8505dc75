"""Distances against scipy, with weights against repeated values."""

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy, ks_2samp

from common.graphs.distances import binned, jensen_shannon, ks, kullback_leibler, mean_gap

RNG = np.random.default_rng(0)
A, B = RNG.integers(0, 9, 40).astype(float), RNG.integers(2, 12, 25).astype(float)


def test_ks_is_scipys():
    assert ks(A, B) == pytest.approx(ks_2samp(A, B).statistic)
    assert ks(A, A) == 0


def test_weights_count_as_repetitions():
    weights = RNG.integers(1, 5, 40), RNG.integers(1, 5, 25)
    repeated = np.repeat(A, weights[0]), np.repeat(B, weights[1])
    assert ks(A, B, *weights) == pytest.approx(ks_2samp(*repeated).statistic)
    gap = (repeated[0].mean() - repeated[1].mean()) ** 2
    assert mean_gap(A, B, *weights) == pytest.approx(gap)


def test_mean_gap_of_several_columns():
    x, y = RNG.normal(size=(5, 3)), RNG.normal(size=(7, 3))
    assert mean_gap(x, y) == pytest.approx(((x.mean(0) - y.mean(0)) ** 2).sum())


def test_divergences_are_scipys():
    p, q = RNG.dirichlet(np.ones(6)), RNG.dirichlet(np.ones(6))
    assert jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q))
    assert kullback_leibler(p, q) == pytest.approx(entropy(p + 1e-6, q + 1e-6))
    assert jensen_shannon(p, p) == 0


def test_bins():
    p, q = binned(np.array([0.0, 1.0]), np.array([1.0, 3.0]), 3)
    assert p.tolist() == [0.5, 0.5, 0.0] and q.tolist() == [0.0, 0.5, 0.5]
    p, q = binned(np.ones(3), np.ones(2))
    assert p.tolist() == q.tolist() == [1.0]
    p, _ = binned(np.array([0.0, 1e-3, 1e-2, 10.0]), np.array([100.0]), 5)
    assert (p > 0).sum() >= 3  # equal bins would put all but one into the first
