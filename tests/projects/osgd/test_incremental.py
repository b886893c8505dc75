"""Inference in place against the network that it was made from."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from projects.osgd.incremental import Incremental
from projects.osgd.width import WidthNestedCNN, WidthNestedMLP

MAKES = {
    "cnn": (lambda **o: WidthNestedCNN(widths=(4, 8, 12), strides=(2, 1, 2), **o), (2, 3, 16, 16)),
    "mlp": (lambda **o: WidthNestedMLP(20, (4, 8, 12), **o), (2, 20)),
}


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize(("make", "shape"), MAKES.values(), ids=MAKES)
def test_same_answers_as_the_network(make, shape, norm):
    torch.manual_seed(0)
    model = make(norm=norm).train()
    for _ in range(3):  # statistics other than 0 and 1
        model(3 * torch.randn(shape) + 1)
    model.eval()
    fast = Incremental(model, shape)
    for _ in range(2):  # the second input meets the buffers of the first
        x = torch.randn(shape)
        with torch.no_grad():
            expected = model(x)
        for ours, eager in zip(fast.stages(x), expected, strict=True):
            torch.testing.assert_close(ours, eager, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(fast.last(x), expected[-1], rtol=1e-4, atol=1e-5)


def test_no_more_work_than_the_network_counts():
    model = WidthNestedCNN(widths=(4, 8), strides=(2, 1, 2))
    costs, shape = model.stage_costs((3, 16, 16)), (1, 3, 16, 16)
    stages = Incremental(model, shape).stages(torch.randn(shape))
    with FlopCounterMode(display=False) as counter:
        next(stages)
        assert counter.get_total_flops() // 2 == costs[0].macs
        next(stages)
    assert counter.get_total_flops() // 2 == costs[1].cumulative_macs


def test_what_cannot_be_folded():
    with pytest.raises(ValueError, match="GroupNorm depends on the input"):
        Incremental(WidthNestedMLP(8, (4, 8), norm="group"), (1, 8))
    with pytest.raises(ValueError, match="only ReLU"):
        Incremental(WidthNestedMLP(8, (4, 8), negative_slope=0.1), (1, 8))
