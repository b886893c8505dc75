"""The runtime on the watch: chunks of motion and sound in, events out (section 2.8).

The detector looks at three seconds of motion once a second. While it sees an event the classifier
looks at one second of motion and sound every fifth of a second; its probabilities are averaged
exponentially from the beginning of the event. Memory is allocated once.

Time is counted in samples of motion since the stream began; the sound that belongs to a window of
motion is centred in it, so it begins and ends 25 ms inside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from common.errors import known
from projects.watchhar.detector import SAMPLES as DETECTOR_SAMPLES
from projects.watchhar.detector import Hysteresis
from projects.watchhar.open_set import energy, softmax
from projects.watchhar.pipeline import Models
from projects.watchhar.resampling import IMU_RATE, Decimator, Resampler, check_rate
from projects.watchhar.ring import Ring
from projects.watchhar.signal_checks import (
    NAN_POLICIES,
    check_audio,
    check_finite,
    check_imu,
    check_units,
)

AXES, IMU_SAMPLES, AUDIO_SAMPLES = 6, 50, 950
AUDIO_RATE = 1000
STEP = AUDIO_RATE // int(IMU_RATE)  # samples of audio per sample of motion
MARGIN = (IMU_SAMPLES * STEP - AUDIO_SAMPLES) // 2
UNKNOWN = "unknown"
DRIFT = 0.02  # seconds by which audio may be off its place before it counts as a gap
NOTHING = np.empty(0, np.float32)
AHEAD = 2  # seconds by which audio may be ahead of motion


@dataclass(frozen=True)
class Settings:
    """How the runtime decides.

    Attributes
    ----------
    detector_hop, hop : int
        Samples of motion between windows of the detector and of the classifier; the first is a
        multiple of the second.
    on, off, patience : float, float, int
        Of the detector's :class:`~projects.watchhar.detector.Hysteresis`.
    alpha : float
        Weight of the newest probabilities in their average.
    wait : int
        Samples of motion to wait for late sound before motion alone decides.
    temperature : float
        Divides the logits (calibration).
    max_energy : float, optional
        Energy above which the label is ``"unknown"`` (open-set rejection).
    nan : {"refuse", "hold"}
        What to do with NaN and infinity.
    """

    detector_hop: int = 50
    hop: int = 10
    on: float = 0.5
    off: float = 0.3
    patience: int = 2
    alpha: float = 0.35
    wait: int = 50
    temperature: float = 1.0
    max_energy: float | None = None
    nan: str = "refuse"

    def __post_init__(self) -> None:
        known(self.nan, NAN_POLICIES, "policy for NaN")
        if self.hop < 1 or self.detector_hop % self.hop or DETECTOR_SAMPLES % self.hop:
            raise ValueError(
                f"detector_hop={self.detector_hop}, hop={self.hop}; hop has to divide it and "
                f"{DETECTOR_SAMPLES}"
            )
        if not 0 < self.alpha <= 1:
            raise ValueError(f"alpha is {self.alpha}; allowed is above 0 and at most 1")


@dataclass(frozen=True, slots=True)
class Event:
    """What the runtime says: an event starts, an activity is seen, the event ends.

    Attributes
    ----------
    kind : str
    time : float
        End of the window that decided, in seconds since the stream began, or in the caller's time
        where timestamps are given.
    label, probability : str and float
        Activity and its averaged probability; for ``start`` and ``end`` the detector's.
    modality : str
        ``both``, or ``imu`` where the microphone was missing.
    """

    kind: Literal["start", "activity", "end"]
    time: float
    label: str = ""
    probability: float = 0.0
    modality: str = ""


class WatchHARPipeline:
    """Event detector, gated microphone and classifier over live streams.

    Parameters
    ----------
    models : Models
        Both stages: ``TorchModels`` or ``OnnxModels``.
    classes : sequence of str
        Names of the classifier's logits.
    imu_rate : float
        Nominal rate of motion without timestamps; within 5 % of 50 Hz it is resampled.
    audio_rate : int
        A multiple of 1 kHz.
    low_pass : bool
        Filter audio before it is decimated; as in training.
    settings : Settings, optional

    Attributes
    ----------
    microphone_wanted : bool
        Whether to record now; the caller switches the microphone.

    Raises
    ------
    ValueError
        If a rate cannot be used.

    Examples
    --------
    >>> class Always:
    ...     def detect(self, imu):
    ...         return np.ones(len(imu))
    ...     def classify(self, imu, audio):
    ...         return np.zeros((len(imu), 2)) + [0.0, 1.0]
    >>> pipeline = WatchHARPipeline(Always(), ["chopping", "wiping"])
    >>> still = np.tile([0, 0, 9.81, 0, 0, 0], (155, 1))
    >>> [(e.kind, e.label) for e in pipeline.stream(still, np.full(3100, 0.1))]
    [('start', ''), ('activity', 'wiping')]
    """

    def __init__(
        self,
        models: Models,
        classes: Sequence[str],
        *,
        imu_rate: float = IMU_RATE,
        audio_rate: int = AUDIO_RATE,
        low_pass: bool = False,
        settings: Settings | None = None,
    ) -> None:
        check_rate(imu_rate, IMU_RATE)
        if audio_rate % AUDIO_RATE:
            raise ValueError(
                f"audio_rate is {audio_rate} Hz; pass a multiple of {AUDIO_RATE} Hz, such as 16000"
            )
        self.models, self.classes = models, tuple(classes)
        self.settings = settings = settings or Settings()
        self.imu_rate, self.audio_rate = imu_rate, audio_rate
        held = DETECTOR_SAMPLES + settings.wait + 2 * settings.hop
        self._imu = Ring(held, AXES)
        self._audio = Ring((held + 1) * STEP + AHEAD * AUDIO_RATE)
        self._decimator = Decimator(audio_rate // AUDIO_RATE, low_pass=low_pass)
        self._switch = Hysteresis(settings.on, settings.off, settings.patience)
        self.reset()

    def reset(self) -> None:
        """Forget the streams, as before the first chunk."""
        self._resampler, self._timed, self._samples = Resampler(IMU_RATE), None, 0
        self._last_motion, self._last_sound = np.zeros(AXES, np.float32), np.float32(0)
        self._recording, self._missing, self._units_known = False, False, False
        self._heard_from, self._heard = 0, 0  # place of the first sample, samples since
        self._audio.restart(0)
        self._imu.restart(0)
        self._switch.reset()
        self._begin(0)

    @property
    def microphone_wanted(self) -> bool:
        """Whether the caller should record sound now."""
        return self._switch.active

    def stream(
        self,
        imu: ArrayLike,
        audio: ArrayLike | None = None,
        *,
        imu_time: ArrayLike | None = None,
        audio_time: float | None = None,
    ) -> list[Event]:
        """Take the next chunk of each sensor, of any length, and return what follows from it.

        Parameters
        ----------
        imu : array_like, shape (n, 6)
            m/s2 and rad/s.
        audio : array_like, shape (m,) or (m, channels), or None
            Sound since the last chunk, int16 or in [-1, 1]. None means that the microphone is
            off; an empty array that nothing has arrived yet.
        imu_time : array_like of float, shape (n,), optional
            Seconds, in every call or in none. After a gap of more than 0.1 s everything but the
            clock begins anew.
        audio_time : float, optional
            Time of the first sample of ``audio`` on the same clock. Without it audio goes on
            where it ended, or begins with the motion of this call if the microphone was off.

        Raises
        ------
        ValueError
            If a chunk has a wrong shape, unit, range or rate, or holds NaN (``nan="refuse"``).
        """
        motion, sound = self._checked(imu, audio)
        events: list[Event] = []
        stretches = self._on_grid(motion, imu_time)
        sound = self._placed(sound, audio_time, stretches)
        for place, stretch in stretches:
            if place is not None:
                events += self._begin(place)
            for k in range(0, len(stretch), self.settings.hop):
                self._imu.push(stretch[k : k + self.settings.hop])
                sound = self._listen(sound, self._imu.end * STEP)
                events += self._advance()
        sound = self._listen(sound, self._imu.end * STEP + AHEAD * AUDIO_RATE)
        if len(sound):
            raise ValueError(f"audio is more than {AHEAD} s ahead of motion; pass both in step")
        return [*events, *self._advance()]

    def _checked(
        self, imu: ArrayLike, audio: ArrayLike | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Both chunks without broken samples; only when both pass are they remembered."""
        nan, sound = self.settings.nan, None
        motion = check_finite(check_imu(imu), self._last_motion, nan, "motion")
        if audio is not None:
            sound = check_finite(check_audio(audio), self._last_sound, nan, "audio")
            self._last_sound = sound[-1] if len(sound) else self._last_sound
        self._last_motion = motion[-1].copy() if len(motion) else self._last_motion
        return motion, sound

    # -- where samples belong --------------------------------------------------------------

    def _on_grid(
        self, motion: np.ndarray, times: ArrayLike | None
    ) -> list[tuple[int | None, np.ndarray]]:
        """Stretches of motion at 50 Hz, with their place where they do not go on."""
        if self._timed not in (None, times is not None):
            raise ValueError("imu_time was passed in some calls only; pass it in all or in none")
        if not len(motion):
            return []
        self._timed = times is not None
        first, self._samples = self._samples, self._samples + len(motion)
        if times is None and self.imu_rate == IMU_RATE:
            return [(None, motion)]
        if times is None:
            times = np.arange(first, self._samples) / self.imu_rate
        return self._resampler.push(motion, times)

    def _placed(
        self,
        sound: np.ndarray | None,
        time: float | None,
        stretches: list[tuple[int | None, np.ndarray]],
    ) -> np.ndarray:
        """Decimated sound, after the ring was told where it begins if it does not go on."""
        if sound is None:
            self._recording = False
            return NOTHING
        place = self._imu.end
        if stretches and stretches[0][0] is not None:
            place = stretches[0][0]
        place *= STEP
        if time is not None:
            if self._resampler.origin is None:
                raise ValueError("audio_time needs imu_time, in this call or before, as its clock")
            place = round((time - self._resampler.origin) * AUDIO_RATE)
            heard = self._heard_from + self._heard * AUDIO_RATE / self.audio_rate
            self._recording &= abs(place - heard) <= DRIFT * AUDIO_RATE
        if not self._recording:
            self._recording, self._heard_from, self._heard = True, place, 0
            self._audio.restart(place)
            self._decimator.reset()
        self._heard += len(sound)
        return self._decimator.push(sound)

    def _listen(self, sound: np.ndarray, until: int) -> np.ndarray:
        """Write sound up to a place; return the rest."""
        due = max(0, until - self._audio.end)
        self._audio.push(sound[:due])
        return sound[due:]

    # -- what follows from them ------------------------------------------------------------

    def _begin(self, place: int) -> list[Event]:
        """Begin a stretch of motion; an event that was on ends where the last stretch stopped."""
        ended = [Event("end", self._seconds(self._imu.end))] if self._switch.active else []
        self._imu.restart(place)
        self._switch.reset()
        self._next, self._detected = place + DETECTOR_SAMPLES, -1
        self._mean: np.ndarray | None = None
        return ended

    def _advance(self) -> Iterator[Event]:
        """Evaluate every window that is complete, in order, up to one that waits for sound."""
        while self._next <= self._imu.end:
            since = self._next - self._imu.start - DETECTOR_SAMPLES
            if self._next != self._detected and since % self.settings.detector_hop == 0:
                self._detected = self._next
                yield from self._detect(self._next)
            if self._switch.active:
                first = self._next * STEP - IMU_SAMPLES * STEP + MARGIN
                last = self._next * STEP - MARGIN
                if self._waits(last):
                    return
                if self._missing:
                    yield self._classify(self._next, None)
                elif self._audio.start <= first:  # else the microphone has only just started
                    yield self._classify(self._next, self._audio.window(first, last))
            self._next += self.settings.hop

    def _detect(self, place: int) -> Iterator[Event]:
        window = self._imu.window(place - DETECTOR_SAMPLES, place)
        if not self._units_known:
            check_units(window)
            self._units_known = True
        probability = float(self.models.detect(window[None])[0])
        before, active = self._switch.active, self._switch.update(probability)
        if active != before:
            self._mean, self._missing = None, False
            yield Event("start" if active else "end", self._seconds(place), "", probability)

    def _waits(self, last: int) -> bool:
        """Whether a window still waits for its sound; notes when none has come for too long."""
        if self._audio.end >= last:
            self._missing = False
            return False
        self._missing |= self._imu.end - self._next >= self.settings.wait
        return not self._missing

    def _classify(self, place: int, sound: np.ndarray | None) -> Event:
        # A microphone that is blocked delivers zeros.
        heard = sound[None] if sound is not None and sound.any() else None
        motion = self._imu.window(place - IMU_SAMPLES, place)[None]
        settings, logits = self.settings, self.models.classify(motion, heard)[0]
        if len(logits) != len(self.classes):
            raise ValueError(f"{len(self.classes)} class names for {len(logits)} logits")
        self._mean = averaged(softmax(logits, settings.temperature), self._mean, settings.alpha)
        best = int(self._mean.argmax())
        return Event(
            "activity",
            self._seconds(place),
            label_of(logits, self.classes[best], settings),
            float(self._mean[best]),
            "imu" if heard is None else "both",
        )

    def _seconds(self, place: int) -> float:
        return (self._resampler.origin or 0.0) + place / IMU_RATE


def averaged(new: np.ndarray, mean: np.ndarray | None, alpha: float) -> np.ndarray:
    """Exponential mean of probabilities; the first one stands for itself."""
    return new if mean is None else alpha * new + (1 - alpha) * mean


def label_of(logits: np.ndarray, label: str, settings: Settings) -> str:
    """Return the label, or "unknown" where the energy says that no class fits."""
    if settings.max_energy is None:
        return label
    return UNKNOWN if energy(logits, settings.temperature) > settings.max_energy else label
