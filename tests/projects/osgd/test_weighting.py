"""Loss weights beside hand-computed cases."""

import numpy as np
import pytest
import torch
from torch import nn

from projects.osgd.baselines import SummedLoss
from projects.osgd.weighting import AdaLoss, GradNorm


def test_adaloss_by_hand():
    """Running means 2, 1 and then 2 * 0.9 + 1 * 0.1 = 1.9, 1 * 0.9 + 3 * 0.1 = 1.2."""
    module = AdaLoss(2, decay=0.9)
    values = torch.tensor([2.0, 1.0], requires_grad=True)
    module(values).backward()
    torch.testing.assert_close(values.grad, torch.tensor([2 / 3, 4 / 3]))
    values = torch.tensor([1.0, 3.0], requires_grad=True)
    module(values).backward()
    inverse = np.array([1 / 1.9, 1 / 1.2])
    np.testing.assert_allclose(values.grad, 2 * inverse / inverse.sum(), rtol=1e-5)


def test_adaloss_survives_a_loss_of_zero():
    total = AdaLoss(2)(torch.tensor([0.0, 1.0]))
    assert torch.isfinite(total)


def test_adaloss_refuses_a_decay_of_one():
    with pytest.raises(ValueError, match="below 1"):
        AdaLoss(2, decay=1.0)


def gradnorm(losses, norms, asymmetry=1.0, rate=0.1):
    found = GradNorm(
        torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1),
        2,
        asymmetry=asymmetry,
        rate=rate,
    )
    found.first, found._losses = np.ones(2), np.array(losses)
    return found.moved(np.array(norms))


def test_gradnorm_by_hand():
    """Norms 1 and 3, equal progress: both aim at 2, so the weights move by +0.1 * 1, -0.1 * 3."""
    expected = np.array([1.1, 0.7])
    np.testing.assert_allclose(gradnorm([0.5, 0.5], [1, 3]), 2 * expected / expected.sum())


def test_gradnorm_favours_the_slow_task():
    weights = gradnorm([0.9, 0.1], [1, 1])
    assert weights[0] > 1 > weights[1]


def test_gradnorm_settles_where_norms_are_equal():
    """Two losses a w and b w with constant gradients a, b: weights go to those of equal norm."""
    w = nn.Parameter(torch.zeros(1))
    descent = GradNorm(torch.optim.SGD([w], lr=0.0), 2, asymmetry=0.0, rate=0.01)
    for _ in range(400):
        descent.step([w.sum() + 1, 3 * w.sum() + 1])
    np.testing.assert_allclose(descent.weights, [1.5, 0.5], atol=0.05)


def test_uncertainty_learns_its_weights_without_decay():
    """At the optimum of exp(-s) L / 2 + s / 2 the weight exp(-s) is 1 / L."""
    scalarization = pytest.importorskip("torchjd.scalarization")
    w = nn.Parameter(torch.ones(1))
    base = torch.optim.SGD([w], lr=0.5, weight_decay=0.1)
    descent = SummedLoss(base, 2, scalarization.UW(2))
    assert [group["weight_decay"] for group in descent.param_groups] == [0.1, 0.0]
    for _ in range(300):
        descent.zero_grad()
        descent.step([0 * w.sum() + 0.5, 0 * w.sum() + 2.0])
    weights = descent.scalarizer.log_var.detach().neg().exp()
    torch.testing.assert_close(weights, torch.tensor([2.0, 0.5]), rtol=1e-2, atol=0)


def test_joint_step_is_the_sum():
    w, twin = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    base = torch.optim.SGD([twin], lr=0.1)
    SummedLoss(torch.optim.SGD([w], lr=0.1), 2).step([w.pow(2).sum(), w.pow(3).sum()])
    (twin.pow(2).sum() + twin.pow(3).sum()).backward()
    base.step()
    assert torch.equal(w, twin)


def test_joint_step_leaves_out_what_is_not_finite_if_asked():
    w = nn.Parameter(torch.ones(3))
    descent = SummedLoss(torch.optim.SGD([w], lr=0.1), 1, skip_nonfinite=True)
    descent.step([w.sum() * float("inf")])
    assert w.tolist() == [1, 1, 1]
