"""Timing in pairs: order of the calls, medians, ranges; no clock is asserted."""

from __future__ import annotations

import types

import pytest

from common import bench
from common.errors import ConfigError


class Clock:
    """A clock that only work moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def work(self, calls, name, seconds):
        durations = iter(seconds)

        def call():
            calls.append(name)
            self.now += next(durations)
            return name

        return call


@pytest.fixture
def pair(monkeypatch):
    """Ours takes 9 (warm-up), 1, 2, 6 s; the peer 8 (warm-up), 4, 40, 10 s."""
    clock, calls = Clock(), []
    monkeypatch.setattr(bench, "time", clock)
    ours = clock.work(calls, "ours", [9, 1, 2, 6])
    peer = clock.work(calls, "peer", [8, 4, 40, 10])
    compared = []

    def agreement(a, b):
        compared.append((a, b))
        return {"same": a != b}

    made = bench.Benchmark("path", ours, peer, "lib.f", {"n": 3}, agreement)
    return types.SimpleNamespace(benchmark=made, calls=calls, compared=compared)


def test_medians_ranges_and_ratio_without_the_first_call(pair):
    timing = bench.time_pair(pair.benchmark, repeats=3)
    assert (timing.ours_seconds, timing.ours_range) == (2, (1, 6))
    assert (timing.peer_seconds, timing.peer_range) == (10, (4, 40))
    assert (timing.ratio, timing.repeats, timing.sizes) == (5, 3, {"n": 3})
    assert timing.agreement == {"same": 1.0}
    assert type(timing.agreement["same"]) is float


def test_calls_alternate_and_are_compared_once(pair):
    bench.time_pair(pair.benchmark, repeats=3)
    assert pair.calls == ["ours", "peer"] * 4
    assert pair.compared == [("ours", "peer")]


def test_benchmarks_of_a_paper(shelf, pair, monkeypatch):
    shelf.add()
    asked = []
    monkeypatch.setattr(
        bench, "load_target", lambda t: asked.append(t) or (lambda: [pair.benchmark])
    )
    (timing,) = bench.run_benchmarks("toy", repeats=1)
    assert asked == ["projects.toy.bench:benchmarks"]
    assert (timing["name"], timing["peer_name"], timing["ratio"]) == ("path", "lib.f", 4)
    with pytest.raises(ConfigError, match="unknown paper 'toi'; did you mean 'toy'"):
        bench.run_benchmarks("toi")


def test_threads_are_limited_while_it_runs_and_not_after(shelf, monkeypatch):
    import numpy as np
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))
    shelf.add()
    before = [pool["num_threads"] for pool in threadpool_info()]
    if not before:
        pytest.skip("no thread pool that threadpoolctl knows is loaded")
    seen = []

    def look():
        seen.append({pool["num_threads"] for pool in threadpool_info()})

    made = bench.Benchmark("look", look, lambda: None, "nothing", {})
    monkeypatch.setattr(bench, "load_target", lambda target: lambda: [made])
    bench.run_benchmarks("toy", repeats=1, threads=1)
    assert seen == [{1}, {1}]
    assert [pool["num_threads"] for pool in threadpool_info()] == before
