"""The ALERT controller: pick network and setting before every input, learn from every result.

Pure: no clock, no device and no file inside. The same object drives a replay and a live server.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtri

from projects.alert.estimates import Candidates, Estimates
from projects.alert.filters import IdleRatio, KalmanConfig, SlowDown
from projects.alert.goals import Goals
from projects.alert.profile import ProfileTable

# Accuracies that differ by less count as equal: among them the cheaper pair is taken.
RESOLUTION = 1e-6


class Decision(NamedTuple):
    """What to run for the next input.

    Attributes
    ----------
    model : str
        Network to run.
    setting : float
        Power setting to run it at.
    stop_at : float or None
        Seconds after which an anytime network is to be stopped; None for a traditional network,
        which runs to its end.
    p_deadline : float
        Probability of an output at the deadline.
    expected_accuracy, expected_energy : float
        At the deadline, and in joules over the period.
    relaxed : tuple of str
        Goals among ``"energy"``, ``"accuracy"``, ``"deadline"`` that the pair is not expected to
        meet, because no pair meets them all.
    """

    model: str
    setting: float
    stop_at: float | None
    p_deadline: float
    expected_accuracy: float
    expected_energy: float
    relaxed: tuple[str, ...] = ()


class _Pair(NamedTuple):
    """A candidate: network, setting, profiled seconds to the end of each stage, and watts."""

    model: str
    setting: float
    ends: list[float]
    power: float


class AlertController:
    """Choose the best pair of network and setting for every input (section 2.3).

    Parameters
    ----------
    profile : ProfileTable
        Candidates; ``profile.only(anytime=True)`` gives ALERT-Any.
    goals : Goals
        Goals of every input that :meth:`decide` is not given others for.
    config : KalmanConfig, optional
        Constants of the filters.
    overhead : float
        Worst-case seconds of the controller itself, taken off every deadline.

    Raises
    ------
    ValueError
        If no candidate could reach the goals on a quiet machine.

    Notes
    -----
    Where no pair meets all goals, energy is given up first, then accuracy, the deadline last: of
    the pairs with an output in time the most accurate is taken, and if there is none, the pair
    with the earliest first output.

    Not thread-safe: one decision is open at a time.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = [("small", 1, 0.7, 20, 0.01, 19.0), ("big", 1, 0.8, 20, 0.05, 19.0)]
    >>> columns = ["model", "stage", "accuracy", "setting", "latency", "power"]
    >>> profile = ProfileTable.from_frame(pd.DataFrame(rows, columns=columns))
    >>> controller = AlertController(profile, Goals(deadline=0.1, energy=5))
    >>> controller.decide().model
    'big'
    >>> controller.observe(0.2)  # four times slower than profiled
    >>> controller.decide().model
    'small'
    """

    def __init__(
        self,
        profile: ProfileTable,
        goals: Goals,
        config: KalmanConfig | None = None,
        *,
        overhead: float = 0.0,
    ) -> None:
        if not 0 <= overhead < math.inf:
            raise ValueError(f"overhead is {overhead} s; it cannot be negative")
        goals.check(profile, overhead)
        self.profile = profile
        self.goals = goals
        self.config = config or KalmanConfig()
        self.overhead = overhead
        self.xi = SlowDown.start(self.config)
        self.idle = IdleRatio.start(self.config, profile.idle_ratio)
        self.now: float | None = None
        self._candidates = Candidates.of(profile)
        self._pairs = [
            _Pair(
                profile.models[i],
                profile.settings[j],
                profile.latency[i, : profile.stages[i], j].tolist(),
                float(profile.power[i, j]),
            )
            for i, j in zip(self._candidates.model, self._candidates.setting, strict=True)
        ]
        self._open: int | None = None
        self._deadline = math.nan

    def decide(self, goals: Goals | None = None) -> Decision:
        """Pick the pair for the next input.

        Parameters
        ----------
        goals : Goals, optional
            Goals of this input alone, such as the share of a group's deadline.

        Raises
        ------
        ValueError
            If no candidate could reach these goals on a quiet machine.
        """
        if goals is None:
            goals = self.goals
        else:
            goals.check(self.profile, self.overhead)
        deadline = goals.deadline - self.overhead
        estimates = self._estimate(goals, deadline)
        pick = choose(estimates, goals, self._candidates.earliest)
        self._open, self._deadline = pick, deadline
        pair = self._pairs[pick]
        accuracy, energy = estimates.accuracy.item(pick), estimates.energy.item(pick)
        return Decision(
            pair.model,
            pair.setting,
            deadline if len(pair.ends) > 1 else None,
            self._p_output(pair, deadline),
            accuracy,
            energy,
            _relaxed(goals, accuracy, energy, late=estimates.p_output.item(pick) < 0.5),
        )

    def observe(
        self,
        latency: float | None,
        *,
        power_active: float | None = None,
        power_idle: float | None = None,
        completed_stage: int | None = None,
        killed: bool = False,
        now: float | None = None,
    ) -> None:
        """Take in what happened to the input that was decided last.

        Parameters
        ----------
        latency : float or None
            Seconds to the end of the run, or of the last completed stage; None for an input that
            was dropped, so that nothing was measured.
        power_active, power_idle : float, optional
            Watts while running (by default the profiled ones) and while idle.
        completed_stage : int, optional
            Last stage that an anytime network finished, by default all; 0 if it was stopped before
            the first.
        killed : bool
            The run was ended after ``latency`` seconds without finishing: a lower bound. Networks
            that are allowed to finish tell more.
        now : float, optional
            Any clock's seconds, checked not to run backwards.

        Raises
        ------
        ValueError
            Before a decision, or if a measurement is impossible.
        """
        if self._open is None:
            raise ValueError("observe() before decide(): nothing was decided for this input")
        # everything is checked before anything is learnt
        ratio, whole = self._slow_down(latency, completed_stage)
        idle_ratio = self._idle_ratio(power_active, power_idle)
        self._tick(now)
        if ratio is None:
            self.xi.miss()
        elif killed or not whole:
            self.xi.at_least(ratio)
        else:
            self.xi.update(ratio)
        if idle_ratio is not None:
            self.idle.update(idle_ratio)
        self._open = None

    def to_json(self) -> str:
        """Return the whole state as JSON; a restored controller decides identically."""
        return json.dumps(
            {
                "profile": json.loads(self.profile.to_json()),
                "goals": asdict(self.goals),
                "config": asdict(self.config),
                "overhead": self.overhead,
                "xi": [self.xi.mu, self.xi.var, self.xi.q, self.xi.k],
                "idle": [self.idle.phi, self.idle.m],
                "now": self.now,
                "open": self._open,
                "deadline": None if self._open is None else self._deadline,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> AlertController:
        """Restore what :meth:`to_json` wrote."""
        state: dict[str, Any] = json.loads(text)
        controller = cls(
            ProfileTable.from_json(json.dumps(state["profile"])),
            Goals(**state["goals"]),
            KalmanConfig(**state["config"]),
            overhead=state["overhead"],
        )
        controller.xi = SlowDown(controller.config, *state["xi"])
        controller.idle = IdleRatio(controller.config, *state["idle"])
        controller.now, controller._open = state["now"], state["open"]
        if state["deadline"] is not None:
            controller._deadline = state["deadline"]
        return controller

    def _estimate(self, goals: Goals, deadline: float) -> Estimates:
        mu, sd, phi = self.xi.mu, math.sqrt(self.xi.variance), self.idle.phi
        if goals.probability is None:
            return self._candidates.expect(mu, sd, phi, deadline)
        guarded = mu + sd * float(ndtri(goals.probability))
        return self._candidates.at(guarded, phi, deadline)

    def _p_output(self, pair: _Pair, deadline: float) -> float:
        z = (deadline / pair.ends[0] - self.xi.mu) / math.sqrt(self.xi.variance)
        return 0.5 * math.erfc(-z / math.sqrt(2))

    def _slow_down(
        self, latency: float | None, completed_stage: int | None
    ) -> tuple[float | None, bool]:
        """Measured over profiled latency, and whether the profiled stage was reached."""
        if latency is None:
            return None, False
        if not 0 < latency < math.inf:
            raise ValueError(f"latency is {latency} s; it must be positive (None: not measured)")
        pair = self._pairs[self._open]
        depth = len(pair.ends)
        if completed_stage is None:
            return float(latency) / pair.ends[-1], True
        if completed_stage not in range(depth + 1):
            raise ValueError(
                f"unknown stage {completed_stage!r} of {pair.model}, which has "
                f"stages 1 to {depth} (0: stopped before the first)"
            )
        return float(latency) / pair.ends[max(completed_stage, 1) - 1], completed_stage > 0

    def _idle_ratio(self, active: float | None, idle: float | None) -> float | None:
        _check_power("power_active", active)
        _check_power("power_idle", idle)
        if idle is None:
            return None
        return float(idle / (self._pairs[self._open].power if active is None else active))

    def _tick(self, now: float | None) -> None:
        if now is None:
            return
        if self.now is not None and now < self.now:
            raise ValueError(f"clock went backwards, from {self.now} to {now}; pass a steady clock")
        self.now = now


def choose(estimates: Estimates, goals: Goals, earliest: int) -> int:
    """Return the place of the best pair (section 2.2 and step 7).

    Ties go to lower energy, then to the earlier place: see :class:`Candidates`.

    Parameters
    ----------
    estimates : Estimates
        Of shape (N,).
    goals : Goals
        Of this input.
    earliest : int
        Place of the pair to fall back to, when nothing is expected in time.
    """
    on_time = estimates.on_time
    if goals.accuracy is not None:
        feasible = estimates.accuracy >= np.asarray(goals.accuracy)
        feasible &= on_time
        places = feasible.nonzero()[0]
    else:
        affordable = estimates.energy <= np.asarray(goals.energy)
        affordable &= on_time
        places = _most_accurate(affordable.nonzero()[0], estimates)
    if not len(places):
        places = _most_accurate(on_time.nonzero()[0], estimates)
    return _cheapest(places, estimates) if len(places) else earliest


def _most_accurate(places: np.ndarray, estimates: Estimates) -> np.ndarray:
    """Those of some places that are as accurate as the best of them."""
    if not len(places):
        return places
    accuracy = estimates.accuracy[places]
    return places[accuracy >= np.asarray(accuracy[accuracy.argmax()] - RESOLUTION)]


def _cheapest(places: np.ndarray, estimates: Estimates) -> int:
    return int(places[estimates.energy[places].argmin()])


def _check_power(name: str, watts: float | None) -> None:
    if watts is not None and not 0 < watts < math.inf:
        raise ValueError(f"{name} is {watts} W; it must be positive (None: not measured)")


def _relaxed(goals: Goals, accuracy: float, energy: float, late: bool) -> tuple[str, ...]:
    missed = []
    if goals.energy is not None and energy > goals.energy:
        missed.append("energy")
    if goals.accuracy is not None and accuracy < goals.accuracy:
        missed.append("accuracy")
    if late:
        missed.append("deadline")
    return tuple(missed)
