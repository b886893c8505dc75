"""Generation: its own density, conditions, times, new nodes, the state that it leaves."""

import numpy as np
import pytest
import torch
from scipy import stats

from common.errors import ConfigError
from common.graphs.events import EventStream
from projects.dggen import DGGen
from projects.dggen.sampling import Clock, draw_rows, generate

SETTINGS = {
    "embedding_dim": 8,
    "memory_dim": 6,
    "time_dim": 4,
    "feats_dim": 8,
    "num_components": 3,
    "num_neighbors": 3,
    "batch_size": 20,
    "epochs": 3,
    "learning_rate": 1e-2,
    "columns": ("gmm", 3),
}


def stream(events=80, seed=0, bipartite=True):
    rng = np.random.default_rng(seed)
    src = rng.integers(0, 6, events)
    return EventStream.of(
        {
            "src": src,
            "dst": (6 if bipartite else 0) + (src + (rng.random(events) < 0.3)) % 4,
            "t": 1000 + np.cumsum(rng.integers(0, 30, events)),
            "msg_size": rng.normal(50, 5, events),
            "msg_kind": rng.integers(0, 3, events),
        }
    )


@pytest.fixture(scope="module")
def model():
    return DGGen(**SETTINGS).fit(stream(), progress=False)


def test_rows_are_drawn_by_their_weights_and_zero_weights_never():
    weights = torch.tensor([[0.0, 3.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    rows = torch.tensor([0, 1, 0, 0] * 2000)
    drawn = draw_rows(weights, rows, torch.Generator().manual_seed(0))
    assert (drawn[rows == 1] == 0).all()
    counts = np.bincount(drawn[rows == 0], minlength=4)
    assert counts[[0, 3]].tolist() == [0, 0]
    assert stats.chisquare(counts[1:3], [4500, 1500]).pvalue > 1e-3


def test_pairs_follow_the_density_of_the_model(model):
    """One batch is drawn from one state: pairs must be p(src) p(dst | src) of that state."""
    drawn = model.sample(6000, batch_size=6000, seed=1)
    pairs = [(u, v) for u in range(6) for v in range(6, 10)]
    expected = np.exp([float(model.predict_link(u, v)[0]) for u, v in pairs])
    assert expected.sum() == pytest.approx(1, abs=1e-4)
    counts = [np.sum((drawn.src == u) & (drawn.dst == v)) for u, v in pairs]
    assert stats.chisquare(counts, 6000 * expected / expected.sum()).pvalue > 1e-3


def test_spans_and_features_follow_the_density_of_the_model(model):
    """E[exp(-log p)] over a box is its volume, with log p from log_prob of the same events."""
    drawn = model.sample(8000, batch_size=8000, seed=2, rounding="none")
    dt = np.diff(drawn.t, prepend=model.history_.past.last)
    low, high = 40.0, 60.0
    inside = (dt < 30) & (drawn.msg[:, 0] > low) & (drawn.msg[:, 0] < high)
    with pytest.warns(UserWarning, match="whole multiples"):
        terms = model.log_prob(drawn, batch_size=8000)
    weight = np.exp(-(terms["time"] + terms["features"])) * inside
    error = weight.std() / np.sqrt(len(weight))
    assert weight.mean() == pytest.approx(30 * 20 * 3, abs=5 * error)
    assert error < 100


def test_rounding_keeps_the_mean_of_spans_and_flooring_does_not():
    rng = np.random.default_rng(0)
    dt = rng.exponential(2.0, 200_000)
    clocks = {name: Clock(0.0, 0.0, 0.5, name) for name in ("stochastic", "floor", "none")}
    spans = {name: clock.spans(dt, rng) for name, clock in clocks.items()}
    assert spans["stochastic"].mean() == pytest.approx(dt.mean(), rel=5e-3)
    assert spans["floor"].mean() == pytest.approx(dt.mean() - 0.25, rel=2e-2)
    assert (spans["none"] == dt).all()
    assert (spans["stochastic"] % 0.5 == 0).all()


@pytest.mark.parametrize("batch_size", [1, 10])
def test_samples_repeat_with_their_seed(model, batch_size):
    one, two = (model.sample(25, seed=4, batch_size=batch_size) for _ in range(2))
    assert all(np.array_equal(getattr(one, a), getattr(two, a)) for a in ("src", "dst", "t", "msg"))
    other = model.sample(25, seed=5, batch_size=batch_size)
    assert not np.array_equal(one.t, other.t)


def test_a_sample_is_a_legal_stream_of_the_same_kind(model):
    drawn = EventStream.of(model.sample(103, batch_size=10), sort=False)
    assert len(drawn) == 103 and drawn.columns == ("msg_size", "msg_kind")
    assert set(drawn.src) <= set(range(6)) and set(drawn.dst) <= set(range(6, 10))
    assert set(drawn.msg[:, 1]) <= {0.0, 1.0, 2.0}
    assert (drawn.t == np.floor(drawn.t)).all()


def test_where_time_starts(model):
    last = stream().t[-1]
    assert model.sample(5).t[0] >= last
    assert model.sample(5, warm_start="empty").t[0] < 500
    assert model.sample(5, warm_start="empty", start_time=7000).t[0] >= 7000
    inside = model.sample(1000, time_range=(last, last + 200), batch_size=5)
    assert 0 < len(inside) < 1000
    assert inside.t.min() >= last and inside.t.max() <= last + 200


@pytest.mark.parametrize("batch_size", [1, 2])
def test_the_state_moves_with_the_sample(model, batch_size):
    """Before the last batch, the scores are those of a model that observed all events before it."""
    table, past = model.history_.leave("history")
    start = table.log_p_sources().clone()
    clock = Clock(past.last, past.origin)
    options = {"clock": clock, "batch_size": batch_size, "seed": 8}
    drawn = EventStream(**generate(table, model.encoding_.scaling, 6, **options))
    again = DGGen(**SETTINGS).fit(stream(), progress=False)
    for begin in range(0, 6 - batch_size, batch_size):
        again.observe(drawn[begin : begin + batch_size])
    observed = again.history_.table()
    assert not torch.allclose(table.log_p_sources(), start, atol=1e-6)
    assert torch.allclose(table.log_p_sources(), observed.log_p_sources(), atol=1e-5)
    assert torch.allclose(table.z, observed.z, atol=1e-5)


def test_conditions_on_ends_renormalise_the_model(model):
    only = model.sample(30, src=2)
    assert set(only.src) == {2}
    assert set(model.sample(30, dst=[7, 8]).dst) <= {7, 8}
    drawn = model.sample(6000, src=[1, 4], dst=[6, 9], batch_size=6000, seed=3)
    pairs = [(u, v) for u in (1, 4) for v in (6, 9)]
    expected = np.exp([float(model.predict_link(u, v)[0]) for u, v in pairs])
    counts = [np.sum((drawn.src == u) & (drawn.dst == v)) for u, v in pairs]
    assert sum(counts) == 6000
    assert stats.chisquare(counts, 6000 * expected / expected.sum()).pvalue > 1e-3


def test_new_nodes_act_and_are_numbered_beyond_the_table(model):
    drawn = model.sample(300, num_new_nodes=20)
    new = set(drawn.src) - set(range(6))
    assert new and new <= set(range(10, 30))
    assert set(drawn.dst) <= set(range(6, 10))  # bipartite: new sources only
    both = model.sample(300, num_new_nodes=(0, 5))
    assert set(both.src) <= set(range(6)) and set(both.dst) - set(range(6, 10)) <= set(
        range(10, 15)
    )
    assert model.num_events_ == 80 and model.network_.num_nodes == 10
    assert len(model.log_prob(EventStream.of({**_one(model), "t": [9999]}))) == 1
    unipartite = DGGen(**SETTINGS).fit(stream(bipartite=False), progress=False)
    drawn = unipartite.sample(300, num_new_nodes=10)
    assert max(drawn.src.max(), drawn.dst.max()) < 16
    assert (drawn.src > 5).any() and (drawn.dst > 5).any()


def _one(model):
    return {"src": [0], "dst": [6], "msg_size": [50.0], "msg_kind": [1]}


def test_refusals(model):
    with pytest.raises(ValueError, match="num_events=0"):
        model.sample(0)
    with pytest.raises(ValueError, match="batch_size=0"):
        model.sample(3, batch_size=0)
    with pytest.raises(ValueError, match=r"src=\[7\] can never be drawn"):
        model.sample(3, src=7)
    with pytest.raises(ValueError, match="can never be drawn"):
        model.sample(3, dst=[])
    with pytest.raises(ValueError, match="ends before it begins"):
        model.sample(3, time_range=(5, 4))
    with pytest.raises(ValueError, match="must not be negative"):
        model.sample(3, num_new_nodes=-1)
    with pytest.raises(ConfigError, match="rounding"):
        model.sample(3, rounding="up")
    with pytest.raises(ConfigError, match="start"):
        model.sample(3, warm_start="cold")
