import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

from projects.watchhar.resampling import (
    REACH,
    Decimator,
    Resampler,
    decimate,
    halve,
    resample,
    windowed_sinc,
)

AUDIO = np.random.default_rng(0).normal(size=1600)


def test_released_decimation_takes_every_sample_and_folds_what_is_above():
    assert np.array_equal(decimate(AUDIO, 16, low_pass=False), AUDIO[::16])
    time = np.arange(16000) / 16000
    folded = decimate(np.sin(2 * np.pi * 1100 * time), 16, low_pass=False)
    assert np.abs(folded - np.sin(2 * np.pi * 100 * time[::16])).max() < 1e-9


def test_low_pass_keeps_the_band_and_removes_the_rest():
    time = np.arange(16000) / 16000
    inner = slice(2 * REACH, -2 * REACH)
    kept = decimate(np.sin(2 * np.pi * 100 * time), 16)
    assert np.abs(kept - np.sin(2 * np.pi * 100 * time[::16]))[inner].max() < 0.01
    assert np.abs(decimate(np.sin(2 * np.pi * 1100 * time), 16))[inner].max() < 0.01


def test_low_pass_equals_scipys_convolution():
    taps = Decimator(4, low_pass=True).taps
    whole = signal.convolve(AUDIO, taps, mode="full")[len(taps) // 2 :][: len(AUDIO)]
    assert np.abs(decimate(AUDIO, 4) - whole[::4]).max() < 1e-12


@given(st.lists(st.integers(0, 1600), max_size=8), st.sampled_from([1, 3, 16]), st.booleans())
def test_chunks_do_not_matter(cuts, factor, low_pass):
    decimator = Decimator(factor, low_pass=low_pass)
    found = np.concatenate([decimator.push(c) for c in np.split(AUDIO, sorted(cuts))])
    whole = decimate(AUDIO, factor, low_pass=low_pass)
    assert len(whole) == -(-len(AUDIO) // factor)
    late = REACH + 1 if low_pass and factor > 1 else 0
    assert len(whole) - late <= len(found) <= len(whole)
    assert np.abs(found - whole[: len(found)]).max() < 1e-12


@given(st.lists(st.integers(0, 200), max_size=8), st.floats(48, 52))
def test_resampling_a_ramp_gives_the_ramp(cuts, rate):
    times = 3 + np.arange(200) / rate
    values = np.stack([times, 2 * times], axis=1)
    resampler = Resampler()
    parts = zip(np.split(values, sorted(cuts)), np.split(times, sorted(cuts)), strict=True)
    rows = [row for v, t in parts for _, stretch in resampler.push(v, t) for row in stretch]
    grid = 3 + np.arange(len(rows)) / 50
    assert grid[-1] <= times[-1] + 1e-7 and grid[-1] + 0.021 > times[-1]
    assert np.abs(np.array(rows) - np.stack([grid, 2 * grid], axis=1)).max() < 1e-6


def test_a_gap_begins_a_stretch_at_its_place():
    times = np.concatenate([np.arange(100), 100 + np.arange(100, 200)]) / 50
    stretches = Resampler().push(times[:, None], times)
    assert [place for place, _ in stretches] == [0, 200]
    assert np.abs(stretches[1][1][:, 0] - np.arange(200, 300) / 50).max() < 1e-9
    with pytest.raises(ValueError, match="1 gaps of more than 0.1 s, the first 4 s after"):
        resample(times[:, None], times)


def test_jitter_is_resampled():
    rng = np.random.default_rng(0)
    times = np.arange(500) / 50 + rng.uniform(-0.004, 0.004, 500)
    found = resample(times[:, None], times)
    assert np.abs(np.diff(found[:, 0]) - 0.02).max() < 1e-9


@pytest.mark.parametrize("rate", [20, 45, 56, 100])
def test_other_rates_are_refused_with_the_measured_one(rate):
    times = np.arange(300) / rate
    with pytest.raises(ValueError, match=f"measured sample rate {rate}.0 Hz, expected 50 Hz"):
        resample(times[:, None], times)


def test_times_that_do_not_increase_or_fit_are_refused():
    with pytest.raises(ValueError, match="times do not increase: 0.02 at sample 2"):
        resample(np.zeros((3, 1)), [0.0, 0.02, 0.02])
    with pytest.raises(ValueError, match="3 samples of motion, but times of shape \\(2,\\)"):
        resample(np.zeros((3, 1)), [0.0, 0.02])
    with pytest.raises(ValueError, match="at least 1"):
        Decimator(0, low_pass=False)


@pytest.mark.parametrize("samples", [30, 200, 701])
def test_halving_equals_scipys_resampling(samples):
    values = np.random.default_rng(0).normal(size=(samples, 3)).cumsum(axis=0) + 9.81
    wanted = signal.resample_poly(values, 1, 2, axis=0, padtype="line")
    np.testing.assert_allclose(halve(values), wanted, atol=1e-10)


def test_the_low_pass_equals_scipys_design():
    taps = windowed_sinc(0.9 / 16, np.hamming(257))
    np.testing.assert_allclose(taps, signal.firwin(257, 0.9 / 16), atol=1e-12)
