import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projects.alert import KalmanConfig
from projects.alert.cost import PeerFilter
from projects.alert.filters import IdleRatio, SlowDown

RATIOS = st.lists(st.floats(0.05, 19.0), min_size=1, max_size=30)


def test_one_step_by_hand():
    xi = SlowDown.start(KalmanConfig())
    xi.update(2.0)
    # y = 1; Q = max(0.1, 0.3 * 0.1 + 0.7 * 0.25); var = 0.5 * 0.1 + Q; K = var / (var + 0.001)
    assert xi.q == pytest.approx(0.205)
    assert xi.var == pytest.approx(0.255)
    assert xi.k == pytest.approx(0.255 / 0.256)
    assert xi.mu == pytest.approx(1 + 0.255 / 0.256)


def test_the_old_gain_shrinks_the_variance():
    xi = SlowDown.start(KalmanConfig())
    xi.update(1.0)
    gain, var = xi.k, xi.var
    xi.update(1.0)
    assert xi.var == pytest.approx((1 - gain) * var + xi.q)


@settings(deadline=None)
@given(RATIOS)
def test_equals_filterpy(ratios):
    pytest.importorskip("filterpy")
    config = KalmanConfig.preset("smooth", max_ratio=100)
    ours, peer = SlowDown.start(config), PeerFilter(config)
    for ratio in ratios:
        ours.update(ratio)
        peer.update(ratio)
        assert ours.mu == pytest.approx(peer.mu, rel=1e-9)
        assert ours.var == pytest.approx(peer.var, rel=1e-9)


@settings(deadline=None)
@given(RATIOS)
def test_variance_keeps_its_floor_and_the_textbook_goes_below(ratios):
    paper = SlowDown.start(KalmanConfig())
    textbook = SlowDown.start(KalmanConfig(textbook=True))
    for ratio in ratios:
        paper.update(ratio)
        textbook.update(ratio)
    assert paper.variance >= 0.1
    assert textbook.variance < 0.001
    assert paper.mu == textbook.mu


@settings(deadline=None)
@given(st.lists(RATIOS, min_size=1, max_size=3).map(lambda rows: [row[:5] for row in rows]))
def test_arrays_are_many_filters(rows):
    length = min(map(len, rows))
    together = SlowDown.start(KalmanConfig(), (len(rows),))
    alone = [SlowDown.start(KalmanConfig()) for _ in rows]
    for step in range(length):
        together.update(np.array([row[step] for row in rows]))
        for xi, row in zip(alone, rows, strict=True):
            xi.update(row[step])
    assert together.mu.tolist() == [xi.mu for xi in alone]
    assert together.var.tolist() == [xi.var for xi in alone]


def test_a_missing_measurement_only_widens():
    xi = SlowDown.start(KalmanConfig())
    xi.miss()
    assert (xi.mu, xi.q, xi.k) == (1.0, 0.1, 0.5)
    assert xi.var == pytest.approx(0.2)


def test_a_lower_bound_moves_up_never_down():
    low, high = (SlowDown.start(KalmanConfig()) for _ in range(2))
    low.at_least(0.5)
    assert low.mu == 1.0 and low.var == pytest.approx(0.2)
    high.at_least(3.0)
    assert high.mu > 2.9 and high.var > low.var


def test_outliers_are_clipped():
    xi = SlowDown.start(KalmanConfig())
    xi.update(1e6)
    assert 19 < xi.mu <= 20


def test_idle_ratio_by_hand():
    phi = IdleRatio.start(KalmanConfig(), 0.3)
    phi.update(0.5)
    gain = 0.0101 / 0.0111
    assert phi.phi == pytest.approx(0.3 + gain * 0.2)
    assert phi.m == pytest.approx((1 - gain) * 0.0101)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"r": 0.0}, "constant r is 0.0; it must be positive"),
        ({"q0": -1.0}, "must be positive"),
        ({"v": float("nan")}, "must be positive"),
        ({"max_ratio": float("inf")}, "must be positive"),
        ({"alpha": 1.1}, "lies in"),
    ],
)
def test_bad_constants(change, message):
    with pytest.raises(ValueError, match=message):
        KalmanConfig(**change)


def test_unknown_preset():
    with pytest.raises(ValueError, match="did you mean 'smooth'"):
        KalmanConfig.preset("smoth")
