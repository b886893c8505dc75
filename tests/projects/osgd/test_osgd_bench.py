"""What `reprise bench osgd` times does what it says."""

import numpy as np
import pytest

pytest.importorskip("torchjd")
from projects.osgd.bench import benchmarks


@pytest.fixture(scope="module")
def found():
    return benchmarks()


def test_projection_keeps_the_first_task(found):
    """Random gradients are nearly orthogonal: PCGrad nearly adds them up, UPGrad averages them."""
    for benchmark in found:
        if benchmark.name == "projection" and benchmark.sizes["parameters"] <= 100_000:
            agreed = benchmark.agreement(benchmark.ours(), benchmark.peer())
            assert agreed["first task, ours"] == pytest.approx(1, abs=1e-5)
            share = 1 if "PCGrad" in benchmark.peer_name else 1 / 4
            assert agreed["first task, peer"] == pytest.approx(share, abs=0.05)


def test_both_steps_start_from_the_same_network_and_learn(found):
    steps = [benchmark for benchmark in found if benchmark.name == "training step"]
    benchmark = steps[0]
    start = benchmark.agreement(None, None)
    assert start["last loss, ours"] == start["last loss, peer"]
    for _ in range(10):
        benchmark.ours()
        benchmark.peer()
    end = benchmark.agreement(None, None)
    assert all(np.isfinite(value) and value < start[name] for name, value in end.items())
