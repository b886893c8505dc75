"""Depth nesting against its definition, written out; the shape errors of the other topologies."""

import pytest
import torch

from projects.osgd.both import NestedBothCNN
from projects.osgd.cascade import CascadeCNN
from projects.osgd.depth import DepthNestedCNN
from projects.osgd.ensemble import Ensemble


def awake(model):
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith("weight") and value.dim() == 1:
                value.uniform_(0.5, 1.5)
    return model.eval()


def by_definition(model, x, num_stages, depth):
    """Section 2.3 literally: every state by place on a common grid, nearest ones looked up.

    Places of a section are numbered 0 to D 2^(N-1) - 1; stage 0 has those divisible by 2^(N-1),
    stage s those halfway between what there was.
    """
    spacing = 2 ** (num_stages - 1)
    sections = len(model.branches[0].sections)
    ends = {}
    heads = []
    states = [dict() for _ in range(sections)]  # (stage, place) -> h
    for stage in range(num_stages):
        branch = model.branches[stage]
        if stage == 0:
            places = range(0, depth * spacing, spacing)
        else:
            places = range(spacing >> stage, depth * spacing, spacing >> (stage - 1))
        for section in range(sections):
            if section:
                h = branch.enters[section - 1](ends[stage, section - 1])
            else:
                h = model.stem(x) if stage == 0 else 0 * model.stem(x)
            states[section][stage, -1] = h
            for unit, place in zip(branch.sections[section], places, strict=True):
                read = h
                for earlier in range(stage):
                    nearest = max(p for s, p in states[section] if s == earlier and p <= place)
                    read = read + states[section][earlier, nearest]
                h = h + unit(read)
                states[section][stage, place] = h
            ends[stage, section] = h
        last = sum(ends[earlier, sections - 1] for earlier in range(stage + 1))
        heads.append(model.heads[stage](last))
    return heads


@pytest.mark.parametrize(("num_stages", "depth"), [(1, 2), (2, 1), (3, 2), (4, 1)])
def test_stages_follow_the_definition(num_stages, depth):
    torch.manual_seed(0)
    model = awake(DepthNestedCNN(3, (4, 6), depth, num_stages))
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        for ours, literal in zip(model(x), by_definition(model, x, num_stages, depth), strict=True):
            torch.testing.assert_close(ours, literal, rtol=1e-4, atol=1e-5)


def test_every_stage_doubles_the_depth():
    model = DepthNestedCNN(channels=(4, 8), depth=3, num_stages=4)
    depths = [sum(len(b.sections[0]) for b in model.branches[: s + 1]) for s in range(4)]
    assert depths == [3, 6, 12, 24]


def test_before_training_all_stages_see_what_the_first_sees():
    """The last scale of every new branch is 0: equal heads give equal answers."""
    torch.manual_seed(0)
    model = DepthNestedCNN(channels=(4, 8)).eval()
    for head in model.heads:
        head.load_state_dict(model.heads[0].state_dict())
    with torch.no_grad():
        first, *others = model(torch.randn(2, 3, 16, 16))
    for logits in others:
        torch.testing.assert_close(logits, first)


def test_silent_branches_learn():
    """A scale of 0 has a gradient, so that the first step wakes the branch."""
    model = DepthNestedCNN(channels=(4, 8)).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        sum(logits.logsumexp(1).mean() for logits in model(torch.randn(8, 3, 16, 16))).backward()
        optimizer.step()
    for stage in range(4):
        for parameter in model.parameters_of(stage):
            assert parameter.grad.isfinite().all()
        assert any(parameter.grad.abs().max() > 0 for parameter in model.parameters_of(stage))
    scales = [unit[-1].weight for branch in model.branches for u in branch.sections for unit in u]
    assert all(scale.abs().max() > 0 for scale in scales)


def test_both_nested_in_one_stage_is_depth_nested_in_one_stage():
    torch.manual_seed(0)
    both = awake(NestedBothCNN(widths=(4,), num_sections=2))
    depth = DepthNestedCNN(channels=(4, 8), num_stages=1).eval()
    depth.load_state_dict(dict(zip(depth.state_dict(), both.state_dict().values(), strict=True)))
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(both(x)[0], depth(x)[0])


def test_averaged_ensemble_answers_with_mean_log_probabilities():
    torch.manual_seed(0)
    members = [DepthNestedCNN(channels=(4,), num_stages=1) for _ in range(3)]
    model, x = Ensemble(members, average=True).eval(), torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        singles = torch.stack([member(x)[0].log_softmax(1) for member in members])
        for stage, logits in enumerate(model(x)):
            torch.testing.assert_close(logits, singles[: stage + 1].mean(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_stages": 0}, "num_stages is 0"),
        ({"depth": 0}, "depth 0"),
        ({"stem_stride": 0}, "stem_stride 0"),
        ({"channels": ()}, "at least one section"),
        ({"channels": (4, 0)}, "each positive"),
        ({"aggregate": "summ"}, "did you mean 'sum'"),
    ],
)
def test_bad_shapes_of_depth_nesting(options, message):
    with pytest.raises(ValueError, match=message):
        DepthNestedCNN(**options)


def test_bad_shapes_of_the_others():
    with pytest.raises(ValueError, match="strictly increasing"):
        NestedBothCNN(widths=(8, 8))
    with pytest.raises(ValueError, match="depth 0"):
        NestedBothCNN(depth=0)
    with pytest.raises(ValueError, match="at least one section"):
        NestedBothCNN(num_sections=0)
    with pytest.raises(ValueError, match="4, 4 and 3 entries"):
        CascadeCNN(depths=(1, 1, 1))
    with pytest.raises(ValueError, match="depth 0"):
        CascadeCNN(depths=(1, 0, 1, 1))
    with pytest.raises(ValueError, match="at least one member"):
        Ensemble([])
