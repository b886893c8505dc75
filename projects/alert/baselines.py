"""What the paper compares with (section 4), and schemes beyond it, for the replay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from projects.alert.profile import ProfileTable
from projects.alert.replay import Outcome, Problem, Scheme, realise, replay
from projects.alert.schemes import Adaptive


class Static:
    """The same pair for every input of a setting.

    Parameters
    ----------
    pick : ndarray of int, shape (G,)
        Pair of each setting.
    """

    def __init__(self, pick: np.ndarray) -> None:
        self.pick = pick

    def choose(self, step: int, deadline: np.ndarray) -> np.ndarray:
        """Return the pair."""
        return self.pick

    def learn(self, *args: object) -> None:
        """Nothing to learn."""


def oracle_static(problem: Problem, satisfied: float = 0.9) -> Outcome:
    """Outcome of the best fixed pair of each setting, found with hindsight.

    Best on average among the pairs that meet all constraints for at least the share ``satisfied``
    of inputs; where there is none, the pair that meets them most often.
    """
    constraints, size = problem.constraints, len(problem.constraints)
    best, pick = np.full(size, np.inf), np.zeros(size, dtype=np.intp)
    for place in range(len(problem.candidates.model)):
        result = fixed(problem, np.full(size, place))
        broken = result.violated(constraints).mean(axis=0)
        loss = result.energy if constraints.minimises == "energy" else 1 - result.accuracy
        loss = loss.mean(axis=0)
        # Any pair that keeps the constraints comes before all that do not.
        score = np.where(broken <= 1 - satisfied + 1e-12, loss / (1 + loss), 2 + broken)
        better = score < best
        best[better], pick[better] = score[better], place
    return fixed(problem, pick)


def fixed(problem: Problem, pick: np.ndarray) -> Outcome:
    """Outcome of one pair per setting, shape (G,)."""
    if problem.environment.group.max() > 1:  # deadlines depend on the words before
        return replay(problem, Static(pick))
    shape = len(problem.environment), len(pick)
    deadline = np.broadcast_to(problem.constraints.deadline, shape)
    pick = np.broadcast_to(pick, shape)
    ratio = problem.environment.ratio(problem.candidates.model[pick])
    return realise(problem, pick, ratio, deadline)


def largest_anytime(profile: ProfileTable) -> int:
    """Index of the most accurate anytime network."""
    if not profile.is_anytime.any():
        raise ValueError(f"no anytime network among {', '.join(profile.models)}")
    return int(np.where(profile.is_anytime, profile.final_accuracy, -1).argmax())


def _place(problem: Problem, model: int, setting: int) -> int:
    candidates = problem.candidates
    here = (candidates.model == model) & (candidates.setting == setting)
    return int(np.flatnonzero(here)[0])


def app_only(problem: Problem) -> Scheme:
    """One anytime network at the default, the highest, setting; stopped at the deadline."""
    model = largest_anytime(problem.profile)
    place = _place(problem, model, len(problem.profile.settings) - 1)
    return Static(np.full(len(problem.constraints), place))


def sys_only(problem: Problem) -> Scheme:
    """One traditional network; the setting alone adapts, with ALERT's own estimates.

    The network is the fastest that meets the accuracy goal in the profile; the most accurate where
    none does, the fastest of all where there is no accuracy goal.
    """
    profile, constraints = problem.profile, problem.constraints
    traditional = np.flatnonzero(~profile.is_anytime)
    latency = profile.final_latency[traditional, -1]
    accuracy = profile.final_accuracy[traditional]
    model = np.full(len(constraints), traditional[latency.argmin()])
    if constraints.minimises == "energy":
        for place, goal in enumerate(constraints.goal):
            meets = accuracy >= goal - 1e-9
            row = np.where(meets, latency, np.inf).argmin() if meets.any() else accuracy.argmax()
            model[place] = traditional[row]
    return Adaptive(problem, allowed=problem.candidates.model == model[:, None])


class NoCoord(Adaptive):
    """App-only, and a power controller that knows nothing of stopping.

    The controller takes the anytime network for a traditional one: it predicts the time to its last
    stage, and takes the time until it was stopped for the time that it needed.
    """

    def __init__(self, problem: Problem) -> None:
        name = problem.profile.models[largest_anytime(problem.profile)]
        network = problem.profile.select([name])
        whole = replace(
            network,
            accuracy=network.final_accuracy[:, None],
            latency=network.final_latency[:, None],
        )
        super().__init__(problem, whole)

    def learn(
        self, pick: np.ndarray, ratio: np.ndarray, reached: np.ndarray, deadline: np.ndarray
    ) -> None:
        """Take in the time until the network ended or was stopped."""
        whole = self.problem.candidates.last[pick]
        seen = np.minimum(ratio, deadline / whole)
        super().learn(pick, seen, np.ones_like(reached), deadline)


class PITracker(Adaptive):
    """The slow-down tracked by a proportional-integral loop, in place of the Kalman filter.

    Parameters
    ----------
    kp, ki : float
        Gains, by rule of thumb: half the error at once, a tenth of its sum.
    """

    def __init__(self, problem: Problem, kp: float = 0.5, ki: float = 0.1) -> None:
        super().__init__(problem, probability=0.5)
        self.kp, self.ki = kp, ki
        self.last = np.zeros(len(problem.constraints))

    def learn(
        self, pick: np.ndarray, ratio: np.ndarray, reached: np.ndarray, deadline: np.ndarray
    ) -> None:
        """Move the estimate in velocity form: kp (e - e_last) + ki e, never below a tenth."""
        error = np.where(reached, ratio, np.maximum(ratio, self.xi.mu)) - self.xi.mu
        moved = self.xi.mu + self.kp * (error - self.last) + self.ki * error
        self.xi.mu, self.last = np.maximum(moved, 0.1), error


class LinUCB:
    """Contextual bandit: one linear reward model per pair, over the last slow-down.

    The reward is 0 for an input that violates a constraint; else accuracy where error is minimised,
    and 1 minus energy over that of full power where energy is.

    Li et al., "A contextual-bandit approach to personalized news article recommendation", 2010.

    Parameters
    ----------
    width : float
        How many standard deviations of optimism.
    """

    def __init__(self, problem: Problem, width: float = 0.5) -> None:
        self.problem, self.width = problem, width
        g, n = len(problem.constraints), len(problem.candidates.model)
        self.rows = np.arange(g)
        # A is the 2 x 2 matrix [[a, b], [b, d]] of each arm, (u, v) its right-hand side.
        self.a, self.b, self.d = np.ones((g, n)), np.zeros((g, n)), np.ones((g, n))
        self.u, self.v = np.zeros((g, n)), np.zeros((g, n))
        self.context = np.ones(g)

    def choose(self, step: int, deadline: np.ndarray) -> np.ndarray:
        """Pick the arm with the highest upper confidence bound."""
        x = self.context[:, None]
        determinant = self.a * self.d - self.b**2
        mean = self.d * self.u - self.b * self.v + x * (self.a * self.v - self.b * self.u)
        spread = self.d - 2 * x * self.b + x * x * self.a
        bound = mean / determinant + self.width * np.sqrt(spread / determinant)
        return bound.argmax(axis=1)

    def learn(
        self, pick: np.ndarray, ratio: np.ndarray, reached: np.ndarray, deadline: np.ndarray
    ) -> None:
        """Update the arm that was played."""
        reward = self._reward(pick, np.where(reached, ratio, np.inf), deadline)
        at, x = (self.rows, pick), self.context
        self.a[at] += 1
        self.b[at] += x
        self.d[at] += x * x
        self.u[at] += reward
        self.v[at] += reward * x
        self.context = np.minimum(ratio, 20.0)

    def _reward(self, pick: np.ndarray, ratio: np.ndarray, deadline: np.ndarray) -> np.ndarray:
        constraints = self.problem.constraints
        result = realise(self.problem, pick, ratio, deadline)
        if constraints.minimises == "energy":
            full = self.problem.profile.power.max() * deadline
            reward = 1 - np.minimum(result.energy / full, 1)
        else:
            reward = result.accuracy
        return np.where(result.violated(constraints), 0, reward)


def lookup(problem: Problem) -> Scheme:
    """The most accurate network whose profiled latency meets the deadline, at the highest setting.

    What a model server without feedback does; the fastest network where none is fast enough.
    """
    profile, deadlines = problem.profile, problem.constraints.deadline
    latency, accuracy = profile.final_latency[:, -1], profile.final_accuracy
    picks = []
    for deadline in deadlines:
        meets = latency <= deadline
        model = np.where(meets, accuracy, -1).argmax() if meets.any() else latency.argmin()
        picks.append(_place(problem, int(model), len(profile.settings) - 1))
    return Static(np.array(picks))


BASELINES: Mapping[str, Callable[[Problem], Scheme]] = {
    "App-only": app_only,
    "Sys-only": sys_only,
    "No-coord": NoCoord,
    "PI": PITracker,
    "LinUCB": LinUCB,
    "Lookup": lookup,
}
