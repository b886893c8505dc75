"""From the rates of the sensors to those of the models, for whole recordings and for streams."""

from __future__ import annotations

import itertools
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike

IMU_RATE = 50.0
TOLERANCE = 0.05  # part by which a sensor's rate may be off and is still resampled
GAP = 0.1  # seconds without a sample after which a stream begins anew
ROUNDING = 1e-6  # parts of a sample by which a time may miss the grid
REACH = 8  # samples of the result by which the low-pass reaches to either side


class Decimator:
    """Keep every ``factor``-th sample of a stream, with or without a low-pass (trap 2).

    The release takes every 16th sample as it is, so what lies above the new half rate folds into
    the result. ``low_pass`` removes it first with a symmetric filter: samples keep their place in
    time and come out ``REACH`` samples late.

    Parameters
    ----------
    factor : int
    low_pass : bool

    Examples
    --------
    >>> decimator = Decimator(4, low_pass=False)
    >>> [decimator.push(np.arange(i, i + 3.0)).tolist() for i in (0, 3, 6)]
    [[0.0], [4.0], [8.0]]
    """

    def __init__(self, factor: int, *, low_pass: bool) -> None:
        if factor < 1:
            raise ValueError(f"factor is {factor}; it has to be at least 1")
        self.factor = factor
        self.taps = _low_pass(factor) if low_pass and factor > 1 else np.ones(1)
        self.reset()

    def reset(self) -> None:
        """Begin anew, as after a gap."""
        self._waiting, self._skip = np.zeros(len(self.taps) // 2), 0

    def push(self, chunk: np.ndarray) -> np.ndarray:
        """Take samples of shape (n,), return those that are due."""
        waiting = np.concatenate([self._waiting, chunk[self._skip :]])
        skipped = min(self._skip, len(chunk))
        due = max(0, (len(waiting) - len(self.taps)) // self.factor + 1)
        used = due * self.factor
        self._waiting = waiting[used:].copy()
        self._skip += max(0, used - len(waiting)) - skipped
        if len(self.taps) == 1:
            return waiting[:: self.factor]
        if not due:
            return waiting[:0]
        return sliding_window_view(waiting, len(self.taps))[:: self.factor][:due] @ self.taps


def decimate(audio: ArrayLike, factor: int, *, low_pass: bool = True) -> np.ndarray:
    """Decimate a whole recording of shape (n,) to ceil(n / factor) samples.

    Examples
    --------
    >>> decimate([0, 1, 2, 3, 4], 2, low_pass=False).tolist()
    [0.0, 2.0, 4.0]
    """
    decimator = Decimator(factor, low_pass=low_pass)
    after = np.zeros(len(decimator.taps) // 2)
    return decimator.push(np.concatenate([np.asarray(audio, float), after]))


class Resampler:
    """Bring motion with timestamps to a regular grid by linear interpolation.

    The grid begins with the first sample and goes on through gaps, so a sample's number says when
    it was.

    Parameters
    ----------
    rate : float
        Of the grid, in hertz.

    Attributes
    ----------
    origin : float or None
        Time of sample 0.

    Examples
    --------
    >>> resampler = Resampler(50)
    >>> resampler.push(np.array([[0.0], [1.0], [2.0]]), np.array([0, 0.02, 0.04]))
    [(0, array([[0.], [1.], [2.]]))]
    """

    def __init__(self, rate: float = IMU_RATE) -> None:
        self.rate = rate
        self.origin: float | None = None

    def push(self, values: np.ndarray, times: np.ndarray) -> list[tuple[int | None, np.ndarray]]:
        """Take samples (n, c) with times (n,) in seconds; return stretches on the grid.

        Returns
        -------
        list of tuple
            Number of the first sample where a stretch begins anew (at the first sample and after
            a gap), else None; and the samples that are due, shape (m, c).

        Raises
        ------
        ValueError
            If times do not increase, or the measured rate is off by more than 5 %.
        """
        times = np.asarray(times, float)
        if times.shape != values.shape[:1]:
            raise ValueError(f"{len(values)} samples of motion, but times of shape {times.shape}")
        if not len(times):
            return []
        steps = np.diff(times, prepend=-np.inf if self.origin is None else self._time)
        if not (steps > 0).all():
            place = int(np.argmin(steps > 0))
            raise ValueError(f"times do not increase: {times[place]} at sample {place} of a chunk")
        cuts = np.unique([0, *np.flatnonzero(steps > GAP), len(times)])
        return [
            self._stretch(values[first:last], times[first:last], fresh=steps[first] > GAP)
            for first, last in itertools.pairwise(cuts)
        ]

    def _stretch(
        self, values: np.ndarray, times: np.ndarray, *, fresh: bool
    ) -> tuple[int | None, np.ndarray]:
        if fresh:
            self.origin = times[0] if self.origin is None else self.origin
            self._next = int(np.ceil((times[0] - self.origin) * self.rate - ROUNDING))
            self._begin, self._count = times[0], -1
        else:
            times = np.concatenate([[self._time], times])
            values = np.concatenate([self._value[None], values])
        place = self._next if fresh else None
        self._count += len(times) - (not fresh)
        elapsed = times[-1] - self._begin
        if elapsed >= 1:
            check_rate(self._count / elapsed, self.rate)
        self._time, self._value = times[-1], values[-1]
        end = int(np.floor((times[-1] - self.origin) * self.rate + ROUNDING)) + 1
        grid = self.origin + np.arange(self._next, end) / self.rate
        self._next = max(self._next, end)
        return place, np.stack([np.interp(grid, times, column) for column in values.T], axis=1)


def resample(values: ArrayLike, times: ArrayLike, rate: float = IMU_RATE) -> np.ndarray:
    """Bring a whole recording (n, c) without gaps to a regular rate.

    Raises
    ------
    ValueError
        If there is a gap, times do not increase, or the measured rate is off by more than 5 %.
    """
    stretches = Resampler(rate).push(np.asarray(values, float), np.asarray(times, float))
    if len(stretches) > 1:
        raise ValueError(
            f"motion has {len(stretches) - 1} gaps of more than {GAP} s, the first "
            f"{stretches[1][0] / rate:g} s after its beginning; split the recording there"
        )
    return stretches[0][1] if stretches else np.asarray(values, float)


def halve(values: np.ndarray) -> np.ndarray:
    """Low-pass a recording (n, c) and keep every second sample of it.

    The line from the first to the last sample is taken out meanwhile, so that the filter sees ends
    near zero: what SciPy's ``resample_poly`` does with ``padtype="line"``, whose import takes
    longer than a whole data set.
    """
    taps = windowed_sinc(0.5, np.kaiser(41, 5.0))
    line = np.linspace(values[0], values[-1], len(values))
    reach = len(taps) // 2
    filtered = [np.convolve(c, taps)[reach : reach + len(values)] for c in (values - line).T]
    return (np.stack(filtered, axis=1) + line)[::2]


def windowed_sinc(cutoff: float, window: np.ndarray) -> np.ndarray:
    """Symmetric low-pass of gain 1 at 0 Hz; ``cutoff`` in units of half the sample rate.

    Examples
    --------
    >>> windowed_sinc(0.5, np.ones(3)).round(3).tolist()
    [0.28, 0.44, 0.28]
    """
    taps = window * np.sinc(cutoff * (np.arange(len(window)) - len(window) // 2))
    return taps / taps.sum()


def check_rate(measured: float, expected: float) -> None:
    """Refuse a sample rate that is off by more than 5 %.

    Examples
    --------
    >>> check_rate(100.2, 50)
    Traceback (most recent call last):
    ...
    ValueError: measured sample rate 100.2 Hz, expected 50 Hz within 5 %; resample the ...
    """
    if abs(measured / expected - 1) > TOLERANCE:
        raise ValueError(
            f"measured sample rate {measured:.1f} Hz, expected {expected:g} Hz within "
            f"{100 * TOLERANCE:g} %; resample the recording first"
        )


@lru_cache
def _low_pass(factor: int) -> np.ndarray:
    taps = windowed_sinc(0.9 / factor, np.hamming(2 * REACH * factor + 1))
    taps.setflags(write=False)  # shared by all decimators
    return taps
