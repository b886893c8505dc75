"""WAV files, lower rates and words in a second."""

import io
import wave

import numpy as np
import pytest

from projects.watchhar.digits import Digits, at_rate, fitted, load, read_wav


def wav(samples, rate=8000, width=2, channels=1):
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(np.asarray(samples).tobytes())
    return written.getvalue()


def test_samples_are_scaled_and_channels_averaged():
    samples, rate = read_wav(wav(np.array([16384, -32768], "<i2")))
    assert (samples.tolist(), rate) == ([0.5, -1.0], 8000)
    stereo, _ = read_wav(wav(np.array([16384, 0, -16384, 0], "<i2"), channels=2))
    assert stereo.tolist() == [0.25, -0.25]


def test_an_independent_reader_agrees():
    soundfile = pytest.importorskip("soundfile")
    content = wav(np.random.default_rng(0).integers(-32768, 32767, 500).astype("<i2"))
    wanted, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    np.testing.assert_array_equal(read_wav(content)[0], wanted)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no readable WAV"),
        (b"RIFF0000WAVE", "no readable WAV"),
        (wav(np.zeros(4, "u1"), width=1), "8-bit samples"),
        (wav(np.zeros(0, "<i2")), "holds no sample"),
    ],
)
def test_bad_files(content, message):
    with pytest.raises(ValueError, match=message):
        read_wav(content)


@pytest.mark.parametrize(("length", "samples"), [(5, 8), (8, 5), (4, 4), (1, 4)])
def test_words_stand_in_the_middle(length, samples):
    made = fitted(np.ones(length), samples)
    assert len(made) == samples
    assert made.sum() == min(length, samples)
    zeros = np.flatnonzero(made == 0)
    before = int((zeros < samples / 2).sum())
    assert abs(before - (len(zeros) - before)) <= 1


def tones(*hz):
    at = np.arange(7600) / 8000
    audio = np.stack([np.sin(2 * np.pi * f * at) for f in hz]).astype(np.float32)
    places = np.arange(len(hz))
    return Digits(audio, places, places.astype(str), places, 8000)


def test_without_a_low_pass_700_hz_is_heard_as_300():
    folded = at_rate(tones(700), 1000, low_pass=False).audio[0]
    spectrum = np.abs(np.fft.rfft(folded))
    assert np.fft.rfftfreq(len(folded), 1e-3)[spectrum.argmax()] == pytest.approx(300, abs=2)


def test_the_low_pass_removes_700_hz_and_keeps_300():
    slow = at_rate(tones(700, 300), 1000, low_pass=True).audio[:, 50:-50]
    assert slow[0].std() < 0.02
    assert slow[1].std() == pytest.approx(np.sqrt(0.5), rel=0.02)


def test_words_do_not_leak_into_each_other():
    loud = tones(100, 100)
    silent = Digits(loud.audio * np.array([[1.0], [0.0]]), *[loud.labels] * 3, 8000)
    assert np.abs(at_rate(silent, 1000).audio[1]).max() == 0


def test_rates_that_do_not_divide():
    with pytest.raises(ValueError, match="3000 Hz does not divide 8000 Hz"):
        at_rate(tones(100), 3000)


def test_a_file_at_another_rate(tmp_path):
    path = tmp_path / "3_x_0.wav"
    path.write_bytes(wav(np.ones(100, "<i2"), rate=16_000))
    with pytest.raises(ValueError, match="16000 Hz; these recordings have 8000 Hz"):
        load({"recordings/3_x_0.wav": path})


@pytest.mark.data
def test_the_real_recordings():
    from common.data import resolve

    digits = load(resolve("fsdd-speech").files, takes=2)
    assert digits.audio.shape == (80, 7600)
    assert np.bincount(digits.labels).tolist() == [8] * 10
    assert set(digits.speakers) == {"george", "jackson", "nicolas", "yweweler"}
    assert 0.01 < digits.audio.std() < 0.5
