import numpy as np
import pytest

from common.graphs.events import EventStream
from projects.jlmetric import calibrate, compare, limit_cosine
from projects.jlmetric.calibration import pooled, split_half_test
from projects.jlmetric.fingerprint import Settings
from tests.projects.jlmetric.dense import make_stream, rewired


def drawn(rng, events=80, nodes=12):
    """Independent events of one law: the null hypothesis holds exactly."""
    weights = np.exp(-0.3 * np.arange(nodes))
    src, dst = rng.choice(nodes, (2, events), p=weights / weights.sum())
    t = np.sort(rng.random(events))
    return EventStream(src, dst, t, rng.normal(size=(events, 1)))


def test_mean_and_standard_error_over_seeds():
    stream = make_stream()
    other = rewired(stream, 0.5)
    found = calibrate(stream, other, seeds=4, seed=10, score="rows", node_dim=30)
    expected = [
        compare(stream, other, seed=seed, score="rows", node_dim=30) for seed in range(10, 14)
    ]
    assert found.scores == pytest.approx(expected, abs=1e-12)
    assert found.mean == pytest.approx(np.mean(expected))
    assert found.standard_error == pytest.approx(np.std(expected, ddof=1) / 2)
    assert found.p_value is None
    assert np.isnan(calibrate(stream, other, seeds=1).standard_error)


def test_the_interval_covers_the_limit():
    stream = make_stream(events=200, nodes=20)
    other = rewired(stream, 0.5)
    found = calibrate(stream, other, seeds=30)
    assert abs(found.mean - limit_cosine(stream, other)) < 4 * found.standard_error + 0.005


def test_the_pool_keeps_every_event_and_its_origin():
    a, b = make_stream(events=20, seed=1), make_stream(events=30, seed=2)
    pool = pooled(a, b)
    assert (np.diff(pool.events.t) >= 0).all()
    for mask, stream in ((pool.in_first, a), (~pool.in_first, b)):
        np.testing.assert_array_equal(pool.events[mask].msg, stream.msg)
        np.testing.assert_array_equal(pool.events[mask].src, stream.src)


def test_p_values_are_uniform_when_both_graphs_have_one_law():
    """60 pairs: mean 1/2 within 4 standard errors, not too many small ones."""
    settings = Settings(node_dim=20, graph_dim=20)
    rng = np.random.default_rng(0)
    p = [split_half_test(drawn(rng), drawn(rng), settings, permutations=19) for _ in range(60)]
    assert abs(np.mean(p) - 0.525) < 4 * np.sqrt(1 / 12 / 60)
    assert np.mean(np.array(p) <= 0.1) < 0.25


def test_a_graph_of_another_law_is_found_far_and_a_copy_is_not():
    rng = np.random.default_rng(1)
    reference = drawn(rng, events=200)
    same = drawn(rng, events=200)
    uniform = EventStream(*rng.integers(0, 12, (2, 200)), same.t, same.msg)
    far = calibrate(reference, uniform, seeds=1, permutations=39)
    copy = calibrate(reference, reference, seeds=1, permutations=39)
    assert far.p_value == 1 / 40
    assert copy.p_value > 0.3
    moved = EventStream(11 - reference.src, 11 - reference.dst, reference.t, reference.msg)
    found = calibrate(reference, moved, seeds=1, permutations=19, align="sinkhorn", node_dim=20)
    assert 0 < found.p_value <= 1
    assert calibrate(reference, moved, seeds=1, permutations=39).p_value == 1 / 40


def test_bad_counts_are_named():
    stream = make_stream()
    with pytest.raises(ValueError, match="got 0 and 0"):
        calibrate(stream, stream, seeds=0)
    with pytest.raises(ValueError, match="got 1 and -1"):
        calibrate(stream, stream, seeds=1, permutations=-1)
    with pytest.raises(ValueError, match="needs 4 events"):
        calibrate(stream[:3], stream, seeds=1, permutations=9)
    with pytest.raises(ValueError, match="unknown score"):
        calibrate(stream, stream, score="x")
