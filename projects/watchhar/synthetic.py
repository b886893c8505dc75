"""`synth_samosa`: generated recordings of 27 activities, standing in for private data.

| parameter | value | source |
| --- | --- | --- |
| participant factor on frequency, amplitude, gain | log-normal, sd 0.15, 0.25, 0.3 | assumption |
| wrist | gravity uniform on a cap of 40 degrees around the posture | assumption |
| sensor noise | 0.05 m/s2, 0.02 rad/s | order of phone-grade sensors |
| jitter of a period | sd 5 % | assumption |
| gyroscope | 0.15 rad/s per m/s2, a quarter period ahead | assumption |
| ringing of an impact | 40 ms motion, 15 ms sound | assumption |
| signal-to-noise ratio | uniform 0 to 20 dB, noise falling 3 dB per octave | assumption |
| per class | :data:`projects.watchhar.recipes.RECIPES` | assumption |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from projects.watchhar.data import (
    AUDIO_HZ,
    CLASSES,
    IMU_HZ,
    SOURCE_HZ,
    Windows,
    class_index,
    join,
    paired,
)
from projects.watchhar.recipes import POSTURES, RECIPES, Recipe
from projects.watchhar.resampling import decimate
from projects.watchhar.signal_checks import GRAVITY

NAME = "synth-samosa"
ABOUT = "27 activities from recipes of motion and sound, with participants' effects"
CAP = np.deg2rad(40)
ACC_NOISE, GYRO_NOISE = 0.05, 0.02
TURN = 0.15  # rad/s per m/s2
RING_MOTION, RING_SOUND = 0.04, 0.015  # seconds
JITTER = 0.05
HARMONICS = 20
LEVEL = 0.05


@dataclass(frozen=True)
class Participant:
    """What makes one wearer's recordings alike: factors on frequency, amplitude and loudness."""

    hz: float
    amplitude: float
    gain: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Participant:
        """Draw a wearer."""
        return cls(*(float(np.exp(rng.normal(0, sd))) for sd in (0.15, 0.25, 0.3)))


