"""Replay of many constraint settings at once: an array axis over settings, a loop over inputs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from common.errors import known
from projects.alert.environment import Environment
from projects.alert.estimates import Candidates
from projects.alert.goals import shared_deadline
from projects.alert.profile import ProfileTable

MODES = ("energy", "error")  # what is minimised
ROUNDING = 1e-9  # relative; a goal that is met up to rounding is met
SOONEST = 1e-3  # of a deadline: what a word gets whose sentence has run over


@dataclass(frozen=True, eq=False)
class Constraints:
    """G constraint settings of one mode.

    Attributes
    ----------
    minimises : {"energy", "error"}
        Mode: least energy under accuracy goals, or least error under energy goals.
    deadline : ndarray, shape (G,)
        Seconds.
    goal : ndarray, shape (G,)
        Accuracy in [0, 1] where energy is minimised, joules where error is.
    """

    minimises: str
    deadline: np.ndarray
    goal: np.ndarray

    def __post_init__(self) -> None:
        known(self.minimises, MODES, "mode")
        if self.deadline.shape != self.goal.shape or not len(self.goal):
            raise ValueError(
                f"{self.deadline.shape} deadlines and {self.goal.shape} goals; give one of each "
                "per setting, and at least one setting"
            )

    def __len__(self) -> int:
        return len(self.goal)

    @classmethod
    def grid(
        cls, profile: ProfileTable, minimises: str, deadlines: int = 6, goals: int = 6
    ) -> Constraints:
        """Deadlines times goals, over the range that the profile can serve (section 3).

        Deadlines run from 0.4 to 2 times the latency of the slowest anytime network (or of the
        slowest network, where there is none) at its fastest setting; accuracies over those of the
        candidates; energies from the least that any pair needs for a period to full power.
        """
        known(minimises, MODES, "mode")
        shares = np.linspace(0.4, 2.0, deadlines)
        deadline = np.repeat(shares * reference_latency(profile), goals)
        if minimises == "energy":
            span = np.linspace(profile.final_accuracy.min(), profile.final_accuracy.max(), goals)
            return cls(minimises, deadline, np.tile(span, deadlines))
        quiet = Candidates.of(profile).at(1.0, profile.idle_ratio, deadline[:, None])
        least = np.where(quiet.p_output > 0, quiet.energy, np.inf).min(axis=1)
        share = np.tile(np.linspace(0, 1, goals), deadlines)
        most = profile.power.max() * deadline
        return cls(minimises, deadline, least + share * (most - least))


def reference_latency(profile: ProfileTable) -> float:
    """Seconds that the slowest anytime network takes at its fastest setting.

    Of all networks, where none is anytime.
    """
    rows = profile.is_anytime if profile.is_anytime.any() else slice(None)
    return float(profile.final_latency[rows].min(axis=1).max())


@dataclass(frozen=True, eq=False)
class Problem:
    """What a scheme is replayed on.

    Attributes
    ----------
    profile : ProfileTable
        Candidates.
    environment : Environment
        The truth of every input.
    constraints : Constraints
        The settings, all replayed on the same inputs.
    """

    profile: ProfileTable
    environment: Environment
    constraints: Constraints

    @cached_property
    def candidates(self) -> Candidates:
        """All pairs of network and setting."""
        return Candidates.of(self.profile)

    @cached_property
    def anytime(self) -> np.ndarray:
        """Which pairs stop at the deadline, shape (N,)."""
        return self.profile.is_anytime[self.candidates.model]

    @cached_property
    def stages(self) -> tuple[np.ndarray, np.ndarray]:
        """Profiled end of every stage and what it adds to accuracy, both of shape (S, N)."""
        profile, i, j = self.profile, self.candidates.model, self.candidates.setting
        accuracy = np.concatenate(
            [np.full((len(i), 1), profile.fail_accuracy), profile.accuracy[i]], axis=1
        )
        gain = np.nan_to_num(np.diff(accuracy, axis=1))
        return np.nan_to_num(profile.latency[i, :, j], nan=np.inf).T, gain.T


class Scheme(Protocol):
    """Decides for all settings at once; indices are places in ``Problem.candidates``."""

    def choose(self, step: int, deadline: np.ndarray) -> np.ndarray:
        """Pick a pair for each setting, shape (G,), given deadlines of shape (G,)."""
        ...

    def learn(
        self, pick: np.ndarray, ratio: np.ndarray, reached: np.ndarray, deadline: np.ndarray
    ) -> None:
        """Take in latency over profiled latency, shape (G,).

        Where ``reached`` is False an anytime network was stopped before its first stage, and the
        ratio is a lower bound.
        """
        ...


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came out of every input under every setting, shapes (n, G).

    Attributes
    ----------
    pick : ndarray of int
        Pair that ran.
    deadline : ndarray
        Deadline of the input in seconds.
    accuracy : ndarray
        Accuracy of what was there at the deadline.
    energy : ndarray
        Joules over the period, or over the run where that took longer.
    late : ndarray of bool
        Without any output at the deadline.
    """

    pick: np.ndarray
    deadline: np.ndarray
    accuracy: np.ndarray
    energy: np.ndarray
    late: np.ndarray

    def violated(self, constraints: Constraints) -> np.ndarray:
        """Whether an input missed its deadline or its goal, shape (n, G)."""
        if constraints.minimises == "energy":
            missed = self.accuracy < constraints.goal * (1 - ROUNDING)
        else:
            missed = self.energy > constraints.goal * (1 + ROUNDING)
        return self.late | missed


