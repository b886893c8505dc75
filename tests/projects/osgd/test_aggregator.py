"""The torchjd aggregator beside the optimiser, and PCGrad beside both."""

import pytest
import torch
from torch import nn

pytest.importorskip("torchjd")
from torchjd.aggregation import PCGrad, Sum
from torchjd.autojac import backward, jac_to_grad

from projects.osgd.aggregator import OSGDAggregator, OSGDWeighting
from projects.osgd.baselines import METHODS, Aggregated, optimizer
from projects.osgd.gradients import task_gradients
from projects.osgd.optimizer import OSGD
from projects.osgd.projection import orthogonalize


def shared_net(seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
    x = torch.randn(20, 5)
    return model, lambda: list(model(x).pow(2).mean(0))


@pytest.mark.parametrize("normalize", [False, True, "unit"])
@pytest.mark.parametrize("order", [None, [2, 0, 1]])
def test_agrees_with_the_optimiser_over_all_parameters(order, normalize):
    model, losses = shared_net()
    options = {"order": order or "given", "normalize": normalize, "per": "global"}
    ours = OSGD(torch.optim.SGD(model.parameters(), lr=0.1), 3, **options)
    ours.backward(losses())
    ours.project()
    expected = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    backward(losses())
    jac_to_grad(list(model.parameters()), OSGDAggregator(order, normalize))
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-5, atol=1e-7)


def test_weighting_and_aggregator_agree():
    jacobian = torch.randn(4, 30, dtype=torch.float64)
    weights = OSGDWeighting(alphas=[1, 2, 3, 4])(jacobian @ jacobian.T)
    torch.testing.assert_close(weights @ jacobian, OSGDAggregator(alphas=[1, 2, 3, 4])(jacobian))


def test_pcgrad_differs_unless_tasks_are_orthogonal():
    """PCGrad projects both tasks of a conflict and no others; OSGD always the later one."""
    conflict = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])
    assert orthogonalize(conflict).tolist() == [1.0, 1.0]
    torch.testing.assert_close(PCGrad()(conflict), torch.tensor([0.5, 1.5]))
    agree = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    assert PCGrad()(agree).tolist() == [2.0, 1.0]
    assert orthogonalize(agree).tolist() == [1.0, 1.0]
    apart = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    assert PCGrad()(apart).tolist() == orthogonalize(apart).tolist() == [2.0, 3.0]


def test_a_sum_of_gradients_is_joint_training():
    model, losses = shared_net()
    ours = Aggregated(torch.optim.SGD(model.parameters(), lr=0.1), 3, Sum())
    ours.backward(losses())
    ours.project()
    expected = torch.autograd.grad(sum(losses()), list(model.parameters()))
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_heads_keep_their_gradient_under_an_aggregator():
    trunk, heads = nn.Linear(4, 4), nn.ModuleList([nn.Linear(4, 1), nn.Linear(4, 1)])
    parameters = [*trunk.parameters(), *heads.parameters()]
    x = torch.randn(8, 4)
    losses = [head(trunk(x)).pow(2).mean() for head in heads]
    rows = task_gradients(losses, parameters, retain_graph=True)
    ours = optimizer("mgda", torch.optim.SGD(parameters, lr=0.1), 2)
    ours.backward(losses)
    ours.project()
    torch.testing.assert_close(heads[0].weight.grad, rows[0][2])
    torch.testing.assert_close(heads[1].weight.grad, rows[1][4])
    # MGDA is the shortest convex combination: no longer than either gradient.
    shared = torch.cat([p.grad.flatten() for p in trunk.parameters()])
    for row in rows:
        assert shared.norm() <= torch.cat([g.flatten() for g in row[:2]]).norm() + 1e-6


@pytest.mark.filterwarnings("ignore:You are solving")
@pytest.mark.parametrize("name", METHODS)
def test_every_method_lowers_the_losses(name):
    model, losses = shared_net()
    before = sum(float(loss.detach()) for loss in losses())
    descent = optimizer(name, torch.optim.SGD(model.named_parameters(), lr=0.05), 3)
    for _ in range(30):
        descent.zero_grad()
        descent.step(losses())
    assert sum(float(loss.detach()) for loss in losses()) < 0.7 * before


def test_unknown_method():
    with pytest.raises(ValueError, match="did you mean 'pcgrad'"):
        optimizer("pcgrd", torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1), 2)