def synth_samosa(
    rng: np.random.Generator,
    *,
    participants: int = 20,
    takes: int = 3,
    seconds: float = 6.0,
    classes: Sequence[str] = CLASSES,
    hop: int = 25,
    low_pass: bool = False,
) -> Windows:
    """Generate recordings of every class by every participant and cut them into windows.

    Parameters
    ----------
    rng : Generator
        Of NumPy.
    participants, takes : int
        Wearers, and recordings per class of each.
    seconds : float
        Length of a recording, at least one.
    classes : sequence of str
        Which of the 27, in the order of their labels.
    hop : int
        Samples of motion between windows.
    low_pass : bool
        Filter before keeping every 16th sample of the sound; the released code does not.

    Returns
    -------
    Windows
        One-second windows with sound at 1 kHz.

    Raises
    ------
    ValueError
        If a class is unknown.

    Examples
    --------
    >>> made = synth_samosa(
    ...     np.random.default_rng(0), participants=2, takes=1, seconds=2.0, classes=("Chopping",)
    ... )
    >>> made.imu.shape, made.audio.shape
    ((6, 50, 6), (6, 950))
    """
    class_index(classes, CLASSES)
    parts = []
    for number in range(participants):
        wearer = Participant.draw(rng)
        for label, name in enumerate(classes):
            for take in range(takes):
                imu, sound = record(rng, RECIPES[name], wearer, seconds)
                audio = decimate(sound, SOURCE_HZ // AUDIO_HZ, low_pass=low_pass)
                windows, heard = paired(imu, audio, hop)
                who, which = f"p{number:02d}", f"p{number:02d} {name} {take}"
                labels = np.full(len(windows), label)
                names = (np.repeat(text, len(windows)) for text in (who, which))
                parts.append(Windows(windows, labels, *names, tuple(classes), heard))
    return join(parts)


def record(
    rng: np.random.Generator, recipe: Recipe, wearer: Participant, seconds: float
) -> tuple[np.ndarray, np.ndarray]:
    """Generate one recording.

    Returns
    -------
    tuple of ndarray
        Motion (samples at 50 Hz, 6) in m/s2 and rad/s, and sound (samples at 16 kHz) in [-1, 1].
    """
    imu, cycles = motion(rng, recipe, wearer, seconds)
    return imu, _heard(rng, _sound(rng, recipe, cycles), wearer.gain).astype(np.float32)


def motion(
    rng: np.random.Generator, recipe: Recipe, wearer: Participant, seconds: float
) -> tuple[np.ndarray, np.ndarray]:
    """Generate the motion of a recording alone.

    Returns
    -------
    tuple of ndarray
        Motion (samples at 50 Hz, 6), and the cycles of the movement so far, 1000 a second.
    """
    hz = rng.uniform(*recipe.hz) * wearer.hz
    amplitude = rng.uniform(*recipe.amplitude) * wearer.amplitude
    cycles = _cycles(rng, hz, seconds)
    return _motion(rng, recipe, hz, amplitude, cycles).astype(np.float32), cycles


def _cycles(rng: np.random.Generator, hz: float, seconds: float) -> np.ndarray:
    """Cycles of the motion since the start, 1000 a second, with jitter from period to period."""
    samples = round(seconds * 1000)
    knots = np.arange(0, seconds + 1, 0.25)
    rate = np.interp(np.arange(samples) / 1000, knots, rng.normal(1, JITTER, len(knots)))
    return rng.uniform() + np.cumsum(hz * rate) / 1000


# -- motion --------------------------------------------------------------------------------


def _motion(
    rng: np.random.Generator, recipe: Recipe, hz: float, amplitude: float, cycles: np.ndarray
) -> np.ndarray:
    every = 1000 // IMU_HZ
    at = cycles[::every]
    gravity = _on_cap(rng, POSTURES[recipe.posture], CAP)
    along, about = _direction(rng), _direction(rng)
    if recipe.motion in ("periodic", "tremor"):
        push, turn = np.sin(2 * np.pi * at), np.cos(2 * np.pi * at)
    elif recipe.motion == "impacts":
        push = _ring(cycles, RING_MOTION, 1000)[::every]
        turn = -push
    elif recipe.motion == "tilt":
        return _with_noise(rng, *_tilt(gravity, about, amplitude, hz, at))
    else:
        push = _bumps(rng, len(at), 6 if recipe.motion == "mixed" else 2)
        turn = np.gradient(push) * IMU_HZ / (2 * np.pi)
    acceleration = GRAVITY * gravity + amplitude * push[:, None] * along
    return _with_noise(rng, acceleration, TURN * amplitude * turn[:, None] * about)


def _with_noise(rng: np.random.Generator, acc: np.ndarray, gyro: np.ndarray) -> np.ndarray:
    noise = rng.standard_normal((len(acc), 6)) * np.repeat([ACC_NOISE, GYRO_NOISE], 3)
    return np.concatenate([acc, gyro], axis=1) + noise


def _tilt(
    gravity: np.ndarray, about: np.ndarray, angle: float, hz: float, at: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rotate gravity to and fro by an angle (Rodrigues); the rate is the angle's derivative."""
    phase = 2 * np.pi * at
    turned, rate = angle * (1 - np.cos(phase)) / 2, angle * np.pi * hz * np.sin(phase)
    sine, cosine = np.sin(turned)[:, None], np.cos(turned)[:, None]
    # The watch turns one way, gravity the other way in the watch's frame.
    seen = gravity * cosine - np.cross(about, gravity) * sine
    seen = seen + about * (about @ gravity) * (1 - cosine)
    return GRAVITY * seen, rate[:, None] * about


def _bumps(rng: np.random.Generator, samples: int, most: int) -> np.ndarray:
    """Short pushes at random moments."""
    at = np.arange(samples)[:, None] / IMU_HZ
    moments = rng.uniform(0, samples / IMU_HZ, rng.integers(0, most + 1))
    return np.exp(-(((at - moments) / 0.1) ** 2)).sum(axis=1)


def _ring(cycles: np.ndarray, decay: float, rate: int) -> np.ndarray:
    """Exponential decay since the last whole cycle, sampled ``rate`` times a second."""
    return np.exp(-_since(cycles) / (decay * rate))


def _since(cycles: np.ndarray) -> np.ndarray:
    """Samples since the last whole cycle; before the first, far away."""
    whole = np.floor(cycles)
    begins = np.flatnonzero(np.diff(whole, prepend=whole[0]) > 0)
    place = np.searchsorted(begins, np.arange(len(cycles)), side="right") - 1
    last = np.where(place < 0, -(10**9), np.append(begins, 0)[place])
    return np.arange(len(cycles)) - last


def _direction(rng: np.random.Generator) -> np.ndarray:
    vector = rng.standard_normal(3)
    return vector / np.linalg.norm(vector)


def _on_cap(
    rng: np.random.Generator, centre: tuple[float, float, float], angle: float
) -> np.ndarray:
    """Draw a unit vector uniform on the cap of ``angle`` around ``centre``."""
    axis = np.array(centre)
    height = rng.uniform(np.cos(angle), 1)
    side = np.cross(axis, _direction(rng))
    return height * axis + np.sqrt(1 - height**2) * side / np.linalg.norm(side)


# -- sound ---------------------------------------------------------------------------------


def _sound(rng: np.random.Generator, recipe: Recipe, cycles: np.ndarray) -> np.ndarray:
    """Sound at 16 kHz in phase with the motion, at any level."""
    samples = len(cycles) * SOURCE_HZ // 1000
    at = np.arange(samples) / SOURCE_HZ
    low, high = recipe.tone
    kind = recipe.sound
    if kind == "mixed":
        kind = str(rng.choice(["voice", "water", "quiet"]))
    if kind == "motor":
        tones = _harmonics(rng, rng.uniform(low, high) * at)
        return tones + 0.3 * _noise_band(rng, samples, 200, 4000)
    if kind == "strikes":
        fine = np.interp(at * 1000, np.arange(len(cycles)), cycles)
        return _ring(fine, RING_SOUND, SOURCE_HZ) * _noise_band(rng, samples, low, high)
    if kind == "strokes":
        fine = np.interp(at * 1000, np.arange(len(cycles)), cycles)
        return np.abs(np.sin(2 * np.pi * fine)) * _noise_band(rng, samples, low, high)
    if kind == "water":
        swell = 1 + 0.5 * np.sin(2 * np.pi * rng.uniform(2, 6) * at + rng.uniform(0, 2 * np.pi))
        return swell * _noise_band(rng, samples, max(low, 300), max(high, 4000))
    if kind == "alarm":
        beeps = np.sin(2 * np.pi * 2 * at + rng.uniform(0, 2 * np.pi)) > 0
        return beeps * np.sin(2 * np.pi * rng.uniform(low, high) * at)
    if kind == "voice":
        pitch = rng.uniform(low, high) * (1 + 0.1 * np.sin(2 * np.pi * at))
        syllables = np.sin(np.pi * 4 * at + rng.uniform(0, np.pi)) ** 2
        return syllables * _harmonics(rng, np.cumsum(pitch) / SOURCE_HZ)
    return np.zeros(samples)


def _harmonics(rng: np.random.Generator, cycles: np.ndarray) -> np.ndarray:
    """Sum of sin(2 pi h cycles + phase_h) / h, as powers of one complex turn."""
    turn = np.exp(2j * np.pi * cycles)
    power, total = np.ones_like(turn), np.zeros(len(cycles))
    for number in range(1, HARMONICS + 1):
        power = power * turn
        total += (power * np.exp(1j * rng.uniform(0, 2 * np.pi))).imag / number
    return total


def _noise_band(rng: np.random.Generator, samples: int, low: float, high: float) -> np.ndarray:
    """Gaussian noise of unit power between two frequencies."""
    return _unit(_shaped(rng, samples, lambda hz: (hz >= low) & (hz <= high)))


def _heard(rng: np.random.Generator, sound: np.ndarray, gain: float) -> np.ndarray:
    """Set the level and add the room 0 to 20 dB below; a quiet class has the room alone."""
    room = _unit(_shaped(rng, len(sound), lambda hz: 1 / np.sqrt(np.maximum(hz, 20))))
    below = 10 ** (-rng.uniform(0, 20) / 20)
    return np.clip(LEVEL * gain * (_unit(sound) + below * room), -1, 1)


def _shaped(
    rng: np.random.Generator, samples: int, shape: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Gaussian noise whose amplitude spectrum is ``shape(hertz)``."""
    hz = np.fft.rfftfreq(samples, 1 / SOURCE_HZ)
    drawn = rng.standard_normal((2, len(hz)))
    return np.fft.irfft((drawn[0] + 1j * drawn[1]) * shape(hz), samples)


def _unit(signal: np.ndarray) -> np.ndarray:
    power = np.mean(signal**2)
    return signal / np.sqrt(power) if power else signal
