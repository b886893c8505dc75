import numpy as np
import pytest

from projects.watchhar.signal_checks import check_audio, check_finite, check_imu, check_units

STILL = np.tile(np.array([0, 0, 9.81, 0.1, 0, 0], np.float32), (100, 1))


def test_good_signals_pass_unchanged():
    check_units(STILL)
    assert np.array_equal(check_imu(STILL), STILL)
    audio = np.linspace(-1, 1, 50, dtype=np.float32)[1:-1]
    assert np.array_equal(check_audio(audio), audio)


def test_shapes_are_named():
    with pytest.raises(ValueError, match=r"\(100, 9\); expected \(n, 6\).*pass imu\[\.\.\., :6\]"):
        check_imu(np.zeros((100, 9)))
    with pytest.raises(ValueError, match="accelerometer in m/s2 first"):
        check_imu(np.zeros(6))


def test_units_and_order_are_guessed_from_gravity():
    with pytest.raises(ValueError, match="median norm of acceleration is 1.00, which looks like g"):
        check_units(STILL / np.float32(9.81))
    with pytest.raises(ValueError, match="put the accelerometer first"):
        check_units(STILL[:, [3, 4, 5, 0, 1, 2]])
    with pytest.raises(ValueError, match="gravity included"):
        check_units(0 * STILL)
    fast = STILL.copy()
    fast[50, 3] = 180
    with pytest.raises(ValueError, match="reaches 180, which looks like degrees per second"):
        check_units(fast)


def test_integers_are_scaled_and_unscaled_floats_refused():
    pcm = np.array([-16384, 0, 16384], np.int16)
    assert check_audio(pcm).tolist() == [-0.5, 0.0, 0.5]
    with pytest.raises(ValueError, match="reaches 16384; .* divide by 32768"):
        check_audio(pcm.astype(np.float32))
    with pytest.raises(ValueError, match="type uint8; pass int16 or floats"):
        check_audio(pcm.astype(np.uint8))


def test_stereo_is_averaged_and_transposed_stereo_refused():
    assert check_audio(np.array([[0.5, 0.1], [0.2, 0.2]])).tolist() == pytest.approx([0.3, 0.2])
    with pytest.raises(ValueError, match=r"shape \(2, 950\); pass \(n,\) or \(n, channels\)"):
        check_audio(np.zeros((2, 950)))


def test_saturation_is_warned_of():
    audio = np.zeros(100)
    audio[:30] = 1.0
    with pytest.warns(UserWarning, match="saturated: 30% of it at full scale"):
        check_audio(audio)


def test_last_good_value_is_held_per_channel():
    broken = np.array([[np.nan, 1.0], [2.0, np.inf], [np.nan, np.nan], [3.0, 4.0]])
    held = check_finite(broken, np.array([9.0, 8.0]), "hold", "motion")
    assert held.tolist() == [[9.0, 1.0], [2.0, 1.0], [2.0, 1.0], [3.0, 4.0]]
    with pytest.raises(ValueError, match="motion holds 4 values .* pass nan='hold'"):
        check_finite(broken, np.zeros(2), "refuse", "motion")
