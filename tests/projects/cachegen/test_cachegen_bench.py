"""Peers do the same work: the same values, and a size set beside ours."""

import numpy as np
import pytest

from projects.cachegen.bench import benchmarks, peers, problem
from projects.cachegen.synthetic import synthetic_kv

SMALL = {"layers": 2, "tokens": 300, "heads": 1, "head_dim": 32}


def test_peers_return_the_same_values():
    pytest.importorskip("zstandard")
    pytest.importorskip("constriction")
    names = []
    for benchmark in benchmarks(**SMALL):
        agreed = benchmark.agreement(benchmark.ours(), benchmark.peer())
        names.append((benchmark.name, benchmark.peer_name))
        assert agreed["bits ours"] > 1
        if benchmark.name == "decode":
            assert agreed["equal values"] == 1
        if "constriction" not in benchmark.peer_name:
            assert agreed["bits ours"] < agreed["bits peer"]
        else:
            assert agreed["bits ours"] == pytest.approx(agreed["bits peer"], rel=0.03)
    assert len(names) == 6


def test_peers_code_what_the_quantiser_gives():
    task = problem(**SMALL)
    for coder in peers(task.tools):
        streams = task.encode_with(coder)
        back = task.decode_with(coder, streams)
        assert (back == task.codec.decode(task.chunk, profile=task.profile)).all()


def test_synthetic_keys_have_the_papers_locality():
    """var / var of consecutive differences is 2.6 for K, 1 / (2 x 0.7) for V."""
    kv = synthetic_kv(2, 4000, 1, 32).astype(np.float64)
    ratio = kv.var(axis=2) / np.diff(kv, axis=2).var(axis=2)
    assert ratio[:, 0].mean() == pytest.approx(2.63, rel=0.05)
    assert ratio[:, 1].mean() == pytest.approx(1 / 1.4, rel=0.05)
    assert kv[:, 0].mean(axis=1).std() > 10 * kv[:, 1].mean(axis=1).std()
