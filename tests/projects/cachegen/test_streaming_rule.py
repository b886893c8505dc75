"""Link, policies and simulation against numbers worked out by hand, and invariants."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ConfigError
from projects.cachegen.link import Link, RatePerChunk
from projects.cachegen.policy import (
    TEXT,
    Adaptive,
    Artefact,
    Fixed,
    Oracle,
    Request,
    Situation,
    policy,
)
from projects.cachegen.simulation import simulate


def request(slo=1.0, chunks=3, sizes=(300, 200, 100), prefill=10.0, decode=0.0, suffix=0.0):
    shape = (chunks, len(sizes))
    return Request(
        level_bytes=np.tile(np.array(sizes, float), (chunks, 1)),
        text_bytes=np.full(chunks, 1.0),
        prefill_seconds=np.full(chunks, prefill),
        decode_seconds=np.full(shape, decode),
        slo=slo,
        suffix_seconds=suffix,
    )


# -- the link ------------------------------------------------------------------------------

PIECES = Link(np.array([1.0, 2.0, 1.0]), np.array([10.0, 0.0, 5.0]))


@pytest.mark.parametrize(
    ("start", "size", "end"),
    [(0, 5, 0.5), (0, 10, 1.0), (0, 11, 3.2), (0.5, 5, 1.0), (3.5, 5, 4.25), (0, 45, 12.0)],
)
def test_arrival_by_hand(start, size, end):
    assert PIECES.finish(start, size) == pytest.approx(end)


@given(
    pieces=st.lists(
        st.tuples(st.floats(0.1, 10), st.floats(0, 100)), min_size=1, max_size=6
    ).filter(lambda pieces: any(rate > 0.1 for _, rate in pieces)),
    start=st.floats(0, 50),
    size=st.floats(0.01, 1e4),
)
def test_what_has_arrived_was_sent(pieces, start, size):
    link = Link(*map(np.array, zip(*pieces, strict=True)))
    end = link.finish(start, size)
    assert end >= start
    assert link.sent_by(end) - link.sent_by(start) == pytest.approx(size, rel=1e-6, abs=1e-6)
    later = link.starting_at(start)
    assert later.mean_rate == pytest.approx(link.mean_rate)
    assert later.finish(0, size) == pytest.approx(end - start, rel=1e-6, abs=1e-6)


def test_trace_in_megabits():
    link = Link.from_trace([0, 1, 3], [8, 16, 24])
    assert link.seconds.tolist() == [1, 2, 1.5] and link.rates.tolist() == [1e6, 2e6, 3e6]
    assert link.scaled(0.5).mean_rate == pytest.approx(link.mean_rate / 2)


@pytest.mark.parametrize(
    ("times", "rates", "message"),
    [
        ([0, 1], [1, -1], "piece 1 .* rates not negative"),
        ([0, 1], [1, float("nan")], "piece 1"),
        ([0, 1], [0, 0], "rate 0"),
        ([0, 2, 2], [1, 1, 1], "row 2"),
        ([0, float("nan")], [1, 1], "row 1"),
        ([0], [1], "two readings"),
    ],
)
def test_bad_traces_name_the_row(times, rates, message):
    with pytest.raises(ValueError, match=message):
        Link.from_trace(times, rates)


# -- the rules -----------------------------------------------------------------------------


def test_without_a_measurement_the_medium_level_comes_first():
    outcome = simulate(request(), Link.constant(1e9), Adaptive())
    assert outcome.choices[0] == 1


def test_adaptive_by_hand():
    """At 400 bytes/s 600 bytes need 1.5 s, 300 need 0.75 s; what is saved goes to the last."""
    outcome = simulate(request(), Link.constant(400.0), Adaptive(), prior_throughput=400.0)
    assert outcome.choices.tolist() == [2, 2, 1]
    assert outcome.ttft == pytest.approx(1.0) and outcome.sent == 400
    assert not outcome.violated and not outcome.slo_infeasible


def test_adaptive_uses_the_chunk_before_and_never_the_future():
    """The rate falls after the first chunk; the second is still chosen by the old rate."""
    link = Link(np.array([0.3, 100.0]), np.array([1000.0, 100.0]))
    outcome = simulate(request(slo=1.0), link, Adaptive(), prior_throughput=1000.0)
    # 900 bytes at 1000/s fit into 1 s; then 600 bytes into 0.7 s; then the rate is known as 100.
    assert outcome.choices.tolist() == [0, 0, 2]
    assert outcome.violated


def test_text_is_taken_when_computing_is_fast_enough():
    outcome = simulate(request(prefill=0.3), Link.constant(400.0), Adaptive(), prior_throughput=400)
    assert (outcome.choices == TEXT).all()
    assert outcome.ttft == pytest.approx(1 / 400 + 0.9)


def test_processor_waits_for_data_and_data_for_nobody():
    """Max-plus recursion by hand: arrivals at 1, 2, 3 s, 1.5 s of decoding each."""
    outcome = simulate(request(slo=9, sizes=(100,), decode=1.5), Link.constant(100.0), Fixed(0))
    assert outcome.ttft == pytest.approx(1 + 3 * 1.5)
    fast = simulate(request(slo=9, sizes=(100,), decode=0.5), Link.constant(100.0), Fixed(0))
    assert fast.ttft == pytest.approx(3 + 0.5)


def test_concurrent_requests_share_evenly():
    one = simulate(request(slo=9, decode=0.5, suffix=0.1), Link.constant(300.0), Fixed(0))
    two = simulate(
        request(slo=9, decode=0.5, suffix=0.1), Link.constant(300.0), Fixed(0), concurrency=2
    )
    assert two.ttft == pytest.approx(2 * one.ttft) and two.sent == one.sent


def test_artefact_rule_has_a_share_per_chunk_and_tries_text_last():
    """1 s for 3 chunks is 0.33 s each: at 400 bytes/s only 100 bytes arrive in time."""
    assert simulate(request(), Link.constant(400.0), Artefact(Link.constant(400.0))).choices[0] == 2
    slow = Link.constant(100.0)
    assert (simulate(request(), slow, Artefact(slow)).choices == TEXT).all()
    impatient = simulate(request(slo=0.3), slow, Artefact(slow))
    assert (impatient.choices == 2).all() and impatient.slo_infeasible


@given(
    rates=st.lists(st.floats(50, 5000), min_size=1, max_size=8),
    slo=st.floats(0.2, 5),
    prefill=st.floats(0.01, 3),
)
def test_oracle_meets_whatever_some_fixed_choice_meets(rates, slo, prefill):
    """At its first chunk the oracle finds every plan of one choice, and then keeps to it."""
    link = Link(np.full(len(rates), 0.37), np.array(rates))
    wanted = request(slo=slo, prefill=prefill)
    fixed = [simulate(wanted, link, Fixed(choice)) for choice in (TEXT, 0, 1, 2)]
    oracle = simulate(wanted, link, Oracle(link))
    if not all(outcome.violated for outcome in fixed[1:]):
        assert not oracle.violated
    assert oracle.slo_infeasible == (fixed[0].violated and fixed[3].violated)


def test_policies_by_name():
    link = Link.constant(1.0)
    assert policy("adaptive", link) == Adaptive() and policy("text", link) == Fixed(TEXT)
    assert policy("level-7", link)(request(), None) == 2
    with pytest.raises(ConfigError, match="adaptive"):
        policy("adaptve", link)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slo": 0.0}, "positive"),
        ({"slo": float("nan")}, "positive"),
        ({"text_bytes": np.ones(2)}, "text_bytes has shape"),
        ({"prefill_seconds": np.full(3, -1.0)}, "negative"),
        ({"level_bytes": np.ones(3)}, "chunks, levels"),
    ],
)
def test_bad_requests(change, message):
    good = request()
    fields = {name: getattr(good, name) for name in good.__dataclass_fields__}
    with pytest.raises(ValueError, match=message):
        Request(**{**fields, **change})
    with pytest.raises(ValueError, match="at least one request"):
        simulate(good, Link.constant(1.0), Fixed(0), concurrency=0)


def test_work_that_piles_up_behind_the_link_is_counted():
    """Decoding slower than the link: the last chunk is done long after it has arrived."""
    request = Request(
        level_bytes=np.full((4, 2), 10.0),
        text_bytes=np.zeros(4),
        prefill_seconds=np.full(4, 9.0),
        decode_seconds=np.array([[1.0, 0.1]] * 4),
        slo=3.0,
    )
    # Level 0 arrives within 0.4 s but takes 0.1 + 4 x 1.0 s; level 1 takes 0.4 + 0.1 s.
    assert Adaptive()(request, Situation(0, 0.0, 100.0)) == 1
    assert Oracle(Link.constant(100.0))(request, Situation(0, 0.0)) == 1
    # A processor that is busy until 2.8 s cannot do four more in time.
    assert Adaptive()(request, Situation(0, 0.0, 100.0, busy_until=2.8)) == 1
    relaxed = replace(request, slo=4.2)
    assert Adaptive()(relaxed, Situation(0, 0.0, 100.0)) == 0


@given(st.integers(0, 10_000))
def test_what_the_oracle_promises_comes_true(seed):
    """If the rule with foresight finds something in time at the start, it is in time."""
    rng = np.random.default_rng(seed)
    chunks = int(rng.integers(1, 6))
    request = Request(
        level_bytes=np.sort(rng.uniform(1, 50, (chunks, 3)), axis=1)[:, ::-1],
        text_bytes=rng.uniform(0, 1, chunks),
        prefill_seconds=rng.uniform(0, 2, chunks),
        decode_seconds=rng.uniform(0, 1, (chunks, 3)),
        slo=float(rng.uniform(0.5, 6)),
    )
    if rng.random() < 0.5:
        link = RatePerChunk(rng.uniform(5, 100, chunks))
    else:
        link = Link(rng.uniform(0.1, 1, 5), rng.uniform(5, 100, 5))
    outcome = simulate(request, link, Oracle(link))
    first = outcome.choices[0]
    whole = simulate(request, link, Fixed(int(first)))
    if not whole.violated:
        assert not outcome.violated
    if not outcome.slo_infeasible:
        assert not outcome.violated


def test_rates_per_chunk_are_those_of_the_chunk():
    rates = RatePerChunk(np.array([10.0, 5.0, 1.0]))
    assert rates.arrivals(2.0, np.array([10.0, 10.0, 10.0])).tolist() == [3.0, 5.0, 15.0]
    assert rates.arrivals(0.0, np.array([10.0]), first=4).tolist() == [2.0]
    alternatives = rates.arrivals(0.0, np.array([[10.0, 20.0], [5.0, 0.0]]))
    assert alternatives.tolist() == [[1.0, 2.0], [2.0, 2.0]]
    with pytest.raises(ValueError, match="positive"):
        RatePerChunk(np.array([1.0, 0.0]))


@given(st.integers(0, 10_000))
def test_arrivals_are_transfers_one_by_one(seed):
    rng = np.random.default_rng(seed)
    rates = rng.uniform(0, 10, 6) * (rng.random(6) < 0.8)
    link = Link(rng.uniform(0.1, 2, 6), rates + (rates.sum() == 0))
    sizes, now = rng.uniform(0, 30, 5), float(rng.uniform(0, 20))
    found = link.arrivals(now, sizes)
    for size, arrival in zip(sizes, found, strict=True):
        now = link.finish(now, size)
        assert arrival == pytest.approx(now, abs=1e-6)
