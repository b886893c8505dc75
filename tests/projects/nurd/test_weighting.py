"""The weight in closed form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projects.nurd.weighting import calibration, centroid_ratio, check_calibration, weights

unit = st.floats(0, 1)


def test_centroid_ratio_by_hand():
    """c_F = (3, 4), c_R = (3, 6): 25 / 4."""
    finished = np.array([[2.0, 4.0], [4.0, 4.0]])
    running = np.array([[3.0, 5.0], [3.0, 7.0]])
    assert centroid_ratio(finished, running) == 6.25


def test_equal_centroids_are_infinitely_alike():
    """Then delta is -alpha."""
    same = np.array([[1.0, 2.0], [3.0, 0.0]])
    rho = centroid_ratio(same, same[::-1])
    assert rho == float("inf")
    assert calibration(rho, 0.3) == -0.3


def test_calibration_by_hand():
    assert calibration(3.0, 0.2) == pytest.approx(0.05)
    assert calibration(0.0, 0.2) == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("z", "delta", "eps", "expected"),
    [(0.5, 0.2, 0.05, 0.7), (0.9, 0.2, 0.05, 1.0), (0.1, -0.5, 0.05, 0.05), (0.3, -0.2, 0.2, 0.2)],
)
def test_weights_by_hand(z, delta, eps, expected):
    assert weights(np.array([z]), delta, eps)[0] == pytest.approx(expected)


@given(unit, st.floats(0, 1e6), unit, st.floats(0.01, 1))
def test_weights_follow_the_brief(z, rho, alpha, eps):
    weight = weights(np.array([z]), calibration(rho, alpha), eps)[0]
    assert weight == pytest.approx(max(eps, min(z + 1 / (1 + rho) - alpha, 1)))
    assert eps <= weight <= 1


@given(unit, st.floats(0, 1e6), unit, unit, unit)
def test_more_alpha_less_weight_more_propensity_more_weight(z, rho, alpha, beta, other):
    low, high = sorted((alpha, beta))
    assert weights(np.array([z]), calibration(rho, high), 0.05) <= weights(
        np.array([z]), calibration(rho, low), 0.05
    )
    pair = np.sort([z, other])
    assert np.diff(weights(pair, calibration(rho, alpha), 0.05))[0] >= 0


@pytest.mark.parametrize("alpha", [-0.01, 1.01, float("nan")])
def test_offset_out_of_range(alpha):
    with pytest.raises(ValueError, match=r"alpha=.*: allowed is 0 to 1"):
        check_calibration(alpha, 0.05)


@pytest.mark.parametrize("eps", [0.0, -1.0, 1.01, float("nan")])
def test_floor_out_of_range(eps):
    with pytest.raises(ValueError, match=r"eps=.*: allowed is above 0, up to 1"):
        check_calibration(0.2, eps)
