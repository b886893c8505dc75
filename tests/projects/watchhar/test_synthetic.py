"""The generator: its frequencies, bands, units and participants are those of the recipes."""

import numpy as np
import pytest

from projects.watchhar.data import CLASSES
from projects.watchhar.recipes import POSTURES, RECIPES
from projects.watchhar.signal_checks import GRAVITY
from projects.watchhar.synthetic import CAP, Participant, record, synth_samosa

PLAIN = Participant(1.0, 1.0, 1.0)


def made(name, seed=0, seconds=8.0, wearer=PLAIN):
    return record(np.random.default_rng(seed), RECIPES[name], wearer, seconds)


def peak_hz(signal, rate):
    spectrum = np.abs(np.fft.rfft(signal - signal.mean())) ** 2
    return np.fft.rfftfreq(len(signal), 1 / rate)[spectrum.argmax()]


def share(sound, low, high):
    hz, power = np.fft.rfftfreq(len(sound), 1 / 16_000), np.abs(np.fft.rfft(sound)) ** 2
    return power[(hz >= low) & (hz <= high)].sum() / power.sum()


def test_every_class_has_a_recipe():
    assert set(RECIPES) == set(CLASSES)
    assert all(recipe.posture in POSTURES for recipe in RECIPES.values())


@pytest.mark.parametrize("name", ["Toothbrushing", "Grating", "Sanding", "Washing_hands"])
def test_the_wrist_moves_at_the_recipes_frequency(name):
    imu, _ = made(name)
    strongest = imu[:, :3].std(axis=0).argmax()
    assert peak_hz(imu[:, strongest], 50) == pytest.approx(RECIPES[name].hz[0], rel=0.12)


def test_participants_are_slower_and_faster():
    slow = made("Grating", wearer=Participant(0.8, 1.0, 1.0))[0]
    fast = made("Grating", wearer=Participant(1.25, 1.0, 1.0))[0]
    axis = slow[:, :3].std(axis=0).argmax()
    ratio = peak_hz(fast[:, axis], 50) / peak_hz(slow[:, axis], 50)
    assert ratio == pytest.approx(1.25 / 0.8, rel=0.15)


def test_effects_of_participants_are_log_normal():
    rng = np.random.default_rng(0)
    drawn = np.log(
        [[p.hz, p.amplitude, p.gain] for p in (Participant.draw(rng) for _ in range(4000))]
    )
    np.testing.assert_allclose(drawn.mean(axis=0), 0, atol=0.02)
    np.testing.assert_allclose(drawn.std(axis=0), [0.15, 0.25, 0.3], rtol=0.05)


@pytest.mark.parametrize("name", CLASSES)
def test_units_and_orientation(name):
    for seed in range(3):
        imu, sound = made(name, seed, seconds=2.0)
        assert imu.shape == (100, 6)
        assert sound.shape == (32_000,)
        assert np.isfinite(imu).all()
        assert np.abs(sound).max() <= 1
        assert np.median(np.linalg.norm(imu[:, :3], axis=1)) == pytest.approx(GRAVITY, abs=1.5)


def test_gravity_lies_on_its_cap():
    for seed in range(20):
        imu, _ = made("Coughing", seed, seconds=4.0)
        rest = np.median(imu[:, :3], axis=0)
        cosine = rest @ np.array(POSTURES["raised"]) / np.linalg.norm(rest)
        assert cosine > np.cos(CAP) - 0.02


def test_a_tilt_turns_gravity_as_the_gyroscope_says():
    """d gravity / dt = -rate x gravity, in the frame of the watch."""
    imu, _ = made("Pouring_pitcher")
    gravity, rate = imu[:, :3].astype(float), imu[:, 3:].astype(float)
    smooth = np.ones(9) / 9

    def smoothed(x):
        return np.stack([np.convolve(c, smooth, "valid") for c in x.T], axis=1)

    change = smoothed(np.gradient(gravity, 1 / 50, axis=0))[10:-10]
    wanted = smoothed(-np.cross(rate, gravity))[10:-10]
    assert np.corrcoef(change.ravel(), wanted.ravel())[0, 1] > 0.95


def test_strikes_sound_when_the_wrist_is_hit():
    imu, sound = made("Hammering", 3)
    push = np.linalg.norm(imu[:, :3] - np.median(imu[:, :3], axis=0), axis=1)
    loud = np.sqrt((sound.reshape(-1, 320) ** 2).mean(axis=1))
    # A sample of motion sees the hit that the 20 ms before it were loud with.
    assert np.corrcoef(push[1:], loud[:-1])[0, 1] > 0.7


def test_alarms_lie_above_what_1_khz_holds_and_motors_below():
    assert np.median([share(made("Alarm_clock", s)[1], 500, 8000) for s in range(5)]) > 0.7
    assert np.median([share(made("Microwave", s)[1], 0, 500) for s in range(5)]) > 0.6


def test_low_pass_removes_an_alarm_that_aliasing_keeps():
    options = {"participants": 1, "takes": 4, "seconds": 2.0, "classes": ("Alarm_clock",)}
    kept = synth_samosa(np.random.default_rng(0), **options).audio.std()
    lost = synth_samosa(np.random.default_rng(0), low_pass=True, **options).audio.std()
    assert lost < 0.6 * kept


def test_the_same_seed_gives_the_same_windows():
    options = {"participants": 2, "takes": 1, "seconds": 2.0, "classes": CLASSES[:4]}
    first, again, other = (
        synth_samosa(np.random.default_rng(seed), **options) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.imu, again.imu)
    np.testing.assert_array_equal(first.audio, again.audio)
    assert not np.array_equal(first.imu, other.imu)
    assert len(set(first.recordings)) == 8


def test_an_unknown_class():
    with pytest.raises(ValueError, match="did you mean 'Chopping'"):
        synth_samosa(np.random.default_rng(0), classes=("Chopin",))
