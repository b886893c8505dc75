"""Windows of motion and sound, the classes, and splits that keep a participant in one part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.errors import did_you_mean
from projects.watchhar.signal_checks import check_windows

IMU_HZ, AUDIO_HZ, SOURCE_HZ = 50, 1000, 16_000
EVENT_SAMPLES, IMU_SAMPLES, AUDIO_SAMPLES = 150, 50, 950
GAP_SECONDS = 0.025  # the audio ends this long before the motion (2.2 and trap 7)
ACC, GYRO = slice(0, 3), slice(3, 6)
RELEASED_VALIDATION_SEED = 4

CONTEXTS: dict[str, tuple[str, ...]] = {
    "Bathroom": (
        *("Brushing_hair", "Hair_dryer_in_use", "Shaver_in_use"),
        *("Toilet_flushing", "Toothbrushing", "Washing_hands"),
    ),
    "Kitchen": (
        *("Blender_in_use", "Chopping", "Grating", "Microwave"),
        *("Pouring_pitcher", "Twisting_jar", "Washing_Utensils", "Wiping_with_rag"),
    ),
    "Misc": (
        *("Alarm_clock", "Clapping", "Coughing", "Drinking"),
        *("Knocking", "Laughing", "Scratching"),
    ),
    "Workshop": ("Drill in use", "Hammering", "Sanding", "Screwing", "Vacuum in use"),
}
OTHER = "Other"
CLASSES = (*sorted(name for names in CONTEXTS.values() for name in names), OTHER)


@dataclass(frozen=True)
class Windows:
    """Windows of one length, each with its class, its participant and its recording.

    Attributes
    ----------
    imu : ndarray of float32, shape (n, samples, 6)
        Accelerometer (m/s2) and gyroscope (rad/s) at 50 Hz.
    labels : ndarray of int64, shape (n,)
        Place of the class in ``classes``.
    participants, recordings : ndarray of str, shape (n,)
        Whose wrist, and which recording of it.
    classes : tuple of str
        Names of the classes.
    audio : ndarray of float32, shape (n, 950), or None
        Sound at 1 kHz in [-1, 1].
    """

    imu: np.ndarray
    labels: np.ndarray
    participants: np.ndarray
    recordings: np.ndarray
    classes: tuple[str, ...]
    audio: np.ndarray | None = None

    def __post_init__(self) -> None:
        check_windows(self.imu, self.audio)
        sizes = {len(self.imu), len(self.labels), len(self.participants), len(self.recordings)}
        if self.audio is not None:
            sizes.add(len(self.audio))
        if len(sizes) > 1:
            raise ValueError(f"parts of one set of windows have lengths {sorted(sizes)}")
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < self.num_classes:
            raise ValueError(
                f"labels run from {self.labels.min()} to {self.labels.max()}; there are "
                f"{self.num_classes} classes"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        """Number of classes, also of those that no window has."""
        return len(self.classes)

    def select(self, chosen: np.ndarray) -> Windows:
        """Return the windows of a mask or of indices."""
        audio = None if self.audio is None else self.audio[chosen]
        parts = (self.imu, self.labels, self.participants, self.recordings)
        imu, labels, participants, recordings = (part[chosen] for part in parts)
        return Windows(imu, labels, participants, recordings, self.classes, audio)


@dataclass(frozen=True)
class Fold:
    """One split: indices to train on, to choose with and to report on."""

    name: str
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def leave_one_out(
    participants: np.ndarray,
    *,
    validation: int = 1,
    together: int = 1,
    seed: int = RELEASED_VALIDATION_SEED,
) -> Iterator[Fold]:
    """Leave each participant out once; others choose, drawn from the rest (2.6).

    Windows of one recording overlap, so only whole participants change sides (trap 10).

    Parameters
    ----------
    participants : ndarray of str, shape (n,)
        Participant of each window.
    validation : int
        How many of the remaining participants validate.
    together : int
        How many to leave out at a time: more than one spares training, and trains on fewer.
    seed : int
        Of the draw; 4 as released.

    Raises
    ------
    ValueError
        If too few participants are left to train on.

    Examples
    --------
    >>> fold = next(leave_one_out(np.array(["a", "a", "b", "c"])))
    >>> fold.name, fold.test.tolist(), len(fold.train), len(fold.validation)
    ('a', [0, 1], 1, 1)
    """
    names = np.unique(participants)
    if len(names) <= validation + together:
        raise ValueError(
            f"leave-one-participant-out with {validation} for validation needs at least "
            f"{validation + together + 1} participants, got {len(names)}: "
            f"{', '.join(map(str, names))}"
        )
    for first in range(0, len(names), together):
        out = names[first : first + together]
        rest = np.setdiff1d(names, out)
        chosen = np.random.default_rng(seed).choice(rest, validation, replace=False)
        in_test, in_validation = np.isin(participants, out), np.isin(participants, chosen)
        train = np.flatnonzero(~in_test & ~in_validation)
        name = "+".join(map(str, out))
        yield Fold(name, train, np.flatnonzero(in_validation), np.flatnonzero(in_test))


def join(parts: Iterable[Windows]) -> Windows:
    """Put sets of windows with the same classes behind one another."""
    parts = list(parts)
    if len({part.classes for part in parts}) != 1:
        raise ValueError(f"{len(parts)} sets of windows to join must share their classes")
    fields = ("imu", "labels", "participants", "recordings")
    joined: dict[str, Any] = {f: np.concatenate([getattr(p, f) for p in parts]) for f in fields}
    sounds = [part.audio for part in parts if part.audio is not None]
    audio = np.concatenate(sounds) if len(sounds) == len(parts) else None
    return Windows(**joined, classes=parts[0].classes, audio=audio)


def starts(samples: int, length: int, hop: int) -> np.ndarray:
    """First samples of the windows of a recording.

    Raises
    ------
    ValueError
        If the recording is shorter than one window.
    """
    if samples < length:
        raise ValueError(f"{samples} samples are fewer than the {length} of one window")
    return np.arange(0, samples - length + 1, hop)


def cut(signal: np.ndarray, first: np.ndarray, length: int) -> np.ndarray:
    """Windows of ``length`` samples of the first axis, shape (windows, length, ...)."""
    return signal[first[:, None] + np.arange(length)]


def paired(imu: np.ndarray, audio: np.ndarray, hop: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut one recording into one-second windows of motion and the sound beside them.

    Parameters
    ----------
    imu : ndarray, shape (samples, 6)
        At 50 Hz.
    audio : ndarray, shape (samples,)
        At 1 kHz, starting with the motion.
    hop : int
        In samples of motion.

    Returns
    -------
    tuple of ndarray
        Shapes (windows, 50, 6) and (windows, 950).
    """
    ratio = AUDIO_HZ // IMU_HZ
    first = starts(min(len(imu), len(audio) // ratio), IMU_SAMPLES, hop)
    ends = (first + IMU_SAMPLES) * ratio - round(GAP_SECONDS * AUDIO_HZ)
    return cut(imu, first, IMU_SAMPLES), cut(audio, ends - AUDIO_SAMPLES, AUDIO_SAMPLES)


def class_index(names: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Places of class names, or an error that names the closest one.

    Examples
    --------
    >>> class_index(["Chopping"], CLASSES).tolist()
    [3]
    """
    places = {name: place for place, name in enumerate(classes)}
    for name in names:
        if name not in places:
            raise ValueError(f"unknown class {name!r}{did_you_mean(name, classes)}")
    return np.array([places[name] for name in names], dtype=np.int64)
