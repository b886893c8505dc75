"""Counts are laws that sum to one, learn batch by batch, and reach the entropy of simple data."""

import math

import numpy as np
import pytest
from scipy import stats

from common.graphs.events import EventStream
from projects.dggen.counts import (
    CountModel,
    column_log_prob,
    exponential_log_prob,
    fit_counts,
    in_batches,
)

SOURCES, DESTINATIONS = np.arange(4), np.arange(10, 16)


def stream(events=400, seed=0):
    """Source u mostly has destination 10 + u."""
    rng = np.random.default_rng(seed)
    src = rng.choice(4, events, p=[0.4, 0.3, 0.2, 0.1])
    dst = np.where(rng.random(events) < 0.9, 10 + src, rng.choice(DESTINATIONS, events))
    return EventStream.of({"src": src, "dst": dst, "t": np.arange(events)})


def everything():
    u, v = (grid.ravel() for grid in np.meshgrid(SOURCES, DESTINATIONS, indexing="ij"))
    return EventStream.of({"src": u, "dst": v, "t": np.zeros(len(u))})


@pytest.mark.parametrize(("a", "b"), [(1.0, 1.0), (0.1, 5.0), (3.0, 0.01)])
def test_laws_sum_to_one(a, b):
    model = CountModel(SOURCES, DESTINATIONS, a, b)
    model.observe(stream(50))
    pairs = {name: np.exp(values).reshape(4, 6) for name, values in _all(model).items()}
    assert np.allclose(pairs["marginal_src"][:, 0].sum(), 1)
    assert np.allclose(pairs["marginal_dst"][0].sum(), 1)
    assert np.allclose(pairs["backoff_dst"].sum(axis=1), 1)


def _all(model):
    return model.log_prob(everything())


def test_by_hand():
    model = CountModel(SOURCES, DESTINATIONS, a=1.0, b=2.0)
    model.observe(EventStream.of({"src": [0, 0, 1], "dst": [10, 11, 10], "t": [0, 1, 2]}))
    asked = EventStream.of({"src": [0, 3], "dst": [10, 15], "t": [9, 9]})
    found = model.log_prob(asked)
    assert np.exp(found["marginal_src"]) == pytest.approx([3 / 7, 1 / 7])
    assert np.exp(found["marginal_dst"]) == pytest.approx([3 / 9, 1 / 9])
    # A source that was never seen falls back to the marginal.
    assert np.exp(found["backoff_dst"]) == pytest.approx([(1 + 2 * 3 / 9) / 4, 1 / 9])
    scores = model.scores(asked.src, asked.dst, asked.t)
    assert scores == pytest.approx(found["marginal_src"] + found["backoff_dst"])


def test_batches_are_scored_before_they_are_counted():
    events = stream(60)
    model, other = (CountModel(SOURCES, DESTINATIONS) for _ in range(2))
    changed = EventStream.of({"src": events.src, "dst": events.dst, "t": events.t})
    changed.dst[30:] = 15
    first, second = in_batches(model, events, 10), in_batches(other, changed, 10)
    assert np.allclose(first["backoff_dst"][:30], second["backoff_dst"][:30])
    assert not np.allclose(first["marginal_dst"][40:], second["marginal_dst"][40:])


def test_counts_reach_the_entropy():
    data = stream(6000)
    train, val, test = data.split(0.7, 0.15)
    model = fit_counts(train, val, SOURCES, DESTINATIONS, 50)
    nll = {name: -values.mean() for name, values in in_batches(model, test, 50).items()}
    assert nll["marginal_src"] == pytest.approx(stats.entropy([0.4, 0.3, 0.2, 0.1]), abs=0.05)
    own = 0.9 + 0.1 / 6
    given = stats.entropy([own, *[0.1 / 6] * 5])
    assert nll["backoff_dst"] == pytest.approx(given, abs=0.08)
    assert nll["marginal_dst"] > given + 0.5


def test_pseudo_counts_follow_the_validation_part():
    """Pairs that mean nothing give the marginal a large weight, pairs that repeat a small one."""
    rng = np.random.default_rng(1)
    src, dst = rng.integers(0, 4, 300), rng.integers(10, 16, 300)
    noise = EventStream.of({"src": src, "dst": dst, "t": np.arange(300)})
    tied = EventStream.of({"src": src, "dst": 10 + src, "t": np.arange(300)})
    weights = [fit_counts(*s.split(0.5), SOURCES, DESTINATIONS, 10).b for s in (noise, tied)]
    assert weights[0] >= 10.0 and weights[1] <= 0.03


def test_laws_of_columns_are_those_of_scipy():
    train, values = np.array([1.0, 4.0, 4.0, 7.0]), np.array([0.0, 5.0])
    normal = stats.norm(train.mean(), train.std())
    assert column_log_prob(values, train, "gmm") == pytest.approx(normal.logpdf(values))
    assert exponential_log_prob(values, train) == pytest.approx(
        stats.expon(scale=4.0).logpdf(values)
    )
    levels = column_log_prob(np.arange(3.0), np.array([0.0, 0.0, 1.0]), 3)
    assert levels == pytest.approx([math.log(3 / 6), math.log(2 / 6), math.log(1 / 6)])
