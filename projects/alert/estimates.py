"""What every pair of network and setting would do next: deadline, accuracy, energy.

Pure functions of the slow-down factor xi ~ N(mu, sd^2). Time is xi t_prof for every pair, which is
the idea of the paper: one random variable speaks for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr

from projects.alert.profile import ProfileTable

_DENSITY = 1 / np.sqrt(2 * np.pi)


class Estimates(NamedTuple):
    """Predictions for N pairs, each of shape (..., N).

    Attributes
    ----------
    p_output : ndarray
        Probability of an output at the deadline.
    accuracy : ndarray
        Expected accuracy of what is there at the deadline.
    energy : ndarray
        Joules over the whole period, the idle rest included.
    output : ndarray
        Seconds to the first output.
    """

    p_output: np.ndarray
    accuracy: np.ndarray
    energy: np.ndarray
    output: np.ndarray


@dataclass(frozen=True, eq=False)
class Candidates:
    """All pairs (i, j) of a profile in one row: those of traditional networks, then anytime ones.

    Attributes
    ----------
    model, setting : ndarray, shape (N,)
        Index i of the network and j of the setting.
    rank : ndarray, shape (N,)
        Place of each pair by latency and then by its place in the profile, which settles ties.
    ends : ndarray, shape (N + S' A,)
        Profiled seconds to the end of the first stage of each pair, then to the end of each of the
        S' further stages of the A anytime pairs.
    last : ndarray, shape (N,)
        Profiled seconds to the end of the last stage.
    cut : ndarray, shape (N,)
        Deadlines after which a run is stopped: 1 for anytime pairs, infinity for traditional ones.
    gain : ndarray, shape (N,)
        Accuracy of the first stage above having no output.
    later_gain : ndarray, shape (S', A)
        What each further stage adds to accuracy.
    power : ndarray, shape (N,)
        Watts while running.
    fail : float
        Accuracy of having no output.
    """

    model: np.ndarray
    setting: np.ndarray
    rank: np.ndarray
    ends: np.ndarray
    last: np.ndarray
    cut: np.ndarray
    gain: np.ndarray
    later_gain: np.ndarray
    power: np.ndarray
    fail: float

    @classmethod
    def of(cls, profile: ProfileTable) -> Candidates:
        """Lay out a profile."""
        i, j = np.indices(profile.power.shape).reshape(2, -1)
        order = np.argsort(profile.is_anytime[i], kind="stable")
        i, j = i[order], j[order]
        a, b = (index[len(i) - _anytime_pairs(profile) :] for index in (i, j))
        last = profile.final_latency[i, j]
        # A shallower network's missing stages end with its last one and add nothing.
        later = np.where(
            np.isnan(profile.latency[a, 1:, b]),
            profile.final_latency[a, b, None],
            profile.latency[a, 1:, b],
        )
        return cls(
            i,
            j,
            np.lexsort((order, last)).argsort(),
            np.concatenate([profile.latency[i, 0, j], later.T.ravel()]),
            last,
            np.where(profile.is_anytime[i], 1.0, np.inf),
            profile.accuracy[i, 0] - profile.fail_accuracy,
            np.nan_to_num(np.diff(profile.accuracy[a], axis=1)).T.copy(),
            profile.power[i, j],
            profile.fail_accuracy,
        )

    def expect(self, mu: Any, sd: Any, phi: Any, deadline: Any) -> Estimates:
        """Expectations over xi (steps 4 to 6).

        An anytime network stops at the deadline, so its running time is E[min(xi t, T)], in closed
        form; a traditional one runs to its end, mu t.

        Parameters
        ----------
        mu, sd, phi, deadline : float or ndarray of shape (G, 1)
            Mean and standard deviation of xi, idle ratio, T_goal in seconds.
        """
        z = ((deadline / sd) / self.ends) - mu / sd
        p = ndtr(z)
        run = mu * self.last
        if self.later_gain.size:
            n, anytime = self._shape[1], self._anytime
            z, in_time = z[..., -n:], p[..., -n:]
            expected = sd * np.exp(-0.5 * z * z)
            expected *= -_DENSITY
            expected += mu * in_time
            expected *= self.last[anytime]
            run[..., anytime] = expected + deadline * (1 - in_time)
        return self._estimates(p, run, mu, phi, deadline)

    def at(self, xi: Any, phi: Any, deadline: Any) -> Estimates:
        """Outcome for a known xi: its mean, a quantile of it, or the truth (the Oracle's).

        Parameters
        ----------
        xi, phi, deadline : float or ndarray of shape (G, 1)
            xi may also have shape (G, N).
        """
        run = np.minimum(xi * self.last, deadline * self.cut)
        done = (self._spread(xi) * self.ends <= deadline).astype(float)
        return self._estimates(done, run, xi, phi, deadline)

    @property
    def _shape(self) -> tuple[int, int]:
        return self.later_gain.shape  # type: ignore[return-value]

    @property
    def _anytime(self) -> slice:
        return slice(len(self.last) - self._shape[1], None)

    def _spread(self, xi: Any) -> Any:
        """Repeat xi of every pair for its further stages."""
        if np.ndim(xi) == 0 or np.shape(xi)[-1] == 1 or not self.later_gain.size:
            return xi
        return np.concatenate([xi, *[xi[..., self._anytime]] * self._shape[0]], axis=-1)

    def _estimates(
        self, done: np.ndarray, run: np.ndarray, xi: Any, phi: Any, deadline: Any
    ) -> Estimates:
        """Put together from the probability that each stage is done by the deadline."""
        n = len(self.last)
        accuracy = self.gain * done[..., :n]
        accuracy += self.fail
        if self.later_gain.size:
            later = done[..., n:].reshape(*done.shape[:-1], *self._shape)
            accuracy[..., self._anytime] += (self.later_gain * later).sum(axis=-2)
        idle = deadline - run
        np.maximum(idle, 0, out=idle)
        idle *= phi
        idle += run
        idle *= self.power
        return Estimates(done[..., :n], accuracy, idle, xi * self.ends[:n])


def _anytime_pairs(profile: ProfileTable) -> int:
    return int(profile.is_anytime.sum()) * len(profile.settings)
