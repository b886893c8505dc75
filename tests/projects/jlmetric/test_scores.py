from dataclasses import replace

import numpy as np
import pytest

from projects.jlmetric import compare, limit_cosine
from projects.jlmetric.scores import SCORES
from tests.projects.jlmetric.dense import (
    dense_cosine,
    dense_fingerprint,
    histories,
    make_stream,
    relabelled,
    rewired,
    scaled_rows,
)


def by_loops(a, b, score):
    if score == "frobenius":
        return np.trace(a.T @ b) / np.sqrt(np.trace(a.T @ a) * np.trace(b.T @ b))
    pairs = zip(a, b, strict=True) if score == "rows" else zip(a.T, b.T, strict=True)
    return np.mean([x @ y / (np.sqrt(x @ x) * np.sqrt(y @ y)) for x, y in pairs])


@pytest.mark.parametrize("score", ["frobenius", "rows", "columns"])
@pytest.mark.parametrize("align", ["id", "first_seen", "activity"])
@pytest.mark.parametrize("normalise", ["own", "reference"])
def test_agree_with_a_direct_dense_computation(score, align, normalise):
    stream = make_stream(events=120, nodes=15)
    other = replace(rewired(stream, 0.4), t=stream.t * 1.5)
    raw = np.column_stack([stream.msg, stream.t])
    limits = {"low": raw.min(axis=0), "high": raw.max(axis=0)} if normalise == "reference" else {}
    sizes = {"node_dim": 20, "graph_dim": 11, "seed": 5}
    a = dense_fingerprint(stream, align=align, **limits, **sizes)
    b = dense_fingerprint(other, align=align, **limits, **sizes)
    ours = compare(stream, other, score=score, align=align, normalise=normalise, **sizes)
    assert abs(ours - by_loops(a, b, score)) < 1e-10


def test_the_three_definitions_by_hand():
    a = np.array([[1.0, 0.0], [0.0, 2.0]])
    b = np.array([[1.0, 1.0], [0.0, 1.0]])
    half = 1 / np.sqrt(2)
    assert SCORES["frobenius"](a, b) == pytest.approx(3 / np.sqrt(5 * 3))
    assert SCORES["rows"](a, b) == pytest.approx((half + 1) / 2)
    assert SCORES["columns"](a, b) == pytest.approx((1 + half) / 2)
    assert SCORES["columns"](a, np.array([[1.0, 1.0], [0.0, 0.0]])) == pytest.approx(0.5)


def test_norms_below_eps_do_not_divide():
    a, zero = np.eye(2), np.zeros((2, 2))
    assert [SCORES[name](a, zero) for name in SCORES] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("score", ["frobenius", "rows", "columns"])
@pytest.mark.parametrize("projection", ["gaussian", "hadamard"])
def test_equal_graphs_score_one_and_worse_ones_less(score, projection):
    stream = make_stream(events=300, nodes=30)
    options = {"score": score, "projection": projection}
    assert compare(stream, stream, **options) == pytest.approx(1.0)
    values = [compare(stream, rewired(stream, share), **options) for share in (0.1, 0.4, 0.9)]
    assert 1 > values[0] > values[1] > values[2]


def test_swapped_graphs_score_the_same():
    stream = make_stream()
    other = rewired(stream, 0.5)
    assert compare(stream, other) == pytest.approx(compare(other, stream), abs=1e-12)


@pytest.mark.parametrize("partner", [False, True])
def test_the_partner_channel_sees_who_talks_to_whom(partner):
    """Two exchanges of equal histories: only the partners differ."""
    a = {"src": [0, 1], "dst": [2, 3], "t": [0, 0]}
    b = {"src": [0, 1], "dst": [3, 2], "t": [0, 0]}
    value = compare(a, b, partner=partner)
    assert value < 0.9 if partner else value == pytest.approx(1.0)


def test_the_limit_equals_the_cosine_of_the_histories_themselves():
    stream = make_stream(events=120, nodes=15)
    other = rewired(stream, 0.4)
    expected = dense_cosine(histories(stream), histories(other))
    assert limit_cosine(stream, other) == pytest.approx(expected, abs=1e-12)
    assert limit_cosine(stream, stream) == pytest.approx(1.0)
    renamed = relabelled(stream)
    assert limit_cosine(stream, renamed, align="activity") == pytest.approx(1.0)
    assert limit_cosine(stream, replace(stream, t=2 * stream.t), normalise="reference") < 0.999
    with pytest.raises(ValueError, match="one of id, first_seen, activity"):
        limit_cosine(stream, stream, align="sinkhorn")


@pytest.mark.parametrize("projection", ["gaussian", "hadamard"])
def test_scores_tend_to_the_limit(projection):
    stream = make_stream(events=200, nodes=20)
    other = rewired(stream, 0.5)
    exact = limit_cosine(stream, other)

    def error(size):
        options = {"node_dim": size, "graph_dim": size, "projection": projection}
        scores = [compare(stream, other, seed=seed, **options) for seed in range(12)]
        return np.sqrt(np.mean((np.array(scores) - exact) ** 2))

    assert error(400) < 0.5 * error(25)
    assert error(400) < 0.03


def test_without_connection_between_the_graphs_the_limit_is_zero():
    a = make_stream()
    b = replace(a, src=a.src + 10_000, dst=a.dst + 10_000)
    with pytest.warns(UserWarning, match="align='activity'"):
        assert limit_cosine(a, b) == 0.0
    assert scaled_rows(a).max() <= 1.0


def test_bad_pairs_are_named():
    stream = make_stream(features=2)
    wider = make_stream(features=3)
    with pytest.raises(ValueError, match=r"reference has 2 feature.* generated graph 3"):
        compare(stream, wider)
    with pytest.raises(ValueError, match="generated graph has no events"):
        compare(stream, stream[:0])
    with pytest.raises(ValueError, match="reference graph has no events"):
        compare({"src": [], "dst": [], "t": []}, stream)
    with pytest.raises(ValueError, match="allowed: columns, frobenius, rows"):
        compare(stream, stream, score="cosine")
    with pytest.raises(ValueError, match="allowed: own, reference"):
        compare(stream, stream, normalise="both")
    with pytest.raises(TypeError, match="list holds no stream of events"):
        compare(stream, [1, 2])