def replay(problem: Problem, scheme: Scheme) -> Outcome:
    """Replay a scheme over all inputs and settings.

    A scheme sees an input's truth only after it has decided; the Oracle alone is given it before.
    """
    environment, given = problem.environment, problem.constraints.deadline
    candidates = problem.candidates
    shared = environment.group.max() > 1
    shape = len(environment), len(problem.constraints)
    picks, deadlines = np.empty(shape, dtype=np.intp), np.broadcast_to(given, shape).copy()
    left = np.zeros(len(given))
    for step in range(len(environment)):
        if shared:
            items = int(environment.group[step])
            if step == 0 or environment.group[step - 1] == 1:
                left = given * items
            deadlines[step] = np.maximum(shared_deadline(left, items), SOONEST * given)
        deadline = deadlines[step]
        pick = picks[step] = scheme.choose(step, deadline)
        ratio = environment.slow_down[step] * environment.jitter[step, candidates.model[pick]]
        anytime, first = problem.anytime[pick], candidates.ends[pick]
        reached = ~anytime | (ratio * first <= deadline)
        scheme.learn(pick, np.where(reached, ratio, deadline / first), reached, deadline)
        if shared:
            run = ratio * candidates.last[pick]
            left = left - np.where(anytime, np.minimum(run, deadline), run)
    ratio = environment.ratio(candidates.model[picks])
    return realise(problem, picks, ratio, deadlines)


def realise(problem: Problem, pick: np.ndarray, ratio: np.ndarray, deadline: np.ndarray) -> Outcome:
    """What follows from running pairs, ``ratio`` times slower than profiled, under deadlines.

    All of one shape; a ratio may be infinite for an anytime network that never gets to its first
    stage.
    """
    candidates, profile = problem.candidates, problem.profile
    accuracy = np.full(pick.shape, profile.fail_accuracy)
    for end, gain in zip(*problem.stages, strict=True):
        accuracy += gain[pick] * (end[pick] * ratio <= deadline)
    run = candidates.last[pick] * ratio
    run = np.where(problem.anytime[pick], np.minimum(run, deadline), run)
    idle = profile.idle_ratio * np.maximum(deadline - run, 0)
    late = candidates.ends[pick] * ratio > deadline
    return Outcome(pick, deadline, accuracy, candidates.power[pick] * (run + idle), late)
