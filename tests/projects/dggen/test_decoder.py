"""The paper's modules against their formulas, blocked pair scores against plain ones."""

import pytest
import torch

from projects.dggen.decoder import Merge, Product, Reshape, pair_scores


def double(module):
    return module.double().requires_grad_(False)


def embeddings(n, d=4, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plain(a, b, w):
    """The whole (S, V, d) tensor at once."""
    return (a[:, None] + b[None]).relu() @ w


@pytest.mark.parametrize("floats", [1, 60, 10**6])
def test_pair_scores_and_their_gradients_do_not_depend_on_the_blocks(floats):
    a, b, w = embeddings(7), embeddings(5, seed=1), embeddings(1, seed=2)[0]
    upstream = embeddings(7, 5, seed=3)
    results = []
    for score in (plain, lambda *args: pair_scores(*args, floats=floats)):
        leaves = [x.clone().requires_grad_() for x in (a, b, w)]
        scores = score(*leaves)
        (scores * upstream).sum().backward()
        results.append([scores.detach(), *(leaf.grad for leaf in leaves)])
    for expected, ours in zip(*results, strict=True):
        assert torch.allclose(ours, expected, atol=1e-12)


def test_gradients_of_pair_scores_are_those_of_finite_differences():
    leaves = [x.requires_grad_() for x in (embeddings(3), embeddings(2, seed=1))]
    w = embeddings(1, seed=2)[0].requires_grad_()
    assert torch.autograd.gradcheck(lambda *x: pair_scores(*x, floats=8), (*leaves, w))


def test_modules_are_their_formulas():
    torch.manual_seed(0)
    reshape, product, merge = double(Reshape(4)), double(Product(4)), double(Merge(4, 6))
    z_u, z_v = embeddings(3), embeddings(3, seed=1)
    for i in range(3):
        one, two = z_u[i], z_v[i]
        hidden = (reshape.first.weight @ one + reshape.first.bias).clamp(min=0)
        score = reshape.last.weight[0] @ hidden + reshape.last.bias[0]
        assert torch.allclose(reshape(z_u)[i], score)
        first = product.source.weight @ one + product.source.bias
        second = product.destination.weight @ two + product.destination.bias
        score = product.last.weight[0] @ (first + second).clamp(min=0) + product.last.bias[0]
        assert torch.allclose(product(z_u, z_v)[i, i], score)
        first = (merge.source.weight @ one + merge.source.bias).clamp(min=0)
        second = (merge.destination.weight @ two + merge.destination.bias).clamp(min=0)
        h0 = merge.last.weight @ (first + second).clamp(min=0) + merge.last.bias
        assert torch.allclose(merge(z_u, z_v)[i], h0)
