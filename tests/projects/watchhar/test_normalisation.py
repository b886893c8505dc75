"""Scaling: closed forms, invariants, the released slip."""

import numpy as np
import pytest

from projects.watchhar.normalisation import Normaliser


@pytest.fixture
def motion():
    return np.random.default_rng(0).gamma(2.0, size=(40, 50, 6)) * np.arange(1, 7) + 3


def test_standard_has_mean_0_and_sd_1(motion):
    z = Normaliser.fit(motion)(motion).reshape(-1, 6)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(z.std(axis=0), 1, atol=1e-5)


def test_released_formula_step_by_step(motion):
    """z from the percentiles, then the mean and deviation of x where those of z belong."""
    flat = motion.reshape(-1, 6)
    p20, p80 = np.percentile(flat, 20, axis=0), np.percentile(flat, 80, axis=0)
    z = 1 + (motion - p80) * 2 / (p80 - p20)
    wanted = (z - flat.mean(axis=0)) / flat.std(axis=0)
    np.testing.assert_allclose(Normaliser.fit(motion, "released")(motion), wanted, atol=1e-5)


def test_mended_it_would_be_the_standard_score(motion):
    flat = motion.reshape(-1, 6)
    p20, p80 = np.percentile(flat, [20, 80], axis=0)
    z = 1 + (motion - p80) * 2 / (p80 - p20)
    columns = z.reshape(-1, 6)
    mended = (z - columns.mean(axis=0)) / columns.std(axis=0)
    np.testing.assert_allclose(mended, Normaliser.fit(motion)(motion), atol=1e-4)


def test_the_slip_leaves_channels_off_centre(motion):
    released = Normaliser.fit(motion, "released")(motion).reshape(-1, 6)
    assert (np.abs(released.mean(axis=0)) > 0.5).all()


@pytest.mark.parametrize("method", ["standard", "released"])
def test_units_do_not_matter_to_the_standard_score_alone(motion, method):
    same = np.allclose(
        Normaliser.fit(motion, method)(motion),
        Normaliser.fit(1000 * motion, method)(1000 * motion),
        atol=1e-3,
    )
    assert same == (method == "standard")


def test_statistics_of_a_fold_do_not_see_the_test_participant(motion):
    before = Normaliser.fit(motion[:30])
    motion[30:] += 100
    after = Normaliser.fit(motion[:30])
    np.testing.assert_array_equal(before.scale, after.scale)
    np.testing.assert_array_equal(before.shift, after.shift)


def test_constant_channels_are_named(motion):
    motion[..., 4] = 2
    with pytest.raises(ValueError, match="channel 4 of the motion is constant"):
        Normaliser.fit(motion)


def test_equal_percentiles_are_named():
    x = np.r_[np.zeros(95), np.ones(5)][:, None]
    with pytest.raises(ValueError, match="channel 0: 20th and 80th percentile"):
        Normaliser.fit(x, "released")


def test_unknown_method(motion):
    with pytest.raises(Exception, match="did you mean 'released'"):
        Normaliser.fit(motion, "release")
