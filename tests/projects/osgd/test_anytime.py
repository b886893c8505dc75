"""What every anytime network promises: laziness, one answer whichever way, honest costs."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from projects.osgd.width import WidthNestedCNN, WidthNestedMLP

NETWORKS = {
    "width MLP": (lambda: WidthNestedMLP(64, (4, 8, 16, 32)), (64,)),
    "width CNN": (lambda: WidthNestedCNN(widths=(4, 8, 16, 32)), (3, 16, 16)),
}
each_network = pytest.mark.parametrize(("make", "shape"), NETWORKS.values(), ids=NETWORKS)


@each_network
def test_stages_are_what_forward_returns(make, shape):
    model, x = make().eval(), torch.randn(2, *shape)
    with torch.no_grad():
        for lazy, eager in zip(model.stages(x), model(x), strict=True):
            assert torch.equal(lazy, eager)


@each_network
def test_an_abandoned_generator_computes_nothing_more(make, shape):
    model, x = make().eval(), torch.randn(1, *shape)
    costs = model.stage_costs(shape)
    for asked in range(model.num_stages):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            stages = model.stages(x)
            for _ in range(asked + 1):
                next(stages)
            stages.close()
        assert counter.get_total_flops() // 2 == costs[asked].cumulative_macs


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


@each_network
def test_later_stages_do_not_change_earlier_answers(make, shape):
    """Weights of later stages replaced by others: what earlier stages say stays, bit for bit."""
    model, x = make().eval(), torch.randn(2, *shape)
    with torch.no_grad():
        before = model(x)
        for stage in reversed(range(1, model.num_stages)):
            for parameter in model.parameters_of(stage):
                parameter.normal_()
            after = model(x)
            assert all(torch.equal(after[k], before[k]) for k in range(stage))
            assert not torch.equal(after[stage], before[stage])


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
    model, counted = make().eval(), []

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
    for stage in (-1, 4):
        with pytest.raises(IndexError, match=f"stage {stage} does not exist.*0 to 3"):
            model.parameters_of(stage)
        with pytest.raises(IndexError, match="numbered 0 to 3"):
            model.step(stage, torch.zeros(1, *shape), {})
