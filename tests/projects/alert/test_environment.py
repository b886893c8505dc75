import gzip

import numpy as np
import pytest

from projects.alert.environment import (
    LOADS,
    P_OFF,
    P_ON,
    bursts,
    generate,
    recorded,
    sentences,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_bursts_come_and_go_as_the_chain_says():
    number = bursts(rng(), 200_000)
    on = number > 0
    assert on.mean() == pytest.approx(P_ON / (P_ON + P_OFF), abs=0.03)
    started = (np.diff(on.astype(int)) == 1).sum()
    assert started == pytest.approx((~on).sum() * P_ON, rel=0.1)
    assert (np.diff(number[on]) >= 0).all() and number.max() == started + on[0]


@pytest.mark.parametrize("load", list(LOADS))
def test_slow_down_is_that_of_its_load(load):
    environment = generate(rng(), load, 20_000, 3)
    quiet = np.log(environment.slow_down[~environment.busy])
    assert (quiet.mean(), quiet.std()) == (
        pytest.approx(0, abs=0.002),
        pytest.approx(0.03, rel=0.05),
    )
    low, high = LOADS[load]
    if not high:
        assert not environment.busy.any()
        return
    busy = environment.slow_down[environment.busy]
    assert 1 + low < busy.mean() < (1 + high) * 1.01
    assert environment.jitter.mean() == pytest.approx(1, abs=1e-3)
    assert environment.jitter.std() == pytest.approx(0.02, rel=0.05)


def test_the_slow_down_of_a_burst_stays():
    environment = generate(rng(1), "memory", 5000, 1)
    edges = np.flatnonzero(np.diff(environment.busy.astype(int)))
    spans = [span for span in np.split(np.log(environment.slow_down), edges + 1) if len(span) > 30]
    assert all(span.std() < 0.14 for span in spans)


def test_ratios_belong_to_their_network():
    environment = generate(rng(), "default", 5, 2)
    model = np.array([[0, 1, 1]] * 5)
    ratio = environment.ratio(model)
    assert ratio.shape == (5, 3)
    assert ratio[3, 1] == environment.slow_down[3] * environment.jitter[3, 1]


def test_lengths_spread_the_slow_down():
    plain, long = (generate(rng(), "default", 20_000, 1, lengths=flag) for flag in (False, True))
    assert np.log(plain.slow_down).std() < 0.04
    assert np.log(long.slow_down).std() == pytest.approx(0.5, rel=0.05)


def test_words_count_down_in_their_sentence():
    environment = sentences(rng(), "memory", 5000, 1)
    assert len(environment.group) == 5000
    follows = np.diff(environment.group)
    assert ((follows == -1) | (environment.group[:-1] == 1)).all()
    firsts = environment.group[np.r_[True, environment.group[:-1] == 1]]
    assert np.median(firsts) == pytest.approx(21, abs=4)


def test_recorded_inputs_over_the_quiet_median(tmp_path):
    text = "input,seconds,load\n0,0.010,none\n1,0.010,none\n2,0.020,memory\n3,0.015,compute\n"
    path = tmp_path / "contention.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    environment = recorded(path, "memory", 2, rng())
    assert environment.slow_down.tolist() == [1, 1, 2]
    assert environment.busy.tolist() == [False, False, True]
    assert recorded(path, "default", 2, rng()).slow_down.tolist() == [1, 1]
    assert environment.first(2).jitter.shape == (2, 2)


def test_unknown_environment():
    with pytest.raises(ValueError, match="did you mean 'memory'"):
        generate(rng(), "memori", 10, 1)
