"""What every pair of network and setting would do next: deadline, accuracy, energy.

Pure functions of the slow-down factor xi ~ N(mu, sd^2). Time is xi t_prof for every pair, which is
the idea of the paper: one random variable speaks for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from projects.alert.normal import cdf, density, nearest, positive_part
from projects.alert.profile import ProfileTable

# A product with an array without dimensions takes numpy half the time of one with a float, and a
# decision is forty of them on a thousand numbers.
_HALF = np.array(0.5)


class Estimates(NamedTuple):
    """Predictions for N pairs, each of shape (..., N).

    Attributes
    ----------
    p_output : ndarray
        Probability of an output at the deadline; 0 or 1 where xi is taken as known.
    accuracy : ndarray
        Expected accuracy of what is there at the deadline.
    energy : ndarray
        Joules over the whole period, the idle rest included.
    """

    p_output: np.ndarray
    accuracy: np.ndarray
    energy: np.ndarray

    @property
    def on_time(self) -> np.ndarray:
        """Whether the first output is expected by the deadline: mu t <= T, so Pr >= 1/2."""
        return self.p_output >= _HALF


@dataclass(frozen=True, eq=False)
class Candidates:
    """All pairs (i, j) of a profile in one row, the faster before the slower.

    The order settles ties: of equal pairs the first is taken, which is the faster one and then the
    one that stands first in the profile.

    Attributes
    ----------
    model, setting : ndarray, shape (N,)
        Index i of the network and j of the setting.
    ends : ndarray, shape (N + S' A,)
        Profiled seconds to the end of the first stage of each pair, then to the end of each of the
        S' further stages of the A anytime pairs.
    last : ndarray, shape (N,)
        Profiled seconds to the end of the last stage.
    gain : ndarray, shape (N + S' A,)
        Accuracy that each of these stages adds, the first to that of having no output.
    power : ndarray, shape (N,)
        Watts while running.
    anytime : ndarray of int, shape (A,)
        Places of the anytime pairs.
    fail : float
        Accuracy of having no output.
    """

    model: np.ndarray
    setting: np.ndarray
    ends: np.ndarray
    last: np.ndarray
    gain: np.ndarray
    power: np.ndarray
    anytime: np.ndarray
    fail: float

    @classmethod
    def of(cls, profile: ProfileTable) -> Candidates:
        """Lay out a profile."""
        order = np.argsort(profile.final_latency, axis=None, kind="stable")
        i, j = (index[order] for index in np.indices(profile.power.shape).reshape(2, -1))
        last = profile.final_latency[i, j]
        anytime = np.flatnonzero(profile.is_anytime[i])
        a, b = i[anytime], j[anytime]
        # A shallower network's missing stages end with its last one and add nothing.
        later = profile.latency[a, 1:, b]
        later = np.where(np.isnan(later), last[anytime, None], later)
        added = np.nan_to_num(np.diff(profile.accuracy[a], axis=1))
        return cls(
            i,
            j,
            np.concatenate([profile.latency[i, 0, j], later.T.ravel()]),
            last,
            np.concatenate([profile.accuracy[i, 0] - profile.fail_accuracy, added.T.ravel()]),
            profile.power[i, j],
            anytime,
            profile.fail_accuracy,
        )

    def __len__(self) -> int:
        return len(self.last)

    @cached_property
    def earliest(self) -> int:
        """Place of the pair with the earliest first output."""
        return int(self.ends[: len(self)].argmin())

    def expect(self, mu: Any, sd: Any, phi: Any, deadline: Any) -> Estimates:
        """Expectations over xi (steps 4 to 6).

        An anytime network stops at the deadline, so its running time is E[min(max(xi, 0) t, T)], in
        closed form; a traditional one runs to its end, mu t.

        Parameters
        ----------
        mu, sd, phi, deadline : float or ndarray of shape (G, 1)
            Mean and standard deviation of xi, idle ratio, T_goal in seconds.
        """
        z = nearest(self._rates, deadline / sd, -mu / sd)
        p = cdf(z)
        run = self.last * np.asarray(mu)
        if count := len(self.anytime):
            # The last stage ends E[(T - xi t)+] = (T - mu t) Phi(z) + sd t phi(z) before the
            # deadline. A normal xi may fall below zero, a time may not: that part is taken off.
            among = self._anytime_in(run)
            early = np.asarray(deadline) - run[among]
            early *= p[..., -count:]
            spread = density(z[..., -count:])
            spread -= np.asarray(positive_part(-mu / sd))
            spread *= self._longest
            spread *= np.asarray(sd)
            early += spread
            run[among] = np.asarray(deadline) - early
        return self._estimates(p, run, phi, deadline)

    def at(self, xi: Any, phi: Any, deadline: Any) -> Estimates:
        """Outcome for a known xi: its mean, a quantile of it, or the truth (the Oracle's).

        Parameters
        ----------
        xi, phi, deadline : float or ndarray of shape (G, 1)
            xi may also have shape (G, N).
        """
        run = np.minimum(xi * self.last, deadline * self._cuts)
        done = (self._spread(xi) * self.ends <= deadline).astype(float)
        return self._estimates(done, run, phi, deadline)

    @cached_property
    def _rates(self) -> np.ndarray:
        return 1 / self.ends

    @cached_property
    def _fail(self) -> np.ndarray:
        return np.array(self.fail)

    @cached_property
    def _longest(self) -> np.ndarray:
        return self.last[self.anytime]

    @cached_property
    def _cuts(self) -> np.ndarray:
        """Deadlines after which a run is stopped: one for anytime pairs, else infinitely many."""
        cuts = np.full(len(self), np.inf)
        cuts[self.anytime] = 1.0
        return cuts

    def _anytime_in(self, values: np.ndarray) -> Any:
        """Index of the anytime pairs; a plain one where it can be, which numpy is faster with."""
        return self.anytime if values.ndim == 1 else (..., self.anytime)

    def _spread(self, xi: Any) -> Any:
        """Repeat xi of every pair for its further stages."""
        if np.ndim(xi) == 0 or np.shape(xi)[-1] == 1:
            return xi
        stages = (len(self.ends) - len(self)) // max(len(self.anytime), 1)
        return np.concatenate([xi, *[xi[..., self.anytime]] * stages], axis=-1)

    def _estimates(self, done: np.ndarray, run: np.ndarray, phi: Any, deadline: Any) -> Estimates:
        """Put together from the probability that each stage is done by the deadline."""
        n = len(self.last)
        gained = done * self.gain
        accuracy = gained[..., :n]
        accuracy += self._fail
        if count := len(self.anytime):
            later = gained[..., n : n + count]
            for first in range(n + count, gained.shape[-1], count):
                later += gained[..., first : first + count]
            accuracy[self._anytime_in(accuracy)] += later
        energy = run * np.asarray(1 - phi)
        energy += np.asarray(phi * deadline)
        np.maximum(energy, run, out=energy)  # phi <= 1: run + phi max(T - run, 0)
        energy *= self.power
        return Estimates(done[..., :n], accuracy, energy)
