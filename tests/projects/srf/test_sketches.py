"""Kernels and sketches against closed forms: second moments of section 2.2 of the brief."""

import functools
import math

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from sklearn.kernel_approximation import RBFSampler

from common.graphs.projections import stream
from projects.srf.kernels import feature_map, median_bandwidth
from projects.srf.sketches import (
    fresh_noise,
    gaussian_sketch,
    gram_sketch,
    hadamard_sketch,
)

X = torch.from_numpy(np.random.default_rng(0).normal(size=(7, 3)))


def squared(x, norm):
    return torch.cdist(x, x, p=norm)


@pytest.mark.parametrize(
    ("kernel", "bandwidth", "expected"),
    [
        ("rbf", 1.0, torch.exp(-(squared(X, 2) ** 2) / 2)),
        ("rbf", 2.0, torch.exp(-(squared(X, 2) ** 2) / 8)),
        ("laplace", 1.0, torch.exp(-squared(X, 1))),
        ("laplace", 3.0, torch.exp(-squared(X, 1) / 3)),
        ("linear", 1.0, X @ X.T),
    ],
)
def test_inner_products_approximate_the_kernel(kernel, bandwidth, expected):
    width = 40_000
    phi = feature_map(X, width, kernel, bandwidth, stream(1))
    assert phi.shape == (7, width)
    tolerance = 6 * (1 + expected.abs().max()) / math.sqrt(width)
    assert (phi @ phi.T - expected).abs().max() < tolerance


def test_rbf_agrees_with_scikit_learn():
    theirs = RBFSampler(gamma=0.5, n_components=40_000, random_state=0).fit_transform(X.numpy())
    ours = feature_map(X, 40_000, "rbf", 1.0, stream(2)).numpy()
    np.testing.assert_allclose(ours @ ours.T, theirs @ theirs.T, atol=0.06)


def test_other_kernels():
    assert feature_map(X, 5, "identity", 1.0, 0) is X
    assert torch.equal(feature_map(X, 5, lambda x: 2 * x, 1.0, 0), 2 * X)
    with pytest.raises(ValueError, match="7 nodes"):
        feature_map(X, 5, lambda x: x[:2], 1.0, 0)


def test_median_bandwidth():
    x = torch.tensor([[0.0], [1.0], [1.0], [5.0]])
    assert median_bandwidth(x) == pytest.approx(4.0, abs=1.01)
    with pytest.warns(UserWarning, match="bandwidth 1"):
        assert median_bandwidth(torch.ones(4, 2)) == 1.0


# -- moments -------------------------------------------------------------------------------

PHI = torch.from_numpy(np.random.default_rng(1).normal(size=(6, 4)))
DRAWS = 3000


@functools.cache
def draws(sketch):
    if sketch == "gaussian":
        return torch.stack([gaussian_sketch(PHI, stream(s)) for s in range(DRAWS)])
    if sketch == "hadamard":
        return torch.stack([hadamard_sketch(PHI, stream(s)) for s in range(DRAWS)])
    noise = [fresh_noise(6, 4, s, PHI.device) for s in range(DRAWS)]
    return torch.stack([gram_sketch(PHI, xi) for xi in noise])


@pytest.mark.parametrize("sketch", ["gaussian", "gram", "hadamard"])
def test_second_moments(sketch):
    """E[z_i.z_j] = phi_i.phi_j off the diagonal; the norm and distances carry an offset."""
    z = draws(sketch)
    n, energy = len(PHI), float((PHI**2).sum()) / len(PHI)
    inner = torch.einsum("sid,sjd->sij", z, z)
    error = inner.std(dim=0) / math.sqrt(DRAWS)
    expected = PHI @ PHI.T + energy * torch.eye(n)
    assert ((inner.mean(dim=0) - expected).abs() < 5 * error).all()
    distance = ((z[:, :, None] - z[:, None]) ** 2).sum(dim=-1)
    offset = torch.cdist(PHI, PHI) ** 2 + 2 * energy * (1 - torch.eye(n))
    spread = distance.std(dim=0) / math.sqrt(DRAWS)
    assert ((distance.mean(dim=0) - offset).abs() < 5 * spread + 1e-9).all()


def test_gram_has_the_distribution_of_the_dense_sketch():
    dense, gram = draws("gaussian"), draws("gram")
    flat = [z.reshape(DRAWS, -1) for z in (dense, gram)]
    scale = flat[0].std(dim=0).max()
    assert (flat[0].mean(0) - flat[1].mean(0)).abs().max() < 6 * scale * math.sqrt(2 / DRAWS)
    covariance = [torch.cov(part.T) for part in flat]
    assert (covariance[0] - covariance[1]).abs().max() < 8 * scale**2 * math.sqrt(2 / DRAWS)
    direction = torch.from_numpy(np.random.default_rng(2).normal(size=24))
    assert ks_2samp(*(np.asarray(part @ direction) for part in flat)).pvalue > 1e-3


def test_gram_of_a_batch_is_that_of_its_graphs():
    graph = torch.tensor([0, 0, 0, 0, 1, 1])
    noise = fresh_noise(6, 4, 3, PHI.device)
    together = gram_sketch(PHI, noise, graph=graph)
    for nodes in (slice(0, 4), slice(4, 6)):
        torch.testing.assert_close(together[nodes], gram_sketch(PHI[nodes], noise[nodes]))


def test_dense_sketch_is_the_matrix_product_and_shares_its_corner():
    from common.graphs.projections import keyed_normal_torch

    g = keyed_normal_torch(stream(5), torch.arange(6), 6)
    torch.testing.assert_close(
        gaussian_sketch(PHI, stream(5), 0.5), PHI + 0.5 * (g @ PHI) / math.sqrt(6)
    )
    small = gaussian_sketch(PHI[:4], stream(5))
    torch.testing.assert_close(small, PHI[:4] + (g[:4, :4] @ PHI[:4]) / 2)


@pytest.mark.parametrize("sketch", [gaussian_sketch, hadamard_sketch])
def test_every_output_depends_on_every_node(sketch):
    base = sketch(PHI, stream(7))
    for node in range(6):
        changed = PHI.clone()
        changed[node] += 1
        assert ((sketch(changed, stream(7)) - base).abs().sum(dim=1) > 1e-9).all()


@pytest.mark.parametrize("sketch", [gaussian_sketch, hadamard_sketch])
def test_equal_nodes_are_told_apart(sketch):
    z = sketch(torch.ones(9, 3, dtype=torch.double), stream(8))
    distances = torch.pdist(z)
    assert (distances > 1e-9).all()


def test_permutation_equivariance_holds_in_distribution():
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    moved = torch.stack([gaussian_sketch(PHI[order], stream(s)) for s in range(DRAWS)])
    back = moved[:, order.argsort()]
    dense = draws("gaussian")
    for node in range(6):
        assert ks_2samp(dense[:, node, 0].numpy(), back[:, node, 0].numpy()).pvalue > 1e-4


@pytest.mark.parametrize("n", [0, 1])
def test_smallest_graphs(n):
    phi = torch.ones(n, 3)
    for z in (
        gaussian_sketch(phi, 1),
        hadamard_sketch(phi, 1),
        gram_sketch(phi, fresh_noise(n, 3, 0, phi.device)),
    ):
        assert z.shape == (n, 3) and torch.isfinite(z).all()
