"""Both stages over a whole recording at once: what the stream has to equal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike

from projects.watchhar.detector import SAMPLES as DETECTOR_SAMPLES
from projects.watchhar.detector import Hysteresis
from projects.watchhar.open_set import softmax
from projects.watchhar.pipeline import Models
from projects.watchhar.resampling import IMU_RATE
from projects.watchhar.signal_checks import check_audio, check_finite, check_imu, check_units
from projects.watchhar.streaming import (
    AUDIO_RATE,
    AUDIO_SAMPLES,
    IMU_SAMPLES,
    MARGIN,
    STEP,
    Event,
    Settings,
    averaged,
    label_of,
)


def classify_recording(
    models: Models,
    classes: Sequence[str],
    imu: ArrayLike,
    audio: ArrayLike | None = None,
    *,
    settings: Settings | None = None,
) -> list[Event]:
    """Events of a recording whose sound was on all the time.

    All windows of a stage go through the model as one batch.

    Parameters
    ----------
    models : Models
    classes : sequence of str
    imu : array_like, shape (n, 6)
        At 50 Hz, m/s2 and rad/s.
    audio : array_like, shape (20 * n,), optional
        At 1 kHz; silence counts as sound here.
    settings : Settings, optional

    Raises
    ------
    ValueError
        If the recording is shorter than a window of the detector, or lacks sound at its end.
    """
    settings = settings or Settings()
    motion = check_finite(check_imu(imu), np.zeros(6, np.float32), settings.nan, "motion")
    if len(motion) < DETECTOR_SAMPLES:
        raise ValueError(
            f"{len(motion)} samples of motion; a window of the detector takes {DETECTOR_SAMPLES}"
        )
    check_units(motion[:DETECTOR_SAMPLES])
    ends = np.arange(DETECTOR_SAMPLES, len(motion) + 1, settings.hop)
    detected = ends[:: settings.detector_hop // settings.hop]
    probabilities = models.detect(_windows(motion, detected, DETECTOR_SAMPLES))
    switch = Hysteresis(settings.on, settings.off, settings.patience)
    active = [switch.update(float(p)) for p in probabilities]
    running = ends[np.repeat(active, settings.detector_hop // settings.hop)[: len(ends)]]
    logits, modality = _logits(models, motion, audio, running, settings)
    activities = dict(zip(running.tolist(), logits, strict=True))
    events: list[Event] = []
    mean, before = None, False
    for place in ends.tolist():
        time, turn = place / IMU_RATE, np.flatnonzero(detected == place)
        if turn.size and active[turn[0]] != before:
            mean, before = None, active[turn[0]]
            kind = "start" if before else "end"
            events.append(Event(kind, time, "", float(probabilities[turn[0]])))
        if place in activities:
            row = activities[place]
            mean = averaged(softmax(row, settings.temperature), mean, settings.alpha)
            best = int(mean.argmax())
            label = label_of(row, classes[best], settings)
            events.append(Event("activity", time, label, float(mean[best]), modality))
    return events


def _logits(
    models: Models,
    motion: np.ndarray,
    audio: ArrayLike | None,
    ends: np.ndarray,
    settings: Settings,
) -> tuple[np.ndarray, str]:
    """Logits of the windows that end at the given samples, and from what they are."""
    modality = "imu" if audio is None else "both"
    if not len(ends):
        return np.empty((0, 0)), modality
    windows = _windows(motion, ends, IMU_SAMPLES)
    if audio is None:
        return models.classify(windows, None), modality
    sound = check_finite(check_audio(audio), np.float32(0), settings.nan, "audio")
    last = ends * STEP - MARGIN
    if len(sound) < last[-1]:
        raise ValueError(
            f"{len(sound)} samples of audio, but motion needs {last[-1]} at {AUDIO_RATE} Hz"
        )
    return models.classify(windows, _windows(sound, last, AUDIO_SAMPLES)), modality


def _windows(signal: np.ndarray, ends: np.ndarray, length: int) -> np.ndarray:
    """Windows of the given length that end before ``ends``, shape (len(ends), length, ...)."""
    windows = sliding_window_view(signal, length, axis=0)[ends - length]
    return np.moveaxis(windows, -1, 1)
