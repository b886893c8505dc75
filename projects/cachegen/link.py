"""A network link whose rate changes over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

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
        return float(self.arrivals(start, np.array([size]))[0])

    def arrivals(self, start: float, sizes: np.ndarray, first: int = 0) -> np.ndarray:
        """When each of several transfers, one behind the other, has arrived [s].

        Parameters
        ----------
        start : float
            When the first begins [s].
        sizes : ndarray, shape (n,) or (n, k)
            Bytes of each; columns are alternatives.
        first : int
            Number of the first chunk; of no matter here, the rate depends on time.
        """
        ends, sent = self._cumulated
        goal = self.sent_by(start) + sizes.cumsum(axis=0)
        rounds, rest = np.divmod(goal, sent[-1])
        whole = (rest == 0) & (rounds > 0)
        rounds, rest = rounds - whole, np.where(whole, sent[-1], rest)
        # Within a piece of rate 0 nothing arrives: take the first moment with enough.
        piece = np.searchsorted(sent, rest, side="left")
        before = np.maximum(piece - 1, 0)
        amount = np.where(piece > 0, sent[piece] - sent[before], 1.0)
        share = (rest - sent[before]) / amount
        within = np.where(piece > 0, ends[before] + share * (ends[piece] - ends[before]), 0.0)
        return np.maximum(start, rounds * ends[-1] + within)

    @cached_property
    def _cumulated(self) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the pieces [s] and bytes sent by then, both from 0."""
        ends = np.concatenate([[0.0], np.cumsum(self.seconds)])
        return ends, np.concatenate([[0.0], np.cumsum(self.seconds * self.rates)])


@dataclass(frozen=True)
class RatePerChunk:
    """A link whose rate changes from chunk to chunk, as the artefact's traces describe it.

    A slow chunk takes as long as it takes, so slow rates weigh more than on a :class:`Link`.

    Attributes
    ----------
    rates : ndarray, shape (n,)
        Rate for each chunk [bytes/s], positive; after the last it begins again.

    Examples
    --------
    >>> RatePerChunk(np.array([10.0, 5.0])).arrivals(1.0, np.array([20.0, 20.0])).tolist()
    [3.0, 7.0]
    """

    rates: np.ndarray

    def __post_init__(self) -> None:
        rates = np.asarray(self.rates, float)
        good = np.isfinite(rates) & (rates > 0)
        if rates.ndim != 1 or not len(rates) or not good.all():
            raise ValueError(f"rates={self.rates}: one positive rate for each chunk")
        object.__setattr__(self, "rates", rates)

    def arrivals(self, start: float, sizes: np.ndarray, first: int = 0) -> np.ndarray:
        """When each of several chunks, one behind the other, has arrived [s]."""
        rates = self.rates[(first + np.arange(len(sizes))) % len(self.rates)]
        return start + (sizes.T / rates).T.cumsum(axis=0)
