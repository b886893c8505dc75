"""Ten statistics against networkx and graphs worked out by hand; windows and their pairing."""

import math

import networkx as nx
import numpy as np
import pytest

from common.graphs.events import EventStream
from common.graphs.snapshots import (
    TIGGER_TEN,
    edge_overlap,
    median_errors,
    statistics,
    windows_by_count,
    windows_by_time,
)


def ends(graph):
    return np.array(graph.edges, dtype=np.int64).reshape(-1, 2).T


def by_networkx(graph):
    degrees = np.array([d for _, d in graph.degree])
    n, triangles = len(degrees), sum(nx.triangles(graph).values()) / 3
    claws = sum(math.comb(int(d), 3) for d in degrees)
    share = degrees / (2 * graph.number_of_edges())
    return {
        "mean_degree": 2 * graph.number_of_edges() / n,
        "wedge_count": sum(math.comb(int(d), 2) for d in degrees),
        "triangle_count": triangles,
        "power_law_exponent": 1 + n / np.log(degrees / degrees.min()).sum(),
        "edge_entropy": -(share * np.log(share + 1e-4 / degrees.sum())).sum() / math.log(n),
        "largest_component": max(map(len, nx.connected_components(graph))),
        "num_components": nx.number_connected_components(graph),
        "tigger_clustering": 3 * triangles / claws,
        "mean_closeness": np.mean(list(nx.closeness_centrality(graph).values())),
        "mean_betweenness": np.mean(list(nx.betweenness_centrality(graph).values())),
        "transitivity": nx.transitivity(graph),
    }


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("p", [0.02, 0.15])
def test_statistics_are_those_of_networkx(seed, p):
    graph = nx.gnp_random_graph(50, p, seed=seed)
    graph.remove_nodes_from(list(nx.isolates(graph)))
    src, dst = ends(graph)
    found = statistics(src, dst)
    for name, value in by_networkx(graph).items():
        assert found[name] == pytest.approx(value, rel=1e-12, abs=1e-15), name
    assert tuple(found) == (*TIGGER_TEN, "transitivity")


def test_star_by_hand():
    found = statistics(np.zeros(4, int), np.arange(1, 5))
    assert found["mean_degree"] == 8 / 5 and found["wedge_count"] == 6
    assert found["triangle_count"] == 0 and found["tigger_clustering"] == 0
    assert found["power_law_exponent"] == pytest.approx(1 + 5 / math.log(4))
    # The centre is at distance 1 of all, a leaf at distances 1, 2, 2, 2.
    assert found["mean_closeness"] == pytest.approx((1 + 4 * 4 / 7) / 5)
    # The centre lies between all pairs of leaves.
    assert found["mean_betweenness"] == pytest.approx(1 / 5)
    share = np.array([4, 1, 1, 1, 1]) / 8
    entropy = -(share * np.log((share * 8 + 1e-4) / 8)).sum() / math.log(5)
    assert found["edge_entropy"] == pytest.approx(entropy)


def test_triangle_with_a_tail_by_hand():
    """Claws, not wedges: the clustering of the protocol is above one here."""
    found = statistics(np.array([0, 1, 2, 2]), np.array([1, 2, 0, 3]))
    assert found["triangle_count"] == 1 and found["wedge_count"] == 5
    assert found["tigger_clustering"] == 3.0 and found["transitivity"] == pytest.approx(3 / 5)
    assert found["num_components"] == 1 and found["largest_component"] == 4


def test_repeats_directions_and_loops_change_nothing():
    src, dst = np.array([9, 4, 4, 7]), np.array([4, 5, 7, 9])
    more = np.array([4, 5, 4, 3, 4]), np.array([9, 4, 4, 3, 5])
    plain = statistics(src, dst)
    repeated = statistics(np.append(src, more[0]), np.append(dst, more[1]))
    assert plain == repeated
    assert plain == statistics(src + 100, dst + 100)


def test_what_has_no_value_is_not_finite():
    pair = statistics(np.array([0]), np.array([1]))
    assert math.isnan(pair["power_law_exponent"]) and math.isnan(pair["tigger_clustering"])
    assert pair["mean_closeness"] == 1 and pair["mean_betweenness"] == 0
    triangle = statistics(np.array([0, 1, 2]), np.array([1, 2, 0]))
    assert math.isinf(triangle["tigger_clustering"]) and triangle["transitivity"] == 1
    nothing = statistics(np.array([3]), np.array([3]))
    assert nothing["num_components"] == 0 and math.isnan(nothing["mean_degree"])


def stream(t, src=None, dst=None):
    count = len(t)
    src = np.arange(count) if src is None else src
    dst = np.arange(count) + 100 if dst is None else dst
    return EventStream.of({"src": src, "dst": dst, "t": t})


def test_time_windows_count_from_the_origin():
    windows = windows_by_time(stream([1000, 1499.9, 1500, 3000]), 500, 1000)
    assert [part.t.tolist() for part in windows] == [[1000, 1499.9], [1500], [], [], [3000]]
    assert len(windows_by_time(stream([1000]), 500, 0)) == 3
    assert windows_by_time(stream([0])[:0]) == []


def test_count_windows_keep_the_rest():
    assert [len(part) for part in windows_by_count(stream(range(7)), 3)] == [3, 3, 1]


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (lambda s: windows_by_time(s, 500, 1), "precedes origin"),
        (lambda s: windows_by_time(s, 0), "positive"),
        (lambda s: windows_by_time(s, 1e-6), "wrong unit|into 9000001 windows"),
        (lambda s: windows_by_count(s, 0), "at least 1"),
    ],
)
def test_windows_that_make_no_sense(cut, message):
    with pytest.raises(ValueError, match=message):
        cut(stream([0, 9]))


def test_errors_are_medians_over_windows_with_real_events():
    """Stars of 1 + window edges against single edges: mean degrees 2 k / (k + 1) against 1."""
    real = [stream(range(k), np.zeros(k, int), np.arange(1, k + 1)) for k in (1, 2, 3)]
    single = stream([0])
    nothing = single[:0]
    errors = median_errors([*real, nothing, single], [single, single, single, single])
    assert errors["mean_degree"] == pytest.approx(4 / 3 - 1)
    assert errors["wedge_count"] == 1  # of 0, 1 and 3
    # Its denominator is 0 in all generated windows.
    assert math.isnan(errors["tigger_clustering"]) and math.isnan(errors["transitivity"])


def test_a_stream_has_no_error_against_itself():
    rng = np.random.default_rng(0)
    own = stream(np.arange(300), rng.integers(0, 20, 300), rng.integers(0, 20, 300))
    windows = windows_by_count(own, 100)
    assert set(median_errors(windows, windows).values()) == {0.0}
    assert edge_overlap(own, own) == 1.0


def test_overlap_counts_edges_not_events():
    real = stream(range(3), [0, 0, 1], [1, 2, 2])
    made = stream(range(4), [1, 1, 1, 8], [0, 0, 0, 9])
    assert edge_overlap(real, made) == 0.5
    assert math.isnan(edge_overlap(real, stream([0], [3], [3])))
