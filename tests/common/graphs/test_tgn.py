"""The temporal graph network: PyG's recipe step by step, strict state, and what it refuses."""

import numpy as np
import pytest
import torch
from torch_geometric.nn import TransformerConv
from torch_geometric.nn.models.tgn import (
    IdentityMessage,
    LastAggregator,
    LastNeighborLoader,
    TGNMemory,
)

from common.graphs.events import EventStream
from common.graphs.links import LinkPredictor, event_tensors, link_logits, train_tgn
from common.graphs.tgn import TGN, LastNeighbors

SIZES = {"memory_dim": 6, "time_dim": 5, "embedding_dim": 8, "num_neighbors": 3}


def stream(events=60, nodes=12, features=2, seed=0):
    rng = np.random.default_rng(seed)
    columns = {f"msg_{i}": rng.normal(size=events) for i in range(features)}
    src, dst = rng.integers(0, nodes // 2, events), rng.integers(nodes // 2, nodes, events)
    return EventStream.of({"src": src, "dst": dst, "t": np.arange(events) * 3, **columns})


def make(features=2, nodes=12, seed=0, **sizes):
    torch.manual_seed(seed)
    return TGN(nodes, features, **{**SIZES, **sizes})


def show(tgn, events, batch=10):
    src, dst, t, msg = event_tensors(events)
    for part in torch.arange(len(src)).split(batch):
        tgn.update(src[part], dst[part], t[part], msg[part])


@pytest.mark.parametrize("batch", [1, 4, 50])
def test_neighbours_are_the_last_ones_whatever_the_batch(batch):
    generator = torch.Generator().manual_seed(0)
    src, dst = (torch.randint(0, 9, (150,), generator=generator) for _ in range(2))
    dst = torch.where(dst == src, 9, dst)
    loader = LastNeighbors(10, 3)
    for part in torch.arange(150).split(batch):
        loader.insert(src[part], dst[part])
        end = int(part[-1]) + 1
        for node in range(10):
            at = ((src[:end] == node) | (dst[:end] == node)).nonzero()[-3:, 0].flip(0)
            partner = src[at] + dst[at] - node
            assert loader.e_id[node, : len(at)].tolist() == at.tolist()
            assert loader.neighbors[node, : len(at)].tolist() == partner.tolist()
            assert (loader.e_id[node, len(at) :] == -1).all()


def test_neighbours_are_those_of_pygs_loader_in_small_batches():
    generator = torch.Generator().manual_seed(0)
    src, dst = (torch.randint(0, 30, (90,), generator=generator) for _ in range(2))
    ours, pygs = LastNeighbors(30, 3), LastNeighborLoader(30, 3)
    for part in torch.arange(90).split(3):
        ours.insert(src[part], dst[part]), pygs.insert(src[part], dst[part])
    valid = pygs.e_id >= 0
    assert torch.equal(ours.e_id, pygs.e_id)
    assert torch.equal(ours.neighbors[valid], pygs.neighbors[valid])


@pytest.mark.parametrize("training", [True, False])
def test_embeddings_are_those_of_pygs_parts_put_together_by_hand(training):
    events = stream()
    tgn = make(dropout=0.0, num_neighbors=10)
    message = IdentityMessage(2, 6, 5)
    memory = TGNMemory(12, 2, 6, 5, message, LastAggregator())
    memory.load_state_dict(tgn.node_memory.state_dict())
    conv = TransformerConv(6, 4, heads=2, edge_dim=7)
    conv.load_state_dict(tgn.conv.state_dict())
    loader = LastNeighborLoader(12, 10)  # as many as a batch: see LastNeighbors
    memory.train(training), tgn.train(training)
    tgn.reset()
    if not training:
        memory.memory.copy_(tgn.unseen_memory().expand(12, 6))
    src, dst, t, msg = event_tensors(events)
    with torch.no_grad():
        for part in torch.arange(len(src)).split(10):
            memory.update_state(src[part], dst[part], t[part].long(), msg[part])
            loader.insert(src[part], dst[part])
        n_id, edge_index, e_id = loader(torch.arange(12))
        z, last = memory(n_id)
        span = (last[edge_index[0]] - t.long()[e_id]).float()
        edge_attr = torch.cat([memory.time_enc(span), msg[e_id]], dim=1)
        expected = conv(z, edge_index, edge_attr)
        show(tgn, events)
        assert torch.allclose(tgn.embed(torch.arange(12)), expected, atol=1e-6)
        assert torch.allclose(tgn.memory, memory(torch.arange(12))[0], atol=1e-6)


def test_attention_without_gradients_is_that_of_the_convolution():
    """Kept keys and values against PyG's path, while events come in, weights and modes change."""
    tgn, events, nodes = make(identity_dim=3).eval(), stream(), torch.arange(12)

    for begin in range(-7, 60, 7):  # first without any event
        show(tgn, events[max(begin, 0) : begin + 7])
        for asked in (torch.tensor([3, 9]), nodes):
            with torch.no_grad():
                kept = tgn.embed(asked)
            assert torch.allclose(kept, tgn.embed(asked).detach(), atol=1e-6)
    optimizer = torch.optim.SGD(tgn.parameters(), lr=1.0)
    tgn.embed(nodes).square().sum().backward()
    before = tgn.embed(nodes).detach()
    optimizer.step()
    with torch.no_grad():
        kept = tgn.embed(nodes)
    assert not torch.allclose(kept, before, atol=1e-3)
    assert torch.allclose(kept, tgn.embed(nodes).detach(), atol=1e-5, rtol=1e-4)
    tgn.load_state_dict(make(seed=5, identity_dim=3).state_dict())
    with torch.no_grad():
        kept = tgn.embed(nodes)
    assert torch.allclose(kept, tgn.embed(nodes).detach(), atol=1e-5)


def test_embeddings_follow_the_order_of_the_asked_nodes():
    tgn = make().eval()
    show(tgn, stream())
    nodes = torch.tensor([7, 2, 11])
    z = tgn.embed(torch.arange(12))
    assert torch.allclose(tgn.embed(nodes), z[nodes], atol=1e-6)


def test_embeddings_do_not_depend_on_events_that_were_not_shown_and_do_on_those_that_were():
    """Teeth: the same change, once shown, changes the embeddings."""
    events, nodes = stream(), torch.arange(12)
    changed = EventStream(events.src, events.dst.copy(), events.t, events.msg.copy())
    changed.dst[40], changed.msg[40] = 6 + (events.dst[40] - 5) % 6, 9.0
    one, two = make().eval(), make().eval()
    show(one, events[:40]), show(two, changed[:40])
    assert torch.equal(one.embed(nodes), two.embed(nodes))
    show(one, events[40:41]), show(two, changed[40:41])
    assert not torch.allclose(one.embed(nodes), two.embed(nodes))


def test_an_unseen_node_looks_the_same_in_training_and_evaluation():
    tgn = make(dropout=0.0)
    tgn.train()
    tgn.reset()
    training = tgn.embed(torch.tensor([3]))
    tgn.eval()
    tgn.reset()
    assert torch.allclose(training, tgn.embed(torch.tensor([3])), atol=1e-6)


def test_a_snapshot_brings_the_state_back_also_into_a_larger_table():
    tgn, events, nodes = make().eval(), stream(), torch.arange(12)
    show(tgn, events[:30])
    state, then = tgn.snapshot(), tgn.embed(nodes)
    show(tgn, events[30:])
    after = tgn.embed(nodes)
    tgn.restore(state)
    assert torch.equal(tgn.embed(nodes), then)
    large = make(nodes=15).eval()
    weights = {name: w for name, w in tgn.named_parameters()}
    large.load_state_dict(weights, strict=False)
    large.restore(state)
    assert torch.allclose(large.embed(nodes), then, atol=1e-6)
    show(large, events[30:])
    assert torch.allclose(large.embed(nodes), after, atol=1e-6)
    large.reset()
    fresh = large.embed(torch.tensor([0]))
    large.restore(state)
    assert torch.allclose(large.embed(torch.tensor([14])), fresh)
    with pytest.raises(RuntimeError, match="call eval"):
        make().snapshot()


def test_reset_forgets_everything():
    tgn = make().eval()
    tgn.reset()
    fresh = tgn.embed(torch.arange(12))
    show(tgn, stream())
    assert tgn.num_events == 60
    assert not torch.allclose(tgn.embed(torch.arange(12)), fresh)
    tgn.reset()
    assert torch.equal(tgn.embed(torch.arange(12)), fresh)
    assert tgn.num_events == 0


def test_the_log_of_events_outgrows_its_first_room():
    events = stream(events=3000)
    tgn = make().eval()
    show(tgn, events, batch=700)
    assert torch.equal(tgn._log_t[:3000], torch.from_numpy(events.t).long())
    assert torch.allclose(tgn._log_msg[:3000], torch.from_numpy(events.msg).float())


def test_gradients_reach_memory_and_attention():
    tgn = make()
    show(tgn, stream()[:10])
    tgn.detach()
    tgn.embed(torch.arange(12)).sum().backward()
    for module in (tgn.node_memory.gru, tgn.conv, tgn.node_memory.time_enc):
        assert all(p.grad is not None for p in module.parameters())
    assert float(tgn.node_memory.gru.weight_ih.grad.abs().sum()) > 0


@pytest.mark.parametrize("training", [True, False])
def test_a_stream_without_features_is_one_with_a_zero_feature(training):
    bare, zeros = stream(features=0), stream(features=0).to_frame().assign(msg_0=0.0)
    one, two = make(features=0, dropout=0.0), make(features=1, dropout=0.0)
    for tgn, events in ((one, bare), (two, EventStream.of(zeros))):
        tgn.train(training)
        show(tgn, events)
    assert torch.equal(one.embed(torch.arange(12)), two.embed(torch.arange(12)))


def test_self_loops_and_fractional_times():
    tgn, one = make(features=0).eval(), torch.tensor([1])
    tgn.update(one, one, torch.tensor([4.6]), torch.empty(1, 0))
    assert torch.isfinite(tgn.embed(torch.arange(12))).all()
    assert int(tgn._log_t[0]) == 5


def test_training_learns_which_pairs_come_back():
    """Source u always meets destination u + 4, and embeddings tell which, on unseen events."""
    rng = np.random.default_rng(0)
    src = rng.integers(0, 4, 600)
    identity = np.eye(4)[src]
    columns = {f"msg_{i}": identity[:, i] for i in range(4)}
    events = EventStream.of({"src": src, "dst": src + 4, "t": np.arange(600), **columns})
    train, test = events.split(0.8)
    sizes = {"memory_dim": 16, "time_dim": 8, "embedding_dim": 16}
    tgn, predictor = train_tgn(train, epochs=8, batch_size=40, lr=1e-2, **sizes)
    assert not tgn.training
    src, dst, _, _ = event_tensors(test)
    with torch.no_grad():
        true, wrong = link_logits(tgn, predictor, src, dst, 4 + (dst - 4 + 1) % 4)
    assert float((true > wrong).float().mean()) > 0.9


def test_training_repeats_with_its_seed_and_leaves_the_global_generator_alone():
    small = {"memory_dim": 4, "time_dim": 4, "embedding_dim": 4}
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, _ = train_tgn(stream(), epochs=1, batch_size=20, seed=3, **small)
    two, _ = train_tgn(stream(), epochs=1, batch_size=20, seed=3, **small)
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_link_logit_is_the_two_layer_formula():
    torch.manual_seed(0)
    predictor, u, v = LinkPredictor(3), torch.randn(5, 3), torch.randn(5, 3)
    first, second, final = predictor.source, predictor.destination, predictor.final
    hidden = u @ first.weight.T + first.bias + v @ second.weight.T + second.bias
    expected = hidden.clamp(min=0) @ final.weight[0] + final.bias
    assert torch.allclose(predictor(u, v), expected, atol=1e-6)


def test_refusals():
    with pytest.raises(ValueError, match="heads=3 does not divide embedding_dim=8"):
        make(heads=3)
    with pytest.raises(ValueError, match="must be positive, got {'num_neighbors': 0}"):
        make(num_neighbors=0)
    with pytest.raises(ValueError, match="the width must be 2"):
        make().update(torch.tensor([0]), torch.tensor([1]), torch.tensor([0]), torch.zeros(1, 3))
    with pytest.raises(ValueError, match="no events"):
        train_tgn(stream()[:0])
