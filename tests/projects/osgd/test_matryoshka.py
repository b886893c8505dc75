"""Nested embeddings and feed-forward layers against dense ones cut to size."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from projects.osgd.matryoshka import MatFormer, MatryoshkaHeads, NestedFFN
from projects.osgd.optimizer import OSGD


def test_heads_read_prefixes_of_one_embedding():
    torch.manual_seed(0)
    backbone = nn.Linear(6, 8)
    model, x = MatryoshkaHeads(backbone, (2, 4, 8), 3), torch.randn(5, 6)
    embedding = backbone(x)
    for size, head, logits in zip((2, 4, 8), model.heads, model(x), strict=True):
        torch.testing.assert_close(logits, head(embedding[:, :size]))


def test_backbone_runs_once():
    calls = []
    backbone = nn.Linear(6, 8)
    backbone.register_forward_hook(lambda *_: calls.append(1))
    list(MatryoshkaHeads(backbone, (2, 8)).stages(torch.zeros(1, 6)))
    assert len(calls) == 1


def test_feed_forward_layer_is_the_dense_one_cut_to_its_first_units():
    torch.manual_seed(0)
    layer, x = NestedFFN(6, (3, 5, 9)), torch.randn(2, 4, 6)
    into = torch.cat([part.weight for part in layer.into])
    shift = torch.cat([part.bias for part in layer.into])
    out = torch.cat([part.weight for part in layer.out], 1)
    for stage, size in enumerate((3, 5, 9)):
        dense = F.gelu(x @ into[:size].T + shift[:size]) @ out[:, :size].T + layer.bias
        torch.testing.assert_close(layer(x, stage), dense)


def test_matformer_stage_depends_on_its_own_units_and_smaller_ones():
    torch.manual_seed(0)
    model = MatFormer(8, (4, 8, 16), dim=8)
    owned = [id(p) for stage in range(3) for p in model.parameters_of(stage)]
    assert sorted(owned) == sorted(id(p) for p in model.parameters())
    logits = model(torch.randn(2, 8, 8))
    for stage in range(3):
        model.zero_grad()
        logits[stage].square().sum().backward(retain_graph=True)
        for other in range(3):
            used = [p.grad is not None for p in model.ffns[0].into[other].parameters()]
            assert all(used) == any(used) == (other <= stage)


def test_matformer_reuses_the_first_attention_alone():
    model, calls = MatFormer(8, (4, 8), dim=8, depth=2).eval(), []
    for attention in model.attentions:
        attention.register_forward_hook(lambda module, *_: calls.append(module))
    with torch.no_grad():
        model(torch.randn(1, 8, 8))
    assert [model.attentions[0], model.attentions[1], model.attentions[1]] == calls


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: MatryoshkaHeads(nn.Linear(8, 8), (2, 4, 8)), (8,)),
        (lambda: MatFormer(8, (4, 8, 16), dim=8), (8, 8)),
    ],
)
def test_osgd_leaves_the_first_task_its_own_descent(make, shape):
    """<d, g_1> = ||g_1||^2 over the shared weights: section 2.1, property (c)."""
    torch.manual_seed(0)
    model, x = make(), torch.randn(32, *shape)
    y = torch.arange(32) % 10
    losses = [F.cross_entropy(logits, y) for logits in model(x)]
    shared = model.parameters_of(0)
    first = torch.autograd.grad(losses[0], shared, retain_graph=True)
    descent = OSGD(torch.optim.SGD(model.parameters(), lr=0.1), tasks=3)
    before = [p.detach().clone() for p in shared]
    descent.step(losses)
    for g, old, new in zip(first, before, shared, strict=True):
        step = (old - new.detach()) / 0.1
        torch.testing.assert_close((step * g).sum(), g.square().sum(), rtol=1e-2, atol=1e-6)


def test_bad_sizes():
    with pytest.raises(ValueError, match="strictly increasing"):
        MatryoshkaHeads(nn.Linear(4, 4), (4, 4))
    with pytest.raises(ValueError, match="strictly increasing"):
        NestedFFN(4, ())
    with pytest.raises(ValueError, match="embedding has 4 entries, the last size is 8"):
        MatryoshkaHeads(nn.Linear(4, 4), (2, 8))(torch.zeros(1, 4))
