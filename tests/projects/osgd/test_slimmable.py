"""A slimmable network against plain ones of each width, and what its switches may not share."""

import pytest
import torch

from projects.osgd.slimmable import SlimmableCNN
from projects.osgd.width import WidthNestedCNN


def test_each_switch_is_a_plain_network_of_its_width():
    torch.manual_seed(0)
    model, x = SlimmableCNN(widths=(4, 8), strides=(2, 1, 2)).eval(), torch.randn(2, 3, 16, 16)
    for stage, (width, logits) in enumerate(zip((4, 8), model(x), strict=True)):
        plain = WidthNestedCNN(widths=(width,), strides=(2, 1, 2)).eval()
        with torch.no_grad():
            for place, layer in enumerate(plain.layers):
                below = layer.blocks[0].weight.shape[1]
                layer.blocks[0].weight.copy_(model.convs[place].weight[:width, :below])
                layer.norms[0].load_state_dict(model.norms[stage][place].state_dict())
        plain.heads[0].load_state_dict(model.heads[stage].state_dict())
        torch.testing.assert_close(logits, plain(x)[0])


def test_statistics_are_a_switch_s_own():
    model = SlimmableCNN(widths=(4, 8)).train()
    before = [[norm.running_mean.clone() for norm in norms] for norms in model.norms]
    model.step(0, torch.randn(4, 3, 32, 32), {})
    assert not torch.equal(model.norms[0][0].running_mean, before[0][0])
    assert torch.equal(model.norms[1][0].running_mean, before[1][0])


def test_every_switch_is_paid_in_full():
    costs = SlimmableCNN(widths=(4, 8)).stage_costs((3, 32, 32))
    alone = [WidthNestedCNN(widths=(w,)).stage_costs((3, 32, 32))[0].macs for w in (4, 8)]
    assert [cost.macs for cost in costs] == alone
    assert [cost.cached for cost in costs] == [0, 0]
    nested = WidthNestedCNN(widths=(4, 8)).stage_costs((3, 32, 32))
    assert nested[-1].cumulative_macs < costs[-1].cumulative_macs


def test_bad_widths():
    with pytest.raises(ValueError, match="strictly increasing"):
        SlimmableCNN(widths=(8, 4))
