import warnings

import numpy as np
import pytest
import torch

from common.errors import ConfigError
from projects.watchhar.frontend import (
    FLOOR,
    FrontEnd,
    fourier_kernels,
    host_log_mel,
    mel_filters,
)

librosa = pytest.importorskip("librosa", reason="librosa is not installed (extra 'watchhar')")
NOISE = np.random.default_rng(0).normal(0, 0.1, 950)


def front_end(mode="padded", **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return FrontEnd(mode=mode, **options)


def reference(audio, layer):
    """Frame by frame with numpy's FFT: nothing in common with the convolution but the formula."""
    half, left = layer.n_fft // 2, (layer.n_fft - layer.window) // 2
    padded = np.pad(audio, half, mode="reflect")
    window = np.hanning(layer.window + 1)[:-1]
    frame = np.zeros(layer.n_fft)
    frame[left : left + layer.window] = window
    starts = range(0, len(audio) + 1, layer.hop)
    power = [np.abs(np.fft.rfft(padded[s : s + layer.n_fft] * frame)) ** 2 for s in starts]
    mel = mel_filters(layer.sample_rate, layer.n_fft, layer.n_mels, layer.fmin, layer.fmax)
    return 10 * np.log10(np.maximum(np.array(power) @ mel.T, FLOOR))


def spectrogram(layer, audio):
    with torch.no_grad():
        return layer(torch.tensor(audio, dtype=torch.float32)[None])[0].numpy()


@pytest.mark.parametrize("mode", ["padded", "compat", "narrow"])
@pytest.mark.parametrize("rate", [1000, 8000])
def test_equals_a_fourier_transform_frame_by_frame(mode, rate):
    layer = front_end(mode, sample_rate=rate)
    audio = np.random.default_rng(1).normal(0, 0.1, rate)
    found, expected = spectrogram(layer, audio), reference(audio, layer)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-3


@pytest.mark.parametrize("mode", ["padded", "compat", "narrow"])
def test_equals_librosa(mode):
    layer = front_end(mode)
    found = spectrogram(layer, NOISE)
    assert found.shape == (96, layer.n_mels)
    assert np.abs(found - host_log_mel(NOISE, layer)).max() < 1e-3


def test_a_tone_is_in_the_filter_around_its_frequency():
    tone = np.sin(2 * np.pi * 250 * np.arange(950) / 1000)
    layer = front_end("narrow")
    loudest = spectrogram(layer, tone).mean(axis=0).argmax()
    corners = np.linspace(10, 500, 18)  # below 1 kHz the mel scale is linear
    assert corners[loudest] < 250 < corners[loudest + 2]


@pytest.mark.parametrize(
    "settings", [(1000, 32, 64, 10, 500), (1000, 256, 64, 10, 500), (16000, 512, 64, 10, 8000)]
)
def test_mel_filters_are_librosas(settings):
    rate, n_fft, n_mels, fmin, fmax = settings
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = librosa.filters.mel(
            sr=rate, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax, dtype=np.float64
        )
    assert np.abs(mel_filters(*settings) - theirs).max() < 1e-12


def test_released_filters_are_mostly_empty_and_of_rank_15():
    mel = mel_filters(1000, 32, 64, 10, 500)
    assert (~mel.any(axis=1)).sum() == 34
    assert np.linalg.matrix_rank(mel) == 15


@pytest.mark.parametrize("mode", ["padded", "narrow"])
def test_repaired_variants_have_no_constant_row(mode):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer = FrontEnd(mode=mode)
    assert layer.mel.any(dim=1).all()
    assert (spectrogram(layer, NOISE).std(axis=0) > 0).all()


def test_empty_rows_of_the_release_are_the_floor():
    with pytest.warns(UserWarning, match="34 of 64 mel filters are empty: 17 frequency bins"):
        layer = FrontEnd(mode="compat")
    image = spectrogram(layer, NOISE)
    assert (image == -100).all(axis=0).sum() == 34


def test_silence_is_the_floor_and_not_minus_infinity():
    assert (spectrogram(front_end(), np.zeros(950)) == -100).all()


def test_padding_leaves_out_only_zeros():
    whole = fourier_kernels(256, 25, 256)
    assert np.abs(whole).sum() == pytest.approx(np.abs(fourier_kernels(256, 25, 25)).sum())


def test_trainable_layers_have_gradients_and_begin_as_the_frozen_ones():
    frozen, trainable = front_end(), front_end(trainable=True)
    audio = torch.tensor(NOISE, dtype=torch.float32)[None]
    assert torch.equal(frozen(audio), trainable(audio))
    trainable(audio).sum().backward()
    assert trainable.fourier.grad.abs().sum() > 0 and trainable.mel.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in frozen.parameters())


def test_batches_are_independent():
    layer = front_end()
    audio = torch.randn(3, 950, generator=torch.Generator().manual_seed(0))
    alone = torch.cat([layer(audio[k : k + 1]) for k in range(3)])
    assert (layer(audio) - alone).abs().max() < 1e-3


@pytest.mark.parametrize("shape", [(950,), (1, 1, 950), (1, 10)])
def test_wrong_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="more than"):
        front_end()(torch.zeros(shape))


def test_wrong_options_are_refused():
    with pytest.raises(ConfigError, match="did you mean 'padded'"):
        FrontEnd(mode="padde")
    with pytest.raises(ValueError, match="fmax <= 500"):
        FrontEnd(fmax=600)
