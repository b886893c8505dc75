from functools import partial

import networkx as nx
import numpy as np
import pytest

from common.graphs.events import EventStream
from projects.jlmetric import fingerprint
from projects.jlmetric.bench import benchmarks, history_norm, snapshot_statistics, with_ones
from tests.projects.jlmetric.dense import dense_fingerprint, histories, make_stream


def test_snapshot_statistics_by_hand():
    """A path of three nodes, then a second component, then a repeated edge."""
    events = EventStream.of({"src": [0, 1, 5, 1], "dst": [1, 2, 6, 0], "t": [0, 1, 2, 3]})
    series = snapshot_statistics(events)
    np.testing.assert_allclose(series[:, 0], [1, 4 / 3, 6 / 5, 6 / 5])
    assert series[:, 1].tolist() == [2, 3, 3, 3]
    assert series[:, 2].tolist() == [1, 1, 2, 2]
    np.testing.assert_allclose(series[:, 3], [0, 1 + 3 / np.log(2), *[1 + 5 / np.log(2)] * 2])
    assert nx.number_connected_components(nx.Graph([(0, 1), (1, 2), (5, 6)])) == series[2, 2]


def test_the_norm_is_that_of_the_histories():
    stream = make_stream()
    expected = np.sqrt(sum(h @ h for h in histories(stream).values()))
    assert history_norm(stream) == pytest.approx(expected)


def test_features_of_ones_are_constant_and_cost_nothing():
    stream = make_stream(features=0)
    ones = with_ones(stream)
    assert ones.num_features == 2 and (ones.msg == 1).all()
    sizes = {"node_dim": 5, "graph_dim": 4, "seed": 1}
    np.testing.assert_allclose(
        fingerprint(ones, **sizes), dense_fingerprint(ones, **sizes), atol=1e-12
    )


def test_peers_do_the_same_work(monkeypatch):
    pytest.importorskip("projects.jlmetric.released")
    stream = make_stream(events=400, nodes=40, features=0, loops=False)
    monkeypatch.setattr("projects.jlmetric.bench.wikipedia", partial(_same, stream))
    found = benchmarks()
    assert [benchmark.sizes["events"] for benchmark in found] == [400, 400, 400]
    for benchmark in found[:2]:
        agreed = benchmark.agreement(benchmark.ours(), benchmark.peer())
        for name, value in agreed.items():
            assert value == pytest.approx(1, abs=0.35), name


def _same(stream):
    return stream
