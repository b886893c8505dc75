"""Width nesting against a dense masked network, closed forms and what must not be computed."""

import copy
import math

import pytest
import torch

from projects.osgd.masked import MaskedWidthNested
from projects.osgd.width import WidthNestedCNN, WidthNestedMLP

NETWORKS = {
    "mlp": lambda **options: WidthNestedMLP(12, (4, 8, 16), 3, 5, **options),
    "cnn": lambda **options: WidthNestedCNN(3, (4, 8, 16), (2, 1, 2, 1), 5, **options),
}
INPUTS = {"mlp": (6, 12), "cnn": (6, 3, 12, 12)}


def trained(kind, **options):
    """A network whose every parameter and statistic is something else than its initial value."""
    torch.manual_seed(0)
    model = NETWORKS[kind](**options)
    with torch.no_grad():
        for value in [*model.parameters(), *model.buffers()]:
            if value.is_floating_point():
                value.add_(torch.rand_like(value) / 10)
    return model


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", NETWORKS)
def test_stripes_give_the_logits_of_the_dense_masked_network(kind, training, norm):
    model = trained(kind, norm=norm, negative_slope=0.1).train(training)
    masked, x = MaskedWidthNested(model), torch.randn(INPUTS[kind])
    for ours, dense in zip(model(x), masked(x), strict=True):
        torch.testing.assert_close(ours, dense, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", NETWORKS)
def test_masked_entries_stay_zero_under_momentum_and_weight_decay(kind):
    masked = MaskedWidthNested(trained(kind))
    before = [layer.weight.clone() for layer in masked.layers]
    optimizer = torch.optim.SGD(masked.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        sum(logits.square().mean() for logits in masked(torch.randn(INPUTS[kind]))).backward()
        optimizer.step()
    for layer, old in zip(masked.layers, before, strict=True):
        kept = layer.mask.bool()
        assert torch.all(layer.weight[~kept] == 0)
        assert not torch.equal(layer.weight[kept], old[kept])
    assert any(not torch.all(layer.mask == 1) for layer in masked.layers)


@pytest.mark.parametrize("kind", NETWORKS)
def test_no_output_depends_on_a_later_stage(kind):
    """Output k has gradients at the parameters of stages 0 to k, older heads excepted."""
    model = trained(kind)
    owner = {id(p): s for s in range(3) for p in model.parameters_of(s)}
    assert len(owner) == len(list(model.parameters()))
    heads = {id(p) for head in model.heads for p in head.parameters()}
    for k, logits in enumerate(model(torch.randn(INPUTS[kind]))):
        model.zero_grad()
        logits.square().sum().backward(retain_graph=True)
        for p in model.parameters():
            uses = owner[id(p)] == k if id(p) in heads else owner[id(p)] <= k
            assert (p.grad is not None) == uses


def test_four_doubling_stages_cost_two_thirds_of_a_dense_layer():
    """Section 2.3: a hidden layer's stages cost 0.016 + 0.031 + 0.125 + 0.5 of the dense one."""
    widths, layers = (8, 16, 32, 64), 4
    model = WidthNestedMLP(7, widths, layers, 3)
    costs = model.stage_costs((7,))
    new = [8, 8, 16, 32]
    for cost, c, n in zip(costs, widths, new, strict=True):
        assert cost.macs == 7 * n + (layers - 1) * n * c + 3 * c
    hidden = [
        (cost.macs - 7 * n - 3 * c) / (layers - 1) / 64**2
        for cost, c, n in zip(costs, widths, new, strict=True)
    ]
    assert hidden == [1 / 64, 1 / 32, 1 / 8, 1 / 2]
    assert costs[-1].cumulative_macs == sum(cost.macs for cost in costs)
    assert costs[-1].cumulative_params == sum(p.numel() for p in model.parameters())
    assert [cost.cached for cost in costs] == [layers * c for c in widths]


def test_convolutions_are_counted_by_hand():
    model = WidthNestedCNN(3, (4, 8), (2, 1, 2), 10)
    side = 32
    expected = [0, 0]
    for place, stride in enumerate((2, 1, 2)):
        side = math.ceil(side / stride)
        for stage, (c, n) in enumerate(((4, 4), (8, 4))):
            expected[stage] += side**2 * 9 * (c if place else 3) * n
    expected = [expected[0] + 4 * 10, expected[1] + 8 * 10]
    assert [cost.macs for cost in model.stage_costs((3, 32, 32))] == expected


@pytest.mark.parametrize("make", NETWORKS.values())
def test_first_stage_learns_to_tell_inputs_apart(make):
    """No dead first stage: its logits differ between inputs at the start of training."""
    torch.manual_seed(1)
    model = make()
    kind = "mlp" if isinstance(model, WidthNestedMLP) else "cnn"
    assert model(torch.randn(INPUTS[kind]))[0].std(0).min() > 1e-3


@pytest.mark.parametrize(
    ("widths", "options", "message"),
    [
        ((8, 8), {}, "strictly increasing"),
        ((8, 4), {}, "strictly increasing"),
        ((0, 4), {}, "positive"),
        ((), {}, "positive"),
        ((4, 10), {"norm": "group", "group_size": 4}, "divisible by the group size 4"),
        ((4, 8), {"norm": "bach"}, "did you mean 'batch'"),
    ],
)
def test_bad_widths_and_options(widths, options, message):
    with pytest.raises(ValueError, match=message):
        WidthNestedMLP(4, widths, **options)
    with pytest.raises(ValueError, match=message):
        WidthNestedCNN(3, widths, **options)


def test_bad_depth_and_strides():
    with pytest.raises(ValueError, match="at least one hidden layer"):
        WidthNestedMLP(4, (4, 8), depth=0)
    for strides in ((), (0, 1)):
        with pytest.raises(ValueError, match="at least one layer"):
            WidthNestedCNN(3, (4, 8), strides)


def test_bad_inputs():
    model = WidthNestedCNN(widths=(4, 8), strides=(2, 2, 2))
    with pytest.raises(ValueError, match="smaller than the down-sampling; .* 8 x 8"):
        model(torch.zeros(1, 3, 7, 32))
    with pytest.raises(ValueError, match=r"expected \(batch, 3, height, width\)"):
        model(torch.zeros(1, 1, 32, 32))
    with pytest.raises(ValueError, match=r"expected \(batch, 64\)"):
        WidthNestedMLP(64)(torch.zeros(1, 3, 32, 32))


def test_networks_can_be_copied():
    model = trained("cnn").eval()
    x = torch.randn(INPUTS["cnn"])
    assert torch.equal(copy.deepcopy(model)(x)[-1], model(x)[-1])
