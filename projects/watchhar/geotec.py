"""Motion of a smartwatch on twelve wrists (GEOTEC): seated is idle, everything else an event."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from common.errors import known
from projects.watchhar.data import EVENT_SAMPLES, IMU_HZ, Windows, cut, join, starts
from projects.watchhar.resampling import GAP, check_rate, halve
from projects.watchhar.signal_checks import check_units

NAME = "geotec-smartwatch-har"
CHANNELS = ("x_acc", "y_acc", "z_acc", "x_gyro", "y_gyro", "z_gyro")
STATES = ("SEATED", "STANDING_UP", "WALKING", "TURNING", "SITTING_DOWN")
IDLE = "SEATED"
EVENT_CLASSES = ("idle", "event")
RULES = ("last", "majority", "any")
NOMINAL_HZ = 2.0 * IMU_HZ


@dataclass(frozen=True)
class Recording:
    """One execution at 50 Hz.

    Attributes
    ----------
    name, subject : str
        Such as ``s01_02`` and ``s01``.
    imu : ndarray of float32, shape (samples, 6)
        m/s2 and rad/s.
    event : ndarray of bool, shape (samples,)
        Whether the wearer does anything but sit.
    """

    name: str
    subject: str
    imu: np.ndarray
    event: np.ndarray


def read(name: str, content: bytes) -> Recording:
    """Read one CSV file, check it and bring it to 50 Hz.

    The watch delivers 104 samples a second where 100 were asked for, in bursts with equal
    millisecond stamps. Samples keep their order; equal stamps are averaged; the signal is
    interpolated at 100 Hz, low-passed and halved.

    Parameters
    ----------
    name : str
        Name of the file, which begins with the subject.
    content : bytes
        Its content.

    Raises
    ------
    ValueError
        If a column is missing, a value is no number, time runs backwards, the rate is more than
        5 % away from 100 Hz, a gap is longer than 0.1 s, a unit is wrong or a state unknown.
    """
    import pandas as pd

    table = pd.read_csv(io.BytesIO(content))
    if missing := {*CHANNELS, "timestamp", "label"} - set(table):
        raise ValueError(f"{name}: column {sorted(missing)[0]!r} is missing; has {list(table)}")
    for state in table["label"].unique():
        if state not in STATES:
            raise ValueError(f"{name}: unknown state {state!r}; allowed: {', '.join(STATES)}")
    values = table[list(CHANNELS)].to_numpy(float)
    if not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0, 0])
        raise ValueError(f"{name}: row {row + 1} holds a value that is no finite number")
    try:
        check_units(values)
        seconds = elapsed(table["timestamp"].to_numpy(float) / 1000)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    at, first, counts = np.unique(seconds, return_index=True, return_counts=True)
    merged = np.add.reduceat(values, first, axis=0) / counts[:, None]
    grid = np.arange(0, at[-1], 1 / NOMINAL_HZ)
    even = np.stack([np.interp(grid, at, column) for column in merged.T], axis=1)
    imu = halve(even)
    moment = np.arange(len(imu)) / IMU_HZ
    state = np.searchsorted(seconds, moment, side="right") - 1
    event = (table["label"] != IDLE).to_numpy()[state]
    stem = Path(name).name.removesuffix(".csv").removesuffix("_sw")
    return Recording(stem, stem.split("_")[0], imu.astype(np.float32), event)


def elapsed(seconds: np.ndarray) -> np.ndarray:
    """Seconds since the first sample of about 100 a second, or what is wrong with the clock.

    Equal times are fine: this watch stamps the samples of a burst alike.
    """
    if len(seconds) < 2:
        raise ValueError(f"{len(seconds)} samples are no recording")
    steps = np.diff(seconds)
    if (steps < 0).any():
        raise ValueError(f"time runs backwards after sample {int(np.argmax(steps < 0)) + 1}")
    check_rate((len(seconds) - 1) / max(seconds[-1] - seconds[0], 1e-9), NOMINAL_HZ)
    if steps.max() > GAP:
        place = int(np.argmax(steps)) + 1
        raise ValueError(f"gap of {steps.max():.2f} s after sample {place}; cut it there")
    return seconds - seconds[0]


def read_all(files: Mapping[str, Path], subjects: Iterable[str] | None = None) -> list[Recording]:
    """Read the recordings of a resolved dataset, of some subjects or of all."""
    names = sorted(name for name in files if name.endswith("_sw.csv"))
    if subjects is not None:
        wanted = set(subjects)
        names = [name for name in names if Path(name).parent.name in wanted]
    return [read(name, files[name].read_bytes()) for name in names]


def label_windows(event: np.ndarray, rule: str = "last") -> np.ndarray:
    """Class of windows that may hold both idleness and an event.

    Parameters
    ----------
    event : ndarray of bool, shape (windows, samples)
        State of every sample.
    rule : {"last", "majority", "any"}
        An event if the last sample is (a gate asks whether the wearer is active now), if more than
        half of the samples are, or if any is.

    Returns
    -------
    ndarray of int64, shape (windows,)
        0 idle, 1 event.

    Examples
    --------
    >>> mixed = np.array([[True, False, False]])
    >>> [int(label_windows(mixed, rule)[0]) for rule in RULES]
    [0, 0, 1]
    """
    known(rule, RULES, "rule for mixed windows")
    chosen = {
        "majority": event.mean(axis=1) > 0.5,
        "any": event.any(axis=1),
        "last": event[:, -1],
    }[rule]
    return chosen.astype(np.int64)


def event_windows(recordings: Iterable[Recording], *, rule: str = "last", hop: int = 25) -> Windows:
    """Windows of three seconds (section 2.1) of all recordings.

    Parameters
    ----------
    recordings : iterable of Recording
        At 50 Hz.
    rule : str
        See :func:`label_windows`. An execution sits for about a second before and after it moves,
        so by majority about one window in a hundred is idle.
    hop : int
        Samples between windows.
    """
    parts = []
    for recording in recordings:
        first = starts(len(recording.imu), EVENT_SAMPLES, hop)
        labels = label_windows(cut(recording.event, first, EVENT_SAMPLES), rule)
        subject, name = (np.repeat(n, len(first)) for n in (recording.subject, recording.name))
        windows = cut(recording.imu, first, EVENT_SAMPLES)
        parts.append(Windows(windows, labels, subject, name, EVENT_CLASSES))
    return join(parts)


def prolonged(recording: Recording, samples: int) -> Recording:
    """Prolong both ends of a recording by playing the idle stretch at each to and fro.

    That makes idle windows of real samples in an order that never was. Ends that move stay as they
    are.
    """
    imu, event = recording.imu, recording.event
    for _ in range(2):  # the end, then, turned round, the beginning
        imu, event = imu[::-1], event[::-1]
        idle = int(np.argmax(event)) if event.any() else len(event)
        if idle > 1:
            # The last of what is put in front touches the first sample that was there.
            there_and_back = np.concatenate([imu[1:idle], imu[: idle - 1][::-1]])
            wanted = np.resize(there_and_back, (samples, imu.shape[1]))[::-1]
            imu = np.concatenate([wanted, imu])
            event = np.concatenate([np.zeros(samples, dtype=bool), event])
    return replace(recording, imu=imu, event=event)
