"""Spoken digits: WAV files, lower sampling rates, one second of samples (real speech for 2.2)."""

from __future__ import annotations

import io
import wave
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from projects.watchhar.resampling import REACH, decimate

NAME = "fsdd-speech"
RATES = (8000, 4000, 2000, 1000)
SPEECH_HZ = 8000
PCM = 32768.0


@dataclass(frozen=True)
class Digits:
    """Spoken digits at one rate.

    Attributes
    ----------
    audio : ndarray of float32, shape (n, rate * 0.95)
        In [-1, 1]; a shorter word stands in the middle, a longer one loses both ends.
    labels : ndarray of int64, shape (n,)
        The digit.
    speakers : ndarray of str, shape (n,)
        Who said it.
    takes : ndarray of int, shape (n,)
        Which time this speaker said this digit.
    rate : int
        Samples a second.
    """

    audio: np.ndarray
    labels: np.ndarray
    speakers: np.ndarray
    takes: np.ndarray
    rate: int


def read_wav(content: bytes, name: str = "wav") -> tuple[np.ndarray, int]:
    """Read mono or many-channel 16-bit PCM.

    Parameters
    ----------
    content : bytes
        The file.
    name : str
        For the message of an error.

    Returns
    -------
    tuple
        Samples in [-1, 1], mean over channels, shape (samples,), and samples a second.

    Raises
    ------
    ValueError
        If the bytes are no WAV file of 16-bit integers, or hold no sample.
    """
    try:
        with wave.open(io.BytesIO(content)) as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            frames = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{name}: no readable WAV file ({error or 'it ends early'})") from error
    if width != 2:
        raise ValueError(f"{name}: {8 * width}-bit samples; convert to 16-bit PCM")
    samples = np.frombuffer(frames, "<i2", count=len(frames) // (2 * channels) * channels)
    if not samples.size:
        raise ValueError(f"{name}: holds no sample")
    return (samples.reshape(-1, channels).mean(axis=1) / PCM).astype(np.float32), rate


def fitted(audio: np.ndarray, samples: int) -> np.ndarray:
    """Centre a word in ``samples`` samples, with zeros around it or without its ends.

    Examples
    --------
    >>> fitted(np.ones(2), 4).tolist(), fitted(np.arange(4.0), 2).tolist()
    ([0.0, 1.0, 1.0, 0.0], [1.0, 2.0])
    """
    excess = len(audio) - samples
    if excess >= 0:
        return audio[excess // 2 : excess // 2 + samples]
    return np.pad(audio, (-excess // 2, -excess - -excess // 2))


def load(files: Mapping[str, Path], *, takes: int | None = None) -> Digits:
    """Read the recordings of a resolved dataset at 8 kHz.

    Parameters
    ----------
    files : mapping
        ``recordings/DIGIT_SPEAKER_TAKE.wav`` to path.
    takes : int, optional
        Only the first takes of each digit and speaker.

    Raises
    ------
    ValueError
        If a file is not what its name promises.
    """
    audio, labels, speakers, numbers = [], [], [], []
    for name in sorted(name for name in files if name.endswith(".wav")):
        digit, speaker, take = Path(name).stem.split("_")
        if takes is not None and int(take) >= takes:
            continue
        samples, rate = read_wav(files[name].read_bytes(), name)
        if rate != SPEECH_HZ:
            raise ValueError(f"{name}: {rate} Hz; these recordings have {SPEECH_HZ} Hz")
        audio.append(fitted(samples, round(0.95 * SPEECH_HZ)))
        labels.append(int(digit))
        speakers.append(speaker)
        numbers.append(int(take))
    columns = (np.array(column) for column in (labels, speakers, numbers))
    return Digits(np.stack(audio), *columns, SPEECH_HZ)


def at_rate(digits: Digits, rate: int, *, low_pass: bool = True) -> Digits:
    """Return the digits at a lower rate that divides theirs.

    Parameters
    ----------
    digits : Digits
        At 8 kHz.
    rate : int
        Samples a second.
    low_pass : bool
        Remove first what the lower rate cannot hold. Without it (2.2, trap 2) those frequencies
        fold back: at 1 kHz, 700 Hz sounds like 300 Hz.
    """
    audio = decimated(digits.audio, digits.rate, rate, low_pass=low_pass)
    return replace(digits, audio=audio, rate=rate)


def decimated(audio: np.ndarray, source: int, rate: int, *, low_pass: bool) -> np.ndarray:
    """Bring clips (n, samples) from one rate to a lower one that divides it, as float32."""
    if source % rate:
        raise ValueError(f"{rate} Hz does not divide {source} Hz; choose one that does")
    factor = source // rate
    clips, samples = audio.shape
    # One long signal, with silence that keeps the low-pass from reaching into the next clip.
    apart = np.pad(audio, ((0, 0), (0, -samples % factor + 2 * REACH * factor)))
    slower = decimate(apart.ravel(), factor, low_pass=low_pass).reshape(clips, -1)
    return slower[:, : samples // factor].astype(np.float32)
