"""The activity-driven generator has the rates, the repeats and the popularity of training."""

import numpy as np
import pytest
from scipy import stats

from common.graphs.events import EventStream
from common.graphs.streams import edit_stream, with_features
from projects.dggen.activity import ActivityDriven, repeat_share
from projects.dggen.config import NotFittedError


def pages_of_own(events=400):
    """Two users: user 0 is three times as active; each has one page, never the other's."""
    src = np.tile([0, 0, 0, 1], events // 4)
    return EventStream.of({"src": src, "dst": src + 2, "t": np.arange(events)})


def test_repeat_share_counts_events_whose_pair_was_seen():
    stream = edit_stream(np.random.default_rng(0), 700, pages=50)
    seen, repeats = set(), 0
    for pair in zip(stream.src.tolist(), stream.dst.tolist(), strict=True):
        repeats += pair in seen
        seen.add(pair)
    assert repeat_share(stream) == pytest.approx(repeats / 700, abs=1e-12)
    assert ActivityDriven().fit(stream).repeat == repeat_share(stream)
    reversed_pair = EventStream.of({"src": [0, 1], "dst": [1, 0], "t": [0, 1]})
    assert repeat_share(reversed_pair) == 0


def test_sources_fire_as_poisson_processes_of_their_rates():
    train = pages_of_own()
    model = ActivityDriven().fit(train)
    assert model.rates == pytest.approx(np.array([300, 100]) / 399)
    made = model.sample(20_000, np.random.default_rng(1), start_time=50.0)
    assert made.t[0] > 50 and (np.diff(made.t) > 0).all()
    for user, rate in enumerate(model.rates):
        gaps = np.diff(made.t[made.src == user])
        assert stats.kstest(gaps, "expon", args=(0, 1 / rate)).pvalue > 1e-3


def test_without_popularity_only_partners_and_without_repeats_only_popularity():
    train = pages_of_own()
    model = ActivityDriven().fit(train)
    made = model.sample(20_000, np.random.default_rng(2))
    # r = 398/400; the rest goes to a page by popularity and is remembered from then on.
    assert model.repeat == 398 / 400 and (made.dst == made.src + 2).mean() > 0.9
    once = EventStream.of({"src": np.arange(90), "dst": 100 + np.arange(90) // 30, "t": range(90)})
    model = ActivityDriven().fit(once)
    assert model.repeat == 0
    drawn = model.sample(9000, np.random.default_rng(3))
    assert stats.chisquare(np.bincount(drawn.dst - 100)).pvalue > 1e-3


def test_partners_are_drawn_by_contact_count_generated_ones_included():
    # A Polya urn of 3 + 1 contacts: the share of the first page keeps its mean 3/4, and its
    # variance after n draws is that of beta-binomial(n, 3, 1) / n.
    train = EventStream.of({"src": [0] * 4, "dst": [1, 1, 1, 2], "t": range(4)})
    model = ActivityDriven(repeat=1.0).fit(train)
    assert model.repeat == 1.0 and ActivityDriven().fit(train).repeat == 0.5
    shares = [
        (model.sample(200, np.random.default_rng(seed)).dst == 1).mean() for seed in range(600)
    ]
    law = stats.betabinom(200, 3, 1)
    assert np.mean(shares) == pytest.approx(0.75, abs=4 * law.std() / 200 / 600**0.5)
    assert np.std(shares) == pytest.approx(law.std() / 200, rel=0.15)


def test_features_ids_and_repeats_on_the_stand_in():
    base = edit_stream(np.random.default_rng(0), 2000)
    train = with_features(base, np.random.default_rng(1), 2)
    made = ActivityDriven().fit(train).sample(1000, np.random.default_rng(2))
    assert np.isin(made.src, train.src).all() and np.isin(made.dst, train.dst).all()
    assert np.isin(made.msg[:, 1], train.msg[:, 1]).all() and made.columns == train.columns
    again = ActivityDriven().fit(train).sample(1000, np.random.default_rng(2))
    assert (made.dst == again.dst).all() and (made.t == again.t).all()


def test_bad_input():
    with pytest.raises(NotFittedError, match="fit"):
        ActivityDriven().sample(3, np.random.default_rng(0))
    one = EventStream.of({"src": [0], "dst": [1], "t": [5]})
    with pytest.raises(ValueError, match="repeat=1.5"):
        ActivityDriven(repeat=1.5)
    with pytest.raises(ValueError, match="span"):
        ActivityDriven().fit(one)
    with pytest.raises(ValueError, match="num_events=-2"):
        ActivityDriven().fit(pages_of_own()).sample(-2, np.random.default_rng(0))
    with pytest.raises(ValueError, match="empty"):
        repeat_share(one[:0])
