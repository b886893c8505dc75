"""What each naive generator keeps of training, and what not."""

from collections import Counter

import numpy as np
import pytest

from common.graphs.events import EventStream
from common.graphs.generators import GENERATORS, bootstrap, degree_preserving, replay, uniform
from common.graphs.streams import edit_stream

DRAWS = 20_000


@pytest.fixture(scope="module")
def train():
    """Forty users who each have a page of their own, some far more active than others."""
    rng = np.random.default_rng(1)
    src = (40 * rng.random(2000) ** 3).astype(int)
    t = np.cumsum(rng.geometric(0.1, 2000))
    msg = np.column_stack([src % 3, rng.normal(src, 1.0)])
    return EventStream.of({"src": src, "dst": src + 40, "t": t, "msg": msg})


def tv(a, b):
    """Total variation between two empirical laws."""
    first, second = (Counter(x.tolist()) for x in (a, b))
    gaps = (abs(first[k] / len(a) - second[k] / len(b)) for k in first.keys() | second.keys())
    return sum(gaps) / 2


@pytest.mark.parametrize("name", GENERATORS)
def test_common_shape(name, train):
    made = GENERATORS[name](train, 300, np.random.default_rng(0), 7.0)
    assert len(made) == 300 and made.name == name and made.columns == train.columns
    assert made.t[0] == 7.0 and (np.diff(made.t) >= 0).all()
    assert np.isin(made.src, train.src).all() and np.isin(made.dst, train.dst).all()
    rows = {tuple(row) for row in train.msg.tolist()}
    assert {tuple(row) for row in made.msg.tolist()} <= rows
    again = GENERATORS[name](train, 300, np.random.default_rng(0), 7.0)
    assert (again.src == made.src).all() and (again.msg == made.msg).all()
    with pytest.raises(ValueError, match="num_events=-1"):
        GENERATORS[name](train, -1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="no events"):
        GENERATORS[name](train[:0], 3, np.random.default_rng(0))


@pytest.mark.parametrize("name", ["uniform", "degree_preserving", "bootstrap"])
def test_mean_span_is_that_of_training(name, train):
    made = GENERATORS[name](train, DRAWS, np.random.default_rng(0))
    assert np.diff(made.t).mean() == pytest.approx(np.diff(train.t).mean(), rel=0.04)


def test_uniform_forgets_who_is_active(train):
    made = uniform(train, DRAWS, np.random.default_rng(0))
    counts = np.bincount(made.src, minlength=40)[np.unique(train.src)]
    assert counts.max() < 1.3 * counts.min()
    assert abs(np.corrcoef(made.src, made.msg[:, 1])[0, 1]) < 0.03


def test_degree_preserving_keeps_marginals_and_no_pairs(train):
    made = degree_preserving(train, DRAWS, np.random.default_rng(0))
    assert tv(made.src, train.src) < 0.03 and tv(made.dst, train.dst) < 0.03
    together = (made.dst == made.src + 40).mean()
    expected = np.sum((np.bincount(train.src) / len(train)) ** 2)
    assert together == pytest.approx(expected, abs=0.01)
    # Features are drawn apart from the pair they belong to.
    assert abs(np.corrcoef(made.src, made.msg[:, 1])[0, 1]) < 0.03


def test_bootstrap_keeps_pairs_with_their_features(train):
    made = bootstrap(train, DRAWS, np.random.default_rng(0))
    assert (made.dst == made.src + 40).all() and tv(made.src, train.src) < 0.03
    rows = {tuple(row) for row in np.column_stack([train.src, train.msg]).tolist()}
    assert {tuple(row) for row in np.column_stack([made.src, made.msg]).tolist()} <= rows


def test_replay_is_the_end_of_training_later(train):
    made = replay(train, 500, np.random.default_rng(0), 10.0)
    assert (made.src == train.src[-500:]).all() and (made.msg == train.msg[-500:]).all()
    assert np.allclose(made.t - 10.0, train.t[-500:] - train.t[-500])
    with pytest.raises(ValueError, match="2000 training events"):
        replay(train, 2001, np.random.default_rng(0))


def test_one_event_is_enough():
    one = EventStream.of({"src": [3], "dst": [4], "t": [5]})
    for generate in GENERATORS.values():
        made = generate(one, 1, np.random.default_rng(0), 5.0)
        assert made.src.tolist() == [3] and made.t.tolist() == [5]


def test_streams_without_features():
    plain = edit_stream(np.random.default_rng(0), 200)
    for generate in GENERATORS.values():
        assert generate(plain, 9, np.random.default_rng(0)).num_features == 0
