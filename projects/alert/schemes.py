"""ALERT in all its forms for the replay, and the Oracle; each decides for G settings at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.special import ndtri

from projects.alert.controller import RESOLUTION
from projects.alert.estimates import Candidates, Estimates
from projects.alert.filters import KalmanConfig, SlowDown
from projects.alert.profile import ProfileTable
from projects.alert.replay import Problem, Scheme


def choose_rows(
    estimates: Estimates,
    problem: Problem,
    earliest: int | np.ndarray,
    allowed: np.ndarray | None = None,
) -> np.ndarray:
    """Pick the best pair in every row, as ``controller.choose`` does for one.

    Parameters
    ----------
    estimates : Estimates
        Of shape (G, N).
    problem : Problem
        With G constraint settings.
    earliest : int or ndarray of shape (G,)
        Pair to fall back to, when nothing is expected in time.
    allowed : ndarray of bool, shape (G, N), optional
        Pairs that may be picked.

    Returns
    -------
    ndarray of int, shape (G,)
    """
    goal = problem.constraints.goal[:, None]
    on_time = estimates.on_time if allowed is None else estimates.on_time & allowed
    if problem.constraints.minimises == "energy":
        feasible = estimates.accuracy >= goal
        feasible &= on_time
        pick = _cheapest(feasible, estimates)
    else:
        feasible = estimates.energy <= goal
        feasible &= on_time
        pick = _most_accurate(feasible, estimates)
    missed = ~feasible[np.arange(len(pick)), pick]
    if missed.any():  # the deadline alone, and if nothing meets that, the earliest output
        part, rest = on_time[missed], Estimates(*(field[missed] for field in estimates))
        best = _most_accurate(part, rest)
        late = ~part[np.arange(len(best)), best]
        fallback = np.broadcast_to(earliest, missed.shape)[missed]
        pick[missed] = np.where(late, fallback, best)
    return pick


def _most_accurate(allowed: np.ndarray, estimates: Estimates) -> np.ndarray:
    accuracy = np.where(allowed, estimates.accuracy, -np.inf)
    best = accuracy >= accuracy.max(axis=1, keepdims=True) - RESOLUTION
    return _cheapest(best, estimates)


def _cheapest(allowed: np.ndarray, estimates: Estimates) -> np.ndarray:
    return np.where(allowed, estimates.energy, np.inf).argmin(axis=1)


class Adaptive:
    """ALERT over G settings: one slow-down filter per setting, all estimates in one array.

    Parameters
    ----------
    problem : Problem
        What is replayed.
    profile : ProfileTable, optional
        Candidates that the scheme knows, where they are not all.
    allowed : ndarray of bool, shape (G, N), optional
        Pairs of that profile that each setting may use.
    config : KalmanConfig, optional
        Constants of the filter.
    probability : float, optional
        Pr_th: predict with this quantile of xi. One half is its mean, as if that were certain.
    """

    def __init__(
        self,
        problem: Problem,
        profile: ProfileTable | None = None,
        *,
        allowed: np.ndarray | None = None,
        config: KalmanConfig | None = None,
        probability: float | None = None,
    ) -> None:
        self.problem = problem
        self.allowed = allowed
        self.quantile = None if probability is None else float(ndtri(probability))
        known_profile = profile or problem.profile
        self.candidates = Candidates.of(known_profile) if profile else problem.candidates
        self.place = places(self.candidates, known_profile, problem)
        self.phi = known_profile.idle_ratio
        self.earliest: int | np.ndarray = self.candidates.earliest
        if allowed is not None:
            first = self.candidates.ends[: len(self.candidates)]
            self.earliest = np.where(allowed, first, np.inf).argmin(axis=1)
        self.xi = SlowDown.start(config or KalmanConfig(), (len(problem.constraints),))

    def choose(self, step: int, deadline: np.ndarray) -> np.ndarray:
        """Pick the best pair by what is expected, or guarded against."""
        mu, limit = self.xi.mu[:, None], deadline[:, None]
        sd = np.sqrt(self.xi.variance)[:, None]
        if self.quantile is None:
            estimates = self.candidates.expect(mu, sd, self.phi, limit)
        else:
            estimates = self.candidates.at(mu + sd * self.quantile, self.phi, limit)
        return self.place[choose_rows(estimates, self.problem, self.earliest, self.allowed)]

    def learn(
        self, pick: np.ndarray, ratio: np.ndarray, reached: np.ndarray, deadline: np.ndarray
    ) -> None:
        """Update the filters; a lower bound below the mean only widens the variance."""
        if reached.all():
            self.xi.update(ratio)
            return
        before = [self.xi.mu, self.xi.var, self.xi.q, self.xi.k]
        known_ratio = reached | (ratio > self.xi.mu)
        self.xi.update(ratio)
        after = [self.xi.mu, self.xi.var, self.xi.q, self.xi.k]
        kept = [np.where(known_ratio, new, old) for new, old in zip(after, before, strict=True)]
        self.xi.mu, self.xi.var, self.xi.q, self.xi.k = kept
        self.xi.var = self.xi.var + np.where(reached, 0.0, self.xi.q)


def places(candidates: Candidates, profile: ProfileTable, problem: Problem) -> np.ndarray:
    """Place in ``problem.candidates`` of each pair of a part of its profile, shape (N',)."""
    everything = problem.candidates
    size = len(problem.profile.models), len(problem.profile.settings)
    where = np.empty(size, dtype=np.intp)
    where[everything.model, everything.setting] = np.arange(len(everything.model))
    models = np.array([problem.profile.models.index(name) for name in profile.models])
    settings = np.array([problem.profile.settings.index(value) for value in profile.settings])
    return where[models[candidates.model], settings[candidates.setting]]


class Oracle:
    """Knows every input's slow-down beforehand and picks the best pair for it."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def choose(self, step: int, deadline: np.ndarray) -> np.ndarray:
        """Pick by the truth."""
        candidates, environment = self.problem.candidates, self.problem.environment
        xi = environment.slow_down[step] * environment.jitter[step, candidates.model]
        xi = np.broadcast_to(xi, (len(deadline), len(xi)))
        phi = self.problem.profile.idle_ratio
        estimates = candidates.at(xi, phi, deadline[:, None])
        return choose_rows(estimates, self.problem, candidates.earliest)

    def learn(self, *args: Any) -> None:
        """Nothing to learn."""


def alert(problem: Problem, **options: Any) -> Scheme:
    """ALERT with traditional and anytime candidates."""
    return Adaptive(problem, **options)


def alert_any(problem: Problem) -> Scheme:
    """ALERT with anytime candidates alone."""
    return Adaptive(problem, problem.profile.only(anytime=True))


def alert_trad(problem: Problem) -> Scheme:
    """ALERT with traditional candidates alone."""
    return Adaptive(problem, problem.profile.only(anytime=False))


ALERT_SCHEMES: Mapping[str, Callable[[Problem], Scheme]] = {
    "Oracle": Oracle,
    "ALERT": alert,
    "ALERT-Any": alert_any,
    "ALERT-Trad": alert_trad,
}

ABLATIONS: Mapping[str, Mapping[str, Any]] = {
    "ALERT": {},
    "mean only": {"probability": 0.5},
    "probability 0.95": {"probability": 0.95},
    "q0 = 0.01": {"config": KalmanConfig(q0=0.01)},
    "q0 = 0.001": {"config": KalmanConfig(q0=0.001)},
    "smooth": {"config": KalmanConfig.preset("smooth")},
    "textbook variance": {"config": KalmanConfig(textbook=True)},
}
