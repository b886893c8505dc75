"""Training: recipes, greedy stages, tuning, distillation, and the problem with a known answer."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from projects.osgd.data import Split
from projects.osgd.gradients import GradientMatrix, pairwise_cosines, reachable, task_gradients
from projects.osgd.masked import MaskedWidthNested
from projects.osgd.quadratic import APART, QuadraticTasks, descend
from projects.osgd.training import (
    Alone,
    Recipe,
    errors,
    fit,
    fit_greedily,
    gradient_cosines,
    seeded,
    stage_losses,
    train,
    tuned,
)
from projects.osgd.width import WidthNestedMLP


def blobs(seed=0, n=120):
    """Three well-separated classes in six dimensions."""
    rng = np.random.default_rng(seed)
    y = rng.integers(3, size=3 * n)
    x = (4 * np.eye(3, 6)[y] + rng.normal(size=(3 * n, 6))).astype(np.float32)
    parts = [(x[k * n : (k + 1) * n], y[k * n : (k + 1) * n]) for k in range(3)]
    (tx, ty), (vx, vy), (ex, ey) = parts
    return Split(tx, ty, vx, vy, ex, ey, "blobs", 3)


def nested():
    return WidthNestedMLP(6, widths=(4, 8), depth=2, num_classes=3, negative_slope=0.01)


RECIPE = Recipe(epochs=8, batch=20, lr=0.1)


@pytest.mark.parametrize("method", ["joint", "osgd", "greedy"])
def test_every_stage_learns(method):
    split = blobs()
    model = train(nested, split, method, RECIPE, seed=0)
    assert (errors(model, split.test_x, split.test_y) < 0.15).all()


def test_training_repeats():
    split = blobs()
    first, second = (train(nested, split, "pcgrad", RECIPE, seed=3) for _ in range(2))
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_greedy_training_leaves_earlier_stages_as_they_were():
    split, short = blobs(), replace(RECIPE, epochs=2)
    whole = seeded(nested, 0)
    first = {name: value.clone() for name, value in whole.state_dict().items()}
    fit_greedily(whole, split, short)
    alone = seeded(nested, 0)
    alone.num_stages = 1  # stops after the first stage
    fit_greedily(alone, split, short)
    of_first = [n for n in first if any(p in n for p in ("blocks.0.", "norms.0.", "heads.0."))]
    assert len(of_first) > 10
    for name in of_first:
        torch.testing.assert_close(whole.state_dict()[name], alone.state_dict()[name])
    assert not torch.equal(whole.state_dict()["heads.1.weight"], first["heads.1.weight"])
    assert all(parameter.requires_grad for parameter in whole.parameters())


def test_networks_alone_do_not_see_each_other():
    split = blobs()
    both = train(lambda: Alone([nested(), nested()]), split, "stand-alone", RECIPE, seed=0)
    assert errors(both, split.test_x, split.test_y).shape == (2,)
    losses = [F.cross_entropy(found, torch.from_numpy(split.test_y))
              for found in both(torch.from_numpy(split.test_x))]  # fmt: skip
    assert not reachable(losses[0]) & reachable(losses[1])


def test_errors_by_hand():
    class Fixed(torch.nn.Module):
        num_stages = 2

        def __init__(self):
            super().__init__()
            self.unused = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x):
            return [F.one_hot(torch.zeros(len(x), dtype=int), 3), F.one_hot(x[:, 0].long(), 3)]

    x, y = np.array([[0.0], [1.0], [2.0], [2.0]], dtype=np.float32), np.array([0, 1, 2, 0])
    assert errors(Fixed(), x, y, batch=3).tolist() == [0.5, 0.25]


def test_rates():
    cosine = [Recipe().rate(share) for share in (0, 0.5, 1)]
    assert cosine == [1, 0.5, 0]
    steps = Recipe(schedule="steps")
    assert [steps.rate(share) for share in (0, 0.49, 0.5, 0.75)] == pytest.approx([1, 1, 0.1, 0.01])
    assert Recipe(schedule="constant").rate(0.9) == 1


def test_distillation_by_definition():
    logits = [torch.randn(5, 3, requires_grad=True) for _ in range(2)]
    y = torch.randint(3, (5,))
    recipe = Recipe(distill=0.25, temperature=3.0)
    early, last = stage_losses(logits, y, recipe)
    p, q = ((found.detach() / 3).softmax(1) for found in (logits[1], logits[0]))
    divergence = 9 * (p * (p / q).log()).sum(1).mean()
    expected = 0.75 * F.cross_entropy(logits[0], y) + 0.25 * divergence
    torch.testing.assert_close(early, expected)
    torch.testing.assert_close(last, F.cross_entropy(logits[1], y))
    early.backward()
    assert logits[1].grad is None  # the teacher does not learn from its student


def test_tuning_takes_the_best_finite_rate():
    table = {0.1: [0.5, 0.4], 1.0: [0.2, 0.3], 10.0: [float("nan"), 0.0]}
    best, means = tuned(lambda rate, seed: np.array(table[rate]) + seed, list(table), [0])
    assert best == 1.0
    assert means[0.1] == pytest.approx(0.45)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"epochs": 0}, "0 epochs"),
        ({"batch": 1}, "batches of 1"),
        ({"distill": 1.5}, "between 0 and 1"),
    ],
)
def test_refuses_recipes(options, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**options)


# -- gradients ------------------------------------------------------------------------------


def test_cosines_over_what_both_reach():
    """By hand: w is shared by all, v by the last two; stage 1 is compared on w alone."""
    w = torch.nn.Parameter(torch.tensor([1.0, 0.0]))
    v = torch.nn.Parameter(torch.tensor([1.0]))
    losses = [w[0], w[0] + w[1] + 3 * v[0], w[1] + v[0]]
    matrix = GradientMatrix([w, v], ["all"] * 2, [(0, 1, 2), (1, 2)], 3)
    matrix.put(task_gradients(losses, [w, v]), add=False)
    found = pairwise_cosines(matrix)
    np.testing.assert_allclose(found[0, 1], 1 / np.sqrt(2))
    np.testing.assert_allclose(found[0, 2], 0, atol=1e-12)
    np.testing.assert_allclose(found[1, 2], 4 / np.sqrt(11 * 2))
    np.testing.assert_allclose(np.diagonal(found), 1)


def test_cosines_leave_the_network_as_it_is():
    split = blobs()
    model = nested().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = gradient_cosines(model, split.train_x, split.train_y)
    assert found.shape == (2, 2) and model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("layout", ["stripes", "masked"])
def test_batched_gradients_are_the_naive_ones(layout):
    split, model = blobs(), nested()
    model = model if layout == "stripes" else MaskedWidthNested(model)
    parameters = list(model.parameters())
    rows = []
    for method in ("naive", "batched"):
        logits = model(torch.from_numpy(split.train_x))
        losses = stage_losses(logits, torch.from_numpy(split.train_y), RECIPE)
        rows.append(task_gradients(losses, parameters, method))
    for naive, batched in zip(*rows, strict=True):
        for a, b in zip(naive, batched, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_masked_entries_stay_zero_under_osgd():
    split = blobs()
    model = MaskedWidthNested(seeded(nested, 0))
    fit(model, split, "osgd normalised", replace(RECIPE, epochs=2, weight_decay=0.01))
    for layer in model.layers:
        assert (layer.weight[layer.mask == 0] == 0).all()


# -- quadratics -----------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), rank=st.integers(1, 5))
def test_constrained_minimiser_fulfils_its_conditions(seed, rank):
    """The first gradient vanishes, and the second is normal to the plane of minimisers."""
    problem = QuadraticTasks.random(np.random.default_rng(seed), 6, rank)
    w = problem.constrained_minimiser()
    first, second = (h @ (w - a) for h, a in zip(problem.hessians, problem.centres, strict=True))
    np.testing.assert_allclose(first, 0, atol=1e-9)
    free = np.linalg.svd(problem.hessians[0])[2][rank:]
    np.testing.assert_allclose(free @ second, 0, atol=1e-9)


def test_orthogonal_descent_ends_there_and_joint_descent_elsewhere():
    problem = QuadraticTasks.random(np.random.default_rng(0), 6, 1)
    goal = problem.constrained_minimiser()
    (orthogonal,), (joint,) = (descend([problem], method, 200) for method in ("osgd", "joint"))
    assert np.linalg.norm(orthogonal - goal) < 1e-4
    # the minimiser of the sum: sum_k H_k (w - a_k) = 0
    pull = np.einsum("kij,kj->i", problem.hessians, problem.centres)
    np.testing.assert_allclose(joint, np.linalg.solve(problem.hessians.sum(0), pull), atol=1e-3)
    assert np.linalg.norm(joint - goal) > 0.1


@pytest.mark.parametrize("method", [*APART, "osgd global", "pcgrad"])
def test_problems_side_by_side_end_as_each_alone(method):
    problems = [QuadraticTasks.random(np.random.default_rng(n), 6, 1 + n) for n in range(3)]
    torch.manual_seed(0)
    together = descend(problems, method, 20)
    torch.manual_seed(0)
    alone = np.concatenate([descend([problem], method, 20) for problem in problems])
    np.testing.assert_allclose(together, alone, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rank", [0, 6])
def test_a_rank_without_a_plane(rank):
    with pytest.raises(ValueError, match="less than the size"):
        QuadraticTasks.random(np.random.default_rng(0), 6, rank)
