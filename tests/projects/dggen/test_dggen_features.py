"""Distances of histograms against scipy; anomalies; topology's wins."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from common.graphs.events import EventStream
from common.graphs.snapshots import TIGGER_TEN, statistics
from projects.dggen.features import (
    columns,
    feature_distances,
    histograms,
    pair_distance,
    single_distance,
)
from projects.dggen.likelihood import with_anomalies
from projects.dggen.topology import topology_errors, wins

RNG = np.random.default_rng(0)


def stream(events=300, seed=0, width=2):
    rng = np.random.default_rng(seed)
    src, dst = rng.integers(0, 20, (2, events))
    t = 100 + np.cumsum(rng.exponential(5.0, events))
    return EventStream.of({"src": src, "dst": dst, "t": t, "msg": rng.normal(size=(events, width))})


def test_single_distance_is_scipys():
    a, b = RNG.normal(size=500), RNG.normal(1, 2, size=300)
    edges = np.linspace(min(a.min(), b.min()), max(a.max(), b.max()), 40)
    wanted = jensenshannon(np.histogram(a, edges)[0], np.histogram(b, edges)[0])
    assert single_distance(a, b) == pytest.approx(wanted)
    assert single_distance(a, a) == 0.0
    assert single_distance(np.zeros(5), np.ones(5)) == pytest.approx(np.sqrt(np.log(2)))
    assert single_distance(np.ones(5), np.ones(3)) == 0.0


def test_pair_distance_is_scipys_where_all_values_are_in_range():
    a = RNG.uniform(size=(800, 2))
    b = a[:300] * 0.9 + 0.05
    counts, *edges = np.histogram2d(*a.T, bins=40)
    other = np.histogram2d(*b.T, bins=edges)[0]
    assert pair_distance(a, b) == pytest.approx(jensenshannon(counts.ravel(), other.ravel()))
    # Values out of range are not lost: all mass in one corner is no empty histogram.
    assert pair_distance(a, b + 50) == pytest.approx(
        jensenshannon(counts.ravel(), np.eye(1, 1600, 1599)[0])
    )


def test_pairs_see_what_single_columns_do_not():
    x = RNG.normal(size=2000)
    joint = np.column_stack([x, x])
    apart = np.column_stack([x, RNG.permutation(x)])
    assert single_distance(joint[:, 1], apart[:, 1]) == 0.0
    assert pair_distance(joint, apart) > 0.5


def test_feature_distances_cover_spans_and_features():
    real = stream()
    own = feature_distances(real, real, 100.0)
    assert set(own.values()) == {0.0}
    later = feature_distances(real, replace(real, t=100 + (real.t - 100) * 3), 100.0)
    assert later["js_span"] > 0.1 and later["js_feature"] == 0.0
    assert later["js_single"] == pytest.approx(later["js_span"] / 3)
    bare = replace(real, msg=real.msg[:, :0], columns=())
    assert feature_distances(real, bare, 100.0) == {"js_span": 0.0}
    none = feature_distances(bare, bare, 100.0)
    assert np.isnan(none["js_feature"]) and np.isnan(none["js_pair"])
    assert columns(real, 100.0)[0, 0] == real.t[0] - 100


def test_histograms_are_shares():
    found = histograms(stream(), stream(seed=1), 100.0)
    assert len(found) == 3
    for centres, *shares in found:
        assert len(centres) == 39 and all(s.sum() == pytest.approx(1) for s in shares)


def test_anomalies_change_who_meets_whom_and_nothing_else():
    real = stream(1000)
    mixed, strange = with_anomalies(real, 0.1, np.random.default_rng(1))
    assert strange.sum() == 100  # continuous features always differ
    assert (mixed.src == real.src).all() and (mixed.t == real.t).all()
    assert (np.bincount(mixed.dst) == np.bincount(real.dst)).all()
    assert (np.sort(mixed.msg, axis=0) == np.sort(real.msg, axis=0)).all()
    assert (mixed.msg[~strange] == real.msg[~strange]).all()
    assert (mixed.dst[strange] == real.dst[strange]).mean() < 0.15  # by chance, 1 in 20
    bare = replace(real, msg=real.msg[:, :0], columns=())
    mixed, strange = with_anomalies(bare, 0.1, np.random.default_rng(1))
    assert (strange == (mixed.dst != bare.dst)).all() and 80 < strange.sum() <= 100


def test_topology_errors_of_one_window_are_plain_differences():
    real, made = stream(), stream(seed=1)
    ours, theirs = (statistics(s.src, s.dst) for s in (real, made))
    for windows, width in (("count", 300), ("time", 1e9)):
        errors = topology_errors(real, made, windows, width=width, origin=100.0)
        for name in TIGGER_TEN:
            assert errors[name] == pytest.approx(abs(ours[name] - theirs[name]))
        assert 0 < errors["edge_overlap"] < 1


def test_a_generated_stream_that_runs_on_for_ever_costs_no_windows():
    real = stream()
    late = replace(real, t=np.append(real.t[:-1], 1e15))
    errors = topology_errors(real, late, "time", width=50.0, origin=100.0)
    assert errors["mean_degree"] == 0.0


def test_wins_ties_and_missing_values():
    zero = dict.fromkeys(TIGGER_TEN, 0.0)
    nan = float("nan")
    one = {**zero, "mean_degree": 1.0, "wedge_count": nan, "mean_closeness": nan}
    two = {**zero, "mean_degree": 2.0, "wedge_count": 5.0, "mean_closeness": nan}
    assert wins(one, two) == {"wins": 1, "ties": 8, "losses": 1}
    assert wins(two, one) == {"wins": 1, "ties": 8, "losses": 1}
