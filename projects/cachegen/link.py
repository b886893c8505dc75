"""A network link whose rate changes over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Link:
    """A link with a piecewise constant rate; after the last piece it begins again.

    Attributes
    ----------
    seconds : ndarray, shape (n,)
        Length of each piece [s], positive.
    rates : ndarray, shape (n,)
        Rate of each piece [bytes/s], not negative, not all zero.

    Examples
    --------
    >>> link = Link.constant(100.0)
    >>> link.finish(0.0, 250)
    2.5
    """

    seconds: np.ndarray
    rates: np.ndarray

    def __post_init__(self) -> None:
        seconds, rates = np.asarray(self.seconds, float), np.asarray(self.rates, float)
        if seconds.shape != rates.shape or seconds.ndim != 1 or not len(seconds):
            raise ValueError(f"a link needs pieces: {seconds.shape} lengths, {rates.shape} rates")
        for which, bad in (("length", ~(seconds > 0)), ("rate", ~(rates >= 0))):
            bad |= ~np.isfinite(seconds if which == "length" else rates)
            if bad.any():
                row = int(np.argmax(bad))
                raise ValueError(
                    f"piece {row} of the link has length {seconds[row]:g} s and rate "
                    f"{rates[row]:g} bytes/s; lengths are positive, rates not negative"
                )
        if not rates.any():
            raise ValueError("every piece of the link has rate 0: nothing would ever arrive")
        object.__setattr__(self, "seconds", seconds)
        object.__setattr__(self, "rates", rates)

    @classmethod
    def constant(cls, rate: float) -> Link:
        """Return a link of one rate [bytes/s]."""
        return cls(np.array([1.0]), np.array([rate]))

    @classmethod
    def from_trace(cls, times: Sequence[float], megabits: Sequence[float]) -> Link:
        """Build a link from a trace of throughput.

        Parameters
        ----------
        times : sequence of float
            Time of each reading [s], increasing; a rate holds until the next reading, the last one
            as long as the median of the others.
        megabits : sequence of float
            Throughput [Mbit/s].

        Raises
        ------
        ValueError
            If times do not increase or a throughput is negative or NaN; names the row.
        """
        times, megabits = np.asarray(times, float), np.asarray(megabits, float)
        if len(times) != len(megabits) or len(times) < 2:
            raise ValueError(
                f"a trace needs two readings or more, got {len(times)} times and "
                f"{len(megabits)} rates"
            )
        gaps = np.diff(times)
        if not (gaps > 0).all():
            row = int(np.argmax(~(gaps > 0))) + 1
            raise ValueError(f"times must increase; row {row} is {times[row]:g} s")
        return cls(np.append(gaps, np.median(gaps)), megabits * 1e6 / 8)

    @property
    def mean_rate(self) -> float:
        """Mean rate over time [bytes/s]."""
        return float(np.average(self.rates, weights=self.seconds))

    def scaled(self, factor: float) -> Link:
        """Return the link with every rate multiplied by a factor."""
        return Link(self.seconds, self.rates * factor)

    def starting_at(self, time: float) -> Link:
        """Return the link as it is from a moment on.

        Examples
        --------
        >>> Link(np.array([1.0, 1.0]), np.array([8.0, 2.0])).starting_at(1.5).rates.tolist()
        [2.0, 8.0, 2.0]
        """
        ends = np.cumsum(self.seconds)
        offset = time % ends[-1]
        piece = min(int(np.searchsorted(ends, offset, side="right")), len(ends) - 1)
        order = np.roll(np.arange(len(ends)), -piece)
        seconds, rates = self.seconds[order], self.rates[order]
        passed = offset - (ends[piece] - self.seconds[piece])
        if passed <= 0:
            return Link(seconds, rates)
        seconds = np.append(seconds, passed)
        seconds[0] -= passed
        return Link(seconds, np.append(rates, rates[0]))

    def sent_by(self, time: float) -> float:
        """Bytes that a sender who never pauses has sent by a moment."""
        ends, sent = self._cumulated
        rounds, rest = divmod(time, ends[-1])
        return float(rounds * sent[-1] + np.interp(rest, ends, sent))

    def finish(self, start: float, size: float) -> float:
        """When a transfer of ``size`` bytes that begins at ``start`` has arrived [s]."""
        ends, sent = self._cumulated
        goal = self.sent_by(start) + size
        rounds, rest = divmod(goal, sent[-1])
        if rest == 0 and rounds > 0:
            rounds, rest = rounds - 1, sent[-1]
        # Within a piece of rate 0 nothing arrives: take the first moment with enough.
        piece = int(np.searchsorted(sent, rest, side="left"))
        if piece == 0:
            return max(start, float(rounds * ends[-1]))
        share = (rest - sent[piece - 1]) / (sent[piece] - sent[piece - 1])
        within = ends[piece - 1] + share * (ends[piece] - ends[piece - 1])
        return max(start, float(rounds * ends[-1] + within))

    @property
    def _cumulated(self) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the pieces [s] and bytes sent by then, both from 0."""
        ends = np.concatenate([[0.0], np.cumsum(self.seconds)])
        return ends, np.concatenate([[0.0], np.cumsum(self.seconds * self.rates)])
