import numpy as np
import pytest

from projects.alert.bench import benchmarks
from projects.alert.cost import cycles, filter_seconds, peer_filter_seconds, random_profile


def test_benchmarks_name_their_peers():
    pytest.importorskip("filterpy")
    found = benchmarks()
    assert [benchmark.peer_name for benchmark in found]
    replayed = found[-1]
    assert replayed.agreement(replayed.ours(), replayed.peer()) == {"same pairs": 1.0}


@pytest.mark.parametrize("mode", ["energy", "error"])
def test_every_cycle_is_timed(mode):
    rng = np.random.default_rng(0)
    seconds = cycles(random_profile(rng, 4, 3), mode, 30, rng)
    assert seconds.shape == (30,) and (seconds > 0).all()


def test_filters_are_timed():
    pytest.importorskip("filterpy")
    rng = np.random.default_rng(0)
    assert filter_seconds(10, rng) > 0
    assert peer_filter_seconds(10, rng) > 0
