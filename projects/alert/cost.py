"""What the controller itself costs, cycle by cycle, and a version of it built on libraries."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import require
from projects.alert.controller import AlertController
from projects.alert.filters import KalmanConfig, SlowDown
from projects.alert.goals import Goals
from projects.alert.profile import ProfileTable

if TYPE_CHECKING:
    from filterpy.kalman import KalmanFilter

STAGES = 4  # of the anytime network of a random profile


def random_profile(rng: np.random.Generator, models: int, settings: int) -> ProfileTable:
    """Random profile of traditional networks and one anytime network, which is the last.

    Latencies from 1 to 100 ms, accuracies from 0.5 to 0.9, one setting up to three times slower
    than the other.
    """
    latency = np.full((models, STAGES, settings), np.nan)
    accuracy = np.full((models, STAGES), np.nan)
    slower = np.linspace(3.0, 1.0, settings)
    latency[:, 0] = np.sort(rng.uniform(0.001, 0.1, models))[:, None] * slower
    accuracy[:, 0] = np.sort(rng.uniform(0.5, 0.9, models))
    latency[-1] = np.linspace(0.01, 0.1, STAGES)[:, None] * slower
    accuracy[-1] = np.linspace(0.6, 0.88, STAGES)
    return ProfileTable(
        tuple(f"net{place}" for place in range(models)),
        tuple(np.linspace(40.0, 100.0, settings).tolist()),
        accuracy,
        latency,
        np.tile(np.linspace(30.0, 80.0, settings), (models, 1)),
    )


def goals_of(profile: ProfileTable, minimises: str) -> Goals:
    """Goals in the middle of what a random profile can serve."""
    if minimises == "energy":
        return Goals(deadline=0.1, accuracy=0.7)
    return Goals(deadline=0.1, energy=float(profile.power.max()) * 0.06)


def measured_ratios(rng: np.random.Generator, count: int) -> list[float]:
    """Slow-downs to feed a controller with, around 1.2."""
    return np.maximum(rng.normal(1.2, 0.1, count), 0.5).tolist()


def cycles(
    profile: ProfileTable, minimises: str, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Seconds of each of ``count`` calls of decide and observe, shape (count,)."""
    controller = AlertController(profile, goals_of(profile, minimises))
    final = dict(zip(profile.models, profile.final_latency, strict=True))
    column = {value: place for place, value in enumerate(profile.settings)}
    seconds = np.empty(count)
    for place, ratio in enumerate(measured_ratios(rng, count)):
        begin = time.perf_counter()
        decision = controller.decide()
        chosen = time.perf_counter()
        latency = float(final[decision.model][column[decision.setting]]) * ratio
        resume = time.perf_counter()
        controller.observe(latency, power_idle=10.0)
        seconds[place] = chosen - begin + time.perf_counter() - resume
    return seconds


def filter_seconds(count: int, rng: np.random.Generator) -> float:
    """Mean seconds of one update of our slow-down filter."""
    ratios, xi = measured_ratios(rng, count), SlowDown.start(KalmanConfig())
    begin = time.perf_counter()
    for ratio in ratios:
        xi.update(ratio)
    return (time.perf_counter() - begin) / count


def peer_filter_seconds(count: int, rng: np.random.Generator) -> float:
    """Mean seconds of one update of the same filter in filterpy.

    Raises
    ------
    MissingExtra
        Without filterpy.
    """
    ratios, peer = measured_ratios(rng, count), PeerFilter(KalmanConfig())
    begin = time.perf_counter()
    for ratio in ratios:
        peer.update(ratio)
    return (time.perf_counter() - begin) / count


class PeerFilter:
    """The slow-down filter in filterpy: one state, one measurement, Q adapted before each step.

    Attributes
    ----------
    mu, var : float
        As in :class:`projects.alert.filters.SlowDown`; ``var`` is filterpy's ``P_prior``.
    """

    def __init__(self, config: KalmanConfig) -> None:
        kalman = require("filterpy.kalman", "dev")
        self.config, self.gain = config, config.k0
        self.filter: KalmanFilter = kalman.KalmanFilter(dim_x=1, dim_z=1)
        self.filter.x[:] = config.mu0
        # filterpy starts after a measurement: (1 - K) var is what is left of the variance there
        self.filter.P[:] = (1 - config.k0) * config.var0
        self.filter.Q[:], self.filter.R[:] = config.q0, config.r
        self.filter.H[:] = self.filter.F[:] = 1.0
        self.mu, self.var = config.mu0, config.var0

    def update(self, ratio: float) -> None:
        """Take in a measured latency over the profiled one."""
        config, kalman = self.config, self.filter
        step = self.gain * (ratio - self.mu)
        q = config.alpha * float(kalman.Q[0, 0]) + (1 - config.alpha) * step**2
        kalman.Q[:] = max(config.q0, q)
        kalman.predict()
        kalman.update(ratio)
        self.gain, self.mu = float(kalman.K[0, 0]), float(kalman.x[0, 0])
        self.var = float(kalman.P_prior[0, 0])


class PeerController:
    """ALERT written the plain way with libraries: filterpy, scipy.stats, a grid per stage.

    Decides as :class:`AlertController` does for goals in expectation that can be met.
    """

    def __init__(self, profile: ProfileTable, goals: Goals) -> None:
        self.profile, self.goals = profile, goals
        self.filter, self.phi = PeerFilter(KalmanConfig()), profile.idle_ratio

    def decide(self) -> tuple[int, int]:
        """Return the indices of the network and the setting."""
        from scipy.stats import norm

        profile, goals = self.profile, self.goals
        mu, sd = self.filter.mu, math.sqrt(self.filter.var)
        limit = goals.deadline
        p = np.nan_to_num(norm.cdf(limit / profile.latency, loc=mu, scale=sd))
        fail = np.full((len(profile.models), 1), profile.fail_accuracy)
        gains = np.nan_to_num(np.diff(np.hstack([fail, profile.accuracy]), axis=1))
        accuracy = profile.fail_accuracy + (gains[:, :, None] * p).sum(axis=1)
        run = mu * profile.final_latency
        anytime = profile.is_anytime
        t = profile.final_latency[anytime]
        z = (limit / t - mu) / sd
        negative = sd * norm.pdf(mu / sd) - mu * norm.sf(mu / sd)
        run[anytime] = t * (mu * norm.cdf(z) - sd * norm.pdf(z) + negative) + limit * norm.sf(z)
        energy = profile.power * (run + self.phi * np.maximum(limit - run, 0))
        on_time = mu * profile.latency[:, 0] <= limit
        return self._pick(on_time, accuracy, energy)

    def _pick(self, on_time: np.ndarray, accuracy: np.ndarray, energy: np.ndarray) -> Any:
        goals = self.goals
        if goals.accuracy is not None:
            feasible = on_time & (accuracy >= goals.accuracy)
            score = np.where(feasible, energy, np.inf)
            return np.unravel_index(score.argmin(), score.shape)
        score = np.where(on_time & (energy <= goals.energy), accuracy, -np.inf)
        equal = np.where(score >= score.max() - 1e-6, energy, np.inf)
        return np.unravel_index(equal.argmin(), score.shape)

    def observe(self, ratio: float) -> None:
        """Take in a measured latency over the profiled one."""
        self.filter.update(ratio)
