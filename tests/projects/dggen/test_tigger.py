"""Walks respect time, the likelihood is that of a law and rises, samples have ids and counts."""

import numpy as np
import pytest
import torch

from common.graphs.events import EventStream
from common.graphs.streams import edit_stream
from projects.dggen.config import NotFittedError
from projects.dggen.tigger import Tigger, WalkModel, Walks, WalkSampler

TRAIN = edit_stream(np.random.default_rng(0), 600, pages=40)
SMALL = {"hidden": 24, "embedding": 12, "components": 4, "epochs": 4}


def messages(events=500, people=15):
    """A stream that is not bipartite, with ids from 100 on and with ties in time."""
    src, dst = np.random.default_rng(1).integers(100, 100 + people, (2, events))
    return EventStream.of({"src": src, "dst": dst, "t": np.arange(events) // 2})


@pytest.mark.parametrize("stream", [TRAIN, messages()], ids=["bipartite", "messages"])
def test_walks_follow_later_and_later_events(stream):
    rng, length = np.random.default_rng(2), 6
    walks = WalkSampler(stream, reach=3).walk(np.arange(len(stream)), length, rng)
    both = list(zip(stream.src.tolist(), stream.dst.tolist(), stream.t.tolist(), strict=True))
    for start, (nodes, times) in enumerate(zip(*walks, strict=True)):
        # Some chain of events, each later in the stream than the one before, has these ends.
        reachable = {start}
        assert (nodes[0], nodes[1], times[0]) == both[start]
        for step in range(1, length):
            if nodes[step + 1] < 0:
                assert (nodes[step + 1 :] < 0).all() and np.isnan(times[step:]).all()
                ends = stream.src[start + 1 :] if not stream.bipartite else None
                if ends is not None and step == 1:
                    assert nodes[1] not in ends
                break
            a, b, t = nodes[step], nodes[step + 1], times[step]
            wanted = {(a, b, t), (b, a, t)} if stream.bipartite else {(a, b, t)}
            begin = np.searchsorted(stream.t, t)
            end = np.searchsorted(stream.t, t, side="right")
            reachable = {e for e in range(begin, end) if both[e] in wanted and e > min(reachable)}
            assert reachable
    assert (walks.nodes[:, 2] >= 0).mean() > 0.9


def test_steps_are_uniform_over_the_next_events_in_reach():
    # Node 1 sends to 2, 3, 4, 5 after the start; the last is out of reach.
    stream = EventStream.of({"src": [0, 1, 1, 1, 1], "dst": [1, 2, 3, 4, 5], "t": range(5)})
    walks = WalkSampler(stream, reach=3).walk(np.zeros(6000, int), 2, np.random.default_rng(0))
    counts = np.bincount(walks.nodes[:, 2], minlength=6)
    assert counts[5] == 0 and counts[2:5] == pytest.approx(2000, abs=150)


def tiny_model(nodes=3, seed=0):
    torch.manual_seed(seed)
    return WalkModel(nodes, 0.0, 10.0, 1.0, hidden=6, embedding=4, components=3)


def test_node_and_wait_laws_sum_to_one():
    model = tiny_model()
    with torch.no_grad():
        total = 0.0
        for following in (-1, 0, 1, 2):
            nodes, t = np.array([[0, 1, following]]), np.array([[2.0, np.nan]])
            if following >= 0:
                t[0, 1] = 3.0
            log_node, log_wait = model.log_prob(Walks(nodes, t))
            assert len(log_node) == 2 and len(log_wait) == (following >= 0)
            total += log_node[1].exp().item()
        assert total == pytest.approx(1, abs=1e-5)
        # Waits by the log of wait + offset, far into the tail.
        y = np.linspace(0, 40, 40_001)
        waits = np.expm1(y)
        nodes = np.tile([0, 1, 2], (len(y), 1))
        t = np.column_stack([np.full(len(y), 2.0), 2.0 + waits])
        density = model.log_prob(Walks(nodes, t))[1].double().exp().numpy()
    assert np.trapezoid(density * np.exp(y), y) == pytest.approx(1, abs=1e-3)


def test_the_likelihood_of_a_step_does_not_see_what_comes_after():
    model = tiny_model()
    nodes, t = np.array([[0, 1, 2, 1]] * 2), np.array([[1.0, 2.0, 4.0]] * 2)
    nodes[1, 3], t[1, 2] = 0, 9.0
    log_node, log_wait = (part.detach().view(2, -1) for part in model.log_prob(Walks(nodes, t)))
    assert (log_node[0, :2] == log_node[1, :2]).all() and log_wait[0, 0] == log_wait[1, 0]
    assert log_node[0, 2] != log_node[1, 2] and log_wait[0, 1] != log_wait[1, 1]


def test_samples_of_the_model_follow_its_likelihood():
    model = tiny_model()
    first, t = np.zeros(20_000, int), np.full(20_000, 2.0)
    walks = model.sample(first, t, 2, torch.Generator().manual_seed(0))
    assert (walks.t[:, 0][walks.nodes[:, 1] >= 0] == 2.0).all()
    with torch.no_grad():
        for a, b in [(0, 1), (2, 2)]:
            log_node, _ = model.log_prob(Walks(np.array([[0, a, b]]), np.array([[2.0, 3.0]])))
            share = ((walks.nodes[:, 1] == a) & (walks.nodes[:, 2] == b)).mean()
            assert share == pytest.approx(log_node.sum().exp().item(), abs=0.01)
    ended = walks.nodes[:, 1] < 0
    assert ended.any() and (walks.nodes[ended][:, 1:] == -1).all()
    assert np.isnan(walks.t[ended]).all()


def test_training_raises_the_likelihood_of_walks_that_it_did_not_see():
    walks = WalkSampler(TRAIN).walk(np.arange(600), 10, np.random.default_rng(99))
    assert (TRAIN.nodes == np.arange(TRAIN.num_nodes)).all()  # ids are the model's own

    def likelihood(model):
        with torch.no_grad():
            return [part.mean().item() for part in model.model.log_prob(walks)]

    before = likelihood(Tigger(**{**SMALL, "epochs": 1, "learning_rate": 1e-12}).fit(TRAIN))
    fitted = Tigger(**SMALL).fit(TRAIN)
    after = likelihood(fitted)
    assert after[0] > before[0] + 0.3 and after[1] > before[1] + 0.3
    assert len(fitted.losses) == 4 and fitted.losses == sorted(fitted.losses, reverse=True)


@pytest.mark.parametrize("train", [TRAIN, messages()], ids=["bipartite", "messages"])
def test_samples(train):
    model = Tigger(**SMALL).fit(train)
    made = model.sample(150, np.random.default_rng(3), start_time=1000.0)
    period = train.t[-1] - train.t[-150]
    assert len(made) == 150 and made.num_features == 0
    assert np.isin(made.src, train.src).all() and np.isin(made.dst, train.dst).all()
    assert (np.diff(made.t) >= 0).all()
    assert made.t[0] >= 1000 and made.t[-1] <= 1000 + period
    again = model.sample(150, np.random.default_rng(3), start_time=1000.0)
    assert (made.src == again.src).all() and (made.t == again.t).all()
    other = model.sample(150, np.random.default_rng(4))
    assert (made.dst != other.dst).any()
    more = model.sample(2 * len(train), np.random.default_rng(3), span=70.0)
    assert len(more) == 2 * len(train) and 35 < more.t[-1] <= 70.0


def test_same_seed_same_model_and_the_global_generator_is_left_alone():
    state = torch.get_rng_state()
    one, two = (Tigger(**{**SMALL, "epochs": 1}, seed=5).fit(TRAIN) for _ in range(2))
    assert one.losses == two.losses and (torch.get_rng_state() == state).all()
    assert one.losses != Tigger(**{**SMALL, "epochs": 1}, seed=6).fit(TRAIN).losses


def test_bad_input():
    with pytest.raises(NotFittedError, match="fit"):
        Tigger().sample(3, np.random.default_rng(0))
    with pytest.raises(ValueError, match="hidden=0"):
        Tigger(hidden=0)
    with pytest.raises(ValueError, match="span"):
        Tigger().fit(TRAIN[:1])
    with pytest.raises(ValueError, match="no events"):
        WalkSampler(TRAIN[:0])
    with pytest.raises(ValueError, match="num_events=0"):
        Tigger(**{**SMALL, "epochs": 1}).fit(TRAIN).sample(0, np.random.default_rng(0))
