"""The optimiser around torch's own: steps, accumulation, schedulers, mixed precision, bad input."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from projects.osgd.gradients import task_gradients
from projects.osgd.optimizer import OSGD
from projects.osgd.projection import orthogonalize
from projects.osgd.width import WidthNestedMLP

ATOL = 1e-6


def nested(seed=0, **options):
    torch.manual_seed(seed)
    model = WidthNestedMLP(6, widths=(4, 8, 16), depth=2, num_classes=3, **options)
    x, y = torch.randn(32, 6), torch.randint(3, (32,))
    return model, x, y


def losses_of(model, x, y):
    return [F.cross_entropy(logits, y) for logits in model(x)]


def sgd(model, **options):
    options = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3, **options}
    return torch.optim.SGD(model.named_parameters(), **options)


def trained(model, x, y, steps=3, **options):
    model = copy.deepcopy(model)
    optimizer = OSGD(sgd(model), 3, **options)
    for _ in range(steps):
        optimizer.zero_grad()
        optimizer.step(losses_of(model, x, y))
    return list(model.parameters())


def assert_same(found, expected, **tolerance):
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, **tolerance)


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.AdamW])
def test_one_task_is_the_base_optimiser_bit_for_bit(make):
    model, x, y = nested()
    twin = copy.deepcopy(model)
    plain, ours = make(model.parameters(), lr=0.05), OSGD(make(twin.parameters(), lr=0.05), 1)
    for _ in range(4):
        plain.zero_grad()
        losses_of(model, x, y)[2].backward()
        plain.step()
        ours.zero_grad()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the heads of the first stages are in no task
            ours.step(losses_of(twin, x, y)[2:])
    assert all(map(torch.equal, model.parameters(), twin.parameters()))


@pytest.mark.parametrize("normalize", [False, True, "unit"])
@pytest.mark.parametrize("order", ["given", "reversed", [1, 2, 0]])
def test_per_tensor_is_the_projection_of_every_tensor(order, normalize):
    model, x, y = nested()
    optimizer = OSGD(sgd(model), 3, order=order, normalize=normalize)
    rows = task_gradients(losses_of(model, x, y), list(model.parameters()))
    optimizer.backward(losses_of(model, x, y))
    optimizer.project()
    places = {"given": [0, 1, 2], "reversed": [2, 1, 0]}.get(str(order), order)
    for place, parameter in enumerate(model.parameters()):
        there = [k for k in places if rows[k][place] is not None]
        stacked = torch.stack([rows[k][place].flatten() for k in there])
        expected = orthogonalize(stacked, normalize=normalize if len(there) > 1 else False)
        torch.testing.assert_close(parameter.grad.flatten(), expected, atol=ATOL, rtol=1e-4)


def test_global_and_layers_are_projections_of_concatenated_tensors():
    model, x, y = nested()
    names = [name for name, _ in model.named_parameters()]
    parameters = list(model.parameters())
    rows = task_gradients(losses_of(model, x, y), parameters)
    reach = [sum(row[place] is not None for row in rows) for place in range(len(names))]
    spaces = {
        "global": ["all"] * len(names),
        "layer": [name.rpartition(".")[0] for name in names],
        "matrix": [name.split(".blocks")[0] for name in names],
    }
    for per, of in spaces.items():
        option = (lambda name: name.split(".blocks")[0]) if per == "matrix" else per
        optimizer = OSGD(sgd(model), 3, per=option)
        optimizer.backward(losses_of(model, x, y))
        optimizer.project()
        for space in set(of):
            places = [p for p in range(len(names)) if of[p] == space and reach[p] > 1]
            if not places:
                continue
            filled = [
                torch.cat([torch.zeros_like(parameters[p]).flatten() if row[p] is None
                           else row[p].flatten() for p in places])
                for row in rows
            ]  # fmt: skip
            expected = orthogonalize(torch.stack(filled))
            found = torch.cat([parameters[p].grad.flatten() for p in places])
            torch.testing.assert_close(found, expected, atol=ATOL, rtol=1e-4)


@pytest.mark.parametrize("per", ["tensor", "global"])
@pytest.mark.parametrize("normalize", [False, True, "unit"])
def test_what_one_task_alone_reaches_keeps_its_gradient(per, normalize):
    model, x, y = nested()
    optimizer = OSGD(sgd(model), 3, per=per, normalize=normalize)
    rows = task_gradients(losses_of(model, x, y), list(model.parameters()))
    optimizer.backward(losses_of(model, x, y))
    optimizer.project()
    alone = 0
    for place, parameter in enumerate(model.parameters()):
        there = [row[place] for row in rows if row[place] is not None]
        if len(there) == 1:
            alone += 1
            assert torch.equal(parameter.grad, there[0])
    assert alone > len(list(model.heads.parameters()))


def test_batched_backward_gives_the_same_steps():
    model, x, y = nested()
    assert_same(
        trained(model, x, y, backward="batched"), trained(model, x, y), atol=1e-5, rtol=1e-4
    )


def test_accumulated_gradients_are_projected_once():
    """Two halves give the mean loss of the whole; projecting each half would not."""
    model, x, y = nested(norm="none")
    twin = copy.deepcopy(model)
    whole, halves = OSGD(sgd(model), 3), OSGD(sgd(twin), 3)
    whole.step(losses_of(model, x, y))
    for part in (slice(0, 16), slice(16, 32)):
        halves.backward([loss / 2 for loss in losses_of(twin, x[part], y[part])])
    halves.step()
    assert_same(twin.parameters(), model.parameters(), atol=1e-6, rtol=1e-5)


def test_zero_grad_forgets_accumulated_gradients():
    model, x, y = nested(norm="none")
    expected = trained(model, x, y, steps=1)
    optimizer = OSGD(sgd(model), 3)
    optimizer.backward(losses_of(model, -x, y))
    optimizer.zero_grad()
    optimizer.step(losses_of(model, x, y))
    assert_same(model.parameters(), expected)


def test_alphas_weigh_tasks_and_heads():
    model, x, y = nested()
    rows = task_gradients(losses_of(model, x, y), list(model.parameters()))
    optimizer = OSGD(sgd(model), 3, alphas=[1, 2, 3])
    optimizer.backward(losses_of(model, x, y))
    optimizer.project()
    place = [name for name, _ in model.named_parameters()].index("heads.1.weight")
    torch.testing.assert_close(model.heads[1].weight.grad, 2 * rows[1][place])


def test_direction_can_be_clipped_before_the_step():
    model, x, y = nested()
    optimizer = OSGD(sgd(model, momentum=0, weight_decay=0, lr=1.0), 3)
    before = [p.detach().clone() for p in model.parameters()]
    optimizer.backward(losses_of(model, x, y))
    optimizer.project()
    nn.utils.clip_grad_norm_(model.parameters(), 0.01)
    optimizer.step()
    moved = torch.cat(
        [(a.detach() - b).flatten() for a, b in zip(model.parameters(), before, strict=True)]
    )
    assert float(moved.norm()) == pytest.approx(0.01, rel=1e-3)


def test_closure_and_scheduler():
    model, x, y = nested()
    optimizer = OSGD(sgd(model), 3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        returned = optimizer.step(lambda: losses_of(model, x, y))
        scheduler.step()
    assert len(returned) == 3
    assert optimizer.base.param_groups[0]["lr"] == pytest.approx(0.05)
    optimizer.add_param_group({"params": [("extra", nn.Parameter(torch.zeros(2)))]})
    assert len(optimizer.base.param_groups) == len(optimizer.param_groups) == 2


def test_weight_decay_is_outside_of_the_projection():
    """A gradient of zero leaves weight decay alone; it belongs to no task."""
    w = nn.Parameter(torch.tensor([1.0, 2.0]))
    optimizer = OSGD(torch.optim.SGD([w], lr=0.1, weight_decay=0.5), 2)
    optimizer.step([0 * w.sum(), 0 * w.sum()])
    torch.testing.assert_close(w.detach(), torch.tensor([0.95, 1.90]))


def test_state_goes_round():
    model, x, y = nested()
    optimizer = OSGD(sgd(model), 3)
    for _ in range(2):
        optimizer.step(losses_of(model, x, y))
    twin = copy.deepcopy(model)
    other = OSGD(sgd(twin), 3)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for m, o in ((model, optimizer), (twin, other)):
        o.step(losses_of(m, x, y))
    assert_same(twin.parameters(), model.parameters(), rtol=0, atol=0)
    assert other.param_groups is other.base.param_groups and other.state is other.base.state


def test_state_of_a_plain_optimiser_is_taken_and_of_other_tasks_refused():
    model, _, _ = nested()
    optimizer = OSGD(sgd(model), 3)
    optimizer.load_state_dict(sgd(model, lr=0.7).state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.7
    with pytest.raises(ValueError, match="3 tasks .* has 2"):
        OSGD(sgd(model), 2).load_state_dict(optimizer.state_dict())


# -- mixed precision ------------------------------------------------------------------------


def test_scaled_losses_make_the_same_step():
    model, x, y = nested()
    expected = trained(model, x, y, steps=2)
    optimizer, scaler = OSGD(sgd(model), 3), torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for _ in range(2):
        optimizer.zero_grad()
        optimizer.step(losses_of(model, x, y), scaler=scaler)
        scaler.update()
    assert_same(model.parameters(), expected, atol=1e-6, rtol=1e-5)


def test_an_infinite_gradient_leaves_the_step_out_and_lowers_the_scale():
    model, x, y = nested()
    before = copy.deepcopy(model.state_dict())
    optimizer, scaler = OSGD(sgd(model), 3), torch.amp.GradScaler("cpu", init_scale=1e30)
    losses = losses_of(model, x, y)
    losses[1] = losses[1] * 1e20
    optimizer.step(losses, scaler=scaler)
    scaler.update()
    assert scaler.get_scale() < 1e30
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_bfloat16_parameters():
    w = nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    optimizer = OSGD(torch.optim.SGD([w], lr=1.0), 2)
    optimizer.step([w[0], -3 * w[0] + w[1]])
    assert w.grad.dtype == torch.bfloat16
    assert w.tolist() == [0, 0, 1]


# -- bad input ------------------------------------------------------------------------------


@pytest.fixture
def pair():
    w = nn.Parameter(torch.ones(3))
    return w, OSGD(torch.optim.SGD([w], lr=0.1), ["early", "late"])


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        (lambda w: [], "0 losses for 2 tasks"),
        (lambda w: [w.sum()], "1 losses for 2 tasks"),
        (lambda w: [w.sum(), w], r"task 1 \(late\) is no scalar"),
        (lambda w: [w.sum(), 1.0], r"task 1 \(late\) is no scalar"),
        (lambda w: [w.sum().detach(), w.sum()], r"task 0 \(early\) has no grad_fn"),
        (lambda w: [w.sum(), w.sum() * float("nan")], r"task 1 \(late\) is nan.*skip_nonfinite"),
        (lambda w: [w.sum() / 0, w.sum()], r"task 0 \(early\) is inf"),
        (lambda w: [w.sum(), w.sum() * 1j], "complex"),
        (lambda w: [w.sum(), w.sum().to("meta")], "is on meta"),
    ],
)
def test_refuses_losses(pair, losses, message):
    w, optimizer = pair
    with pytest.raises(ValueError, match=message):
        optimizer.step(losses(w))
    assert w.tolist() == [1, 1, 1]


def test_a_step_that_is_not_finite_is_left_out_if_asked():
    w = nn.Parameter(torch.ones(3))
    optimizer = OSGD(torch.optim.SGD([w], lr=0.1), 2, skip_nonfinite=True)
    optimizer.step([w.sum(), w.sum() * float("nan")])
    assert w.tolist() == [1, 1, 1]
    optimizer.step([w.sum(), w.sum()])
    torch.testing.assert_close(w.detach(), torch.full((3,), 0.9))


def test_step_without_backward(pair):
    with pytest.raises(RuntimeError, match="without gradients"):
        pair[1].step()


def test_freed_graph(pair):
    w, optimizer = pair
    losses = [(w**2).sum(), (w**3).sum()]
    optimizer.backward(losses, retain_graph=True)
    optimizer.backward(losses)
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        optimizer.backward(losses)


def test_parameters_in_no_task_are_left_and_named_once():
    model, x, y = nested()
    optimizer = OSGD(sgd(model), 2)
    before = model.heads[2].weight.detach().clone()
    with pytest.warns(UserWarning, match="belong to no task"):
        optimizer.step(losses_of(model, x, y)[:2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.step(losses_of(model, x, y)[:2])
    assert torch.equal(model.heads[2].weight, before)


def test_sparse_gradients():
    table = nn.Embedding(5, 2, sparse=True)
    optimizer = OSGD(torch.optim.SGD(table.parameters(), lr=0.1), 1)
    with pytest.raises(ValueError, match="sparse=False"):
        optimizer.step([table(torch.tensor([1])).sum()])


def test_complex_parameters():
    w = nn.Parameter(torch.ones(2, dtype=torch.complex64))
    optimizer = OSGD(torch.optim.SGD([w], lr=0.1), 1)
    with pytest.raises(ValueError, match="complex"):
        optimizer.step([w.abs().sum()])


def test_mixed_devices():
    here, there = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2, device="meta"))
    optimizer = OSGD(torch.optim.SGD([here, there], lr=0.1), 1)
    with pytest.raises(ValueError, match=r"cpu.*meta"):
        optimizer.step([here.sum()])


def test_accumulation_over_other_branches():
    a, b = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = OSGD(torch.optim.SGD([a, b], lr=0.1), 2)
    optimizer.backward([a.sum(), b.sum()])
    with pytest.raises(ValueError, match="other parameters"):
        optimizer.backward([b.sum(), a.sum()])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": 0}, "at least one loss"),
        ({"tasks": ["a", "a"]}, "twice"),
        ({"tasks": 2, "order": [0, 0]}, "each task once"),
        ({"tasks": 2, "order": [0]}, "each task once"),
        ({"tasks": 2, "order": [0, 2]}, "each task once"),
        ({"tasks": 2, "order": [0, 1.5]}, "each task once"),
        ({"tasks": 2, "order": "revresed"}, "did you mean 'reversed'"),
        ({"tasks": 2, "per": "tensr"}, "did you mean 'tensor'"),
        ({"tasks": 2, "per": "layer"}, "named_parameters"),
        ({"tasks": 2, "normalize": "length"}, "allowed: False, True, 'unit'"),
        ({"tasks": 2, "alphas": [1.0]}, "one finite number"),
        ({"tasks": 2, "alphas": [1.0, float("nan")]}, "one finite number"),
        ({"tasks": 2, "backward": "batch"}, "did you mean 'batched'"),
    ],
)
def test_refuses_options(options, message):
    base = torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1)
    with pytest.raises(ValueError, match=message):
        OSGD(base, **options)


def test_base_has_to_be_an_optimiser():
    with pytest.raises(TypeError, match=r"torch\.optim\.SGD"):
        OSGD([nn.Parameter(torch.ones(2))], 2)


def test_order_by_name():
    w = nn.Parameter(torch.zeros(2))
    optimizer = OSGD(torch.optim.SGD([w], lr=1.0), ["early", "late"], order=["late", "early"])
    optimizer.step([-3 * w[0] + w[1], w[0]])
    assert w.tolist() == [-1, -1]
