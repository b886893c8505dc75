"""What every anytime network promises: laziness, one answer whichever way, honest costs."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from projects.osgd.architectures import ARCHITECTURES
from projects.osgd.both import NestedBothCNN
from projects.osgd.cascade import CascadeCNN
from projects.osgd.depth import DepthNestedCNN
from projects.osgd.ensemble import Ensemble
from projects.osgd.slimmable import SlimmableCNN
from projects.osgd.width import WidthNestedCNN, WidthNestedMLP

WIDTHS = (4, 6, 8, 10)


def ensemble(**options):
    return Ensemble([WidthNestedCNN(widths=(width,)) for width in WIDTHS], **options)


IMAGE = (3, 16, 16)
NETWORKS = {
    "width MLP": (lambda: WidthNestedMLP(64, (4, 8, 16, 32)), (64,)),
    "width CNN": (lambda: WidthNestedCNN(widths=WIDTHS), IMAGE),
    "depth": (lambda: DepthNestedCNN(channels=(4, 8)), IMAGE),
    "depth, concat": (lambda: DepthNestedCNN(channels=(4, 8), aggregate="concat"), IMAGE),
    "deeper": (lambda: DepthNestedCNN(channels=(4, 4), depth=2, num_stages=3), IMAGE),
    "both": (lambda: NestedBothCNN(widths=WIDTHS), IMAGE),
    "deeper both": (lambda: NestedBothCNN(widths=WIDTHS[:2], depth=2, num_sections=2), IMAGE),
    "cascade": (lambda: CascadeCNN(channels=(4, 8, 8, 8)), IMAGE),
    "ensemble": (ensemble, IMAGE),
    "averaged ensemble": (lambda: ensemble(average=True), IMAGE),
}
each_network = pytest.mark.parametrize(("make", "shape"), NETWORKS.values(), ids=NETWORKS)


@each_network
def test_stages_are_what_forward_returns(make, shape):
    model, x = make().eval(), torch.randn(2, *shape)
    with torch.no_grad():
        for lazy, eager in zip(model.stages(x), model(x), strict=True):
            assert torch.equal(lazy, eager)


@each_network
def test_nothing_is_computed_before_it_is_asked_for(make, shape):
    model, x = make().eval(), torch.randn(1, *shape)
    costs = model.stage_costs(shape)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        stages = model.stages(x)
        assert counter.get_total_flops() == 0
        for stage in range(model.num_stages - 1):
            next(stages)
            assert counter.get_total_flops() // 2 == costs[stage].cumulative_macs
        stages.close()
    assert counter.get_total_flops() // 2 == costs[-2].cumulative_macs


@each_network
def test_step_leaves_its_cache_alone_and_can_be_repeated(make, shape):
    model, x = make().eval(), torch.randn(1, *shape)
    cache = {}
    with torch.no_grad():
        for stage in range(model.num_stages):
            before = {name: value.clone() for name, value in cache.items()}
            logits, after = model.step(stage, x, cache)
            again, _ = model.step(stage, x, cache)
            assert torch.equal(logits, again)
            assert cache.keys() == before.keys()
            assert all(torch.equal(cache[name], before[name]) for name in before)
            cache = after


def awake(model):
    """Every scale differs from 0, so that no layer is silent."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
    return model.eval()


@each_network
def test_later_stages_do_not_change_earlier_answers(make, shape):
    """Weights of later stages replaced by others: what earlier stages say stays, bit for bit."""
    model, x = awake(make()), torch.randn(2, *shape)
    with torch.no_grad():
        before = model(x)
        for stage in reversed(range(1, model.num_stages)):
            for parameter in model.parameters_of(stage):
                parameter.normal_()
            after = model(x)
            assert all(torch.equal(after[k], before[k]) for k in range(stage))
            assert not torch.equal(after[stage], before[stage])


@each_network
def test_every_stage_uses_all_that_it_introduces(make, shape):
    """In training, each of a stage's parameters moves its answer."""
    model = awake(make()).train()
    for stage, logits in enumerate(model(torch.randn(8, *shape))):
        model.zero_grad()
        logits[:, 0].square().sum().backward(retain_graph=True)
        for parameter in model.parameters_of(stage):
            assert parameter.grad is not None
            assert parameter.grad.abs().max() > 0


@each_network
def test_every_parameter_belongs_to_one_stage(make, shape):
    model = make()
    owned = [id(p) for stage in range(model.num_stages) for p in model.parameters_of(stage)]
    assert len(owned) == len(set(owned))
    assert set(owned) == {id(p) for p in model.parameters()}


@each_network
def test_counting_costs_leaves_the_network_alone(make, shape):
    model = make()
    list(model.modules())[-1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    costs = model.stage_costs(shape)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert [cost.stage for cost in costs] == list(range(model.num_stages))
    assert all(cost.macs > 0 and cost.params > 0 for cost in costs)


@each_network
def test_costs_agree_with_a_count_by_hooks(make, shape):
    """Another rule than the library's: output size times weights per output, layer by layer."""
    counted = []
    model = make().eval()

    def count(module, inputs, output):
        counted.append(output.numel() * module.weight[0].numel())

    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(count)
    with torch.no_grad():
        model(torch.zeros(1, *shape))
    assert sum(counted) == make().stage_costs(shape)[-1].cumulative_macs


@each_network
def test_a_stage_out_of_range(make, shape):
    model = make()
    last = model.num_stages - 1
    for stage in (-1, last + 1):
        with pytest.raises(IndexError, match=f"stage {stage} does not exist.*0 to {last}"):
            model.parameters_of(stage)
        with pytest.raises(IndexError, match=f"numbered 0 to {last}"):
            model.step(stage, torch.zeros(1, *shape), {})


def test_topologies_cost_about_the_same():
    """Final stages within a quarter of each other, and each stage's share of the final one too."""
    costs = {
        name: [cost.cumulative_macs for cost in make().stage_costs((3, 32, 32))]
        for name, make in ARCHITECTURES.items()
    }
    final = [macs[-1] for macs in costs.values()]
    assert max(final) < 1.25 * min(final)
    for stage in range(3):
        found = [macs[stage] for macs in costs.values()]
        assert max(found) < 2 * min(found)


@pytest.mark.parametrize("make", [*ARCHITECTURES.values(), SlimmableCNN])
def test_an_image_below_the_down_sampling(make):
    with pytest.raises(ValueError, match="smaller than the down-sampling"):
        make()(torch.zeros(1, 3, 2, 32))
