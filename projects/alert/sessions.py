"""One session out of several: ONNX Runtime sessions behind a deadline.

``wrap([small, big], deadline=0.02)`` is called like an ``InferenceSession`` and picks the network
before every call.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from common.hardware.actuators import Range, SimulatedActuator
from projects.alert.controller import AlertController
from projects.alert.goals import Goals
from projects.alert.knob import Knob
from projects.alert.profile import ProfileTable
from projects.alert.profiling import measure_profile
from projects.alert.runners import Answer, AnytimeRunner, Candidate, Clock, Runner
from projects.alert.signatures import in_common, is_anytime, named, opened_as, zeros

if TYPE_CHECKING:
    from projects.alert.filters import KalmanConfig

UNBOUND_J = 1e12
"""Energy goal of a wrapper that is given none: more than any inference takes."""


class _Call(NamedTuple):
    """One call: the outputs wanted and the inputs by name."""

    outputs: Sequence[str]
    feed: Mapping[str, np.ndarray]
    options: Any = None


def wrap(
    candidates: Sequence[Any],
    *,
    deadline: float,
    accuracies: Sequence[float | Sequence[float]] | None = None,
    accuracy: float | None = None,
    energy: float | None = None,
    probability: float | None = None,
    profile: ProfileTable | None = None,
    feed: Mapping[str, np.ndarray] | None = None,
    runs: int = 20,
    threads: int = 1,
    overhead: float = 2e-4,
    config: KalmanConfig | None = None,
    clock: Clock = time.perf_counter,
) -> DeadlineSession:
    """Put several networks for the same task behind one deadline.

    Parameters
    ----------
    candidates : sequence
        ``InferenceSession`` objects, paths or bytes of ONNX files, and anytime networks (anything
        with ``stages(x)`` and ``num_stages``, such as ``projects.osgd.OnnxStages``), from the least
        to the most accurate.
    deadline : float
        Seconds from the call to the answer.
    accuracies : sequence, optional
        Accuracy of each candidate in [0, 1], one per stage for an anytime network; default: evenly
        spaced ranks, which is enough to prefer the later candidate whenever time allows.
    accuracy, energy, probability : float, optional
        Goals of :class:`projects.alert.goals.Goals`; with neither of the first two the most
        accurate answer in time is wanted, whatever the energy. Energy is modelled.
    profile : ProfileTable, optional
        With one setting and the networks' names; default: taken now, which runs every network
        ``runs`` times.
    feed : mapping, optional
        Input of the profiling runs; default: zeros, with 1 for every free dimension.
    runs, threads : int
        Profiling runs, and threads of sessions opened here.
    overhead : float
        Seconds taken off the deadline for deciding.
    config : KalmanConfig, optional
        Constants of the filters.
    clock : callable
        Seconds, rising; replaced in tests.

    Raises
    ------
    ValueError
        If there are fewer than two candidates, their inputs differ or no output is shared, the
        profile does not fit them, or a goal is out of its range.

    Examples
    --------
    >>> from projects.alert.ridge_networks import network
    >>> session = wrap([network(2, seed=0), network(8, seed=0)], deadline=0.5)
    >>> image = np.zeros((1, 1, 32, 32), np.float32)
    >>> session.run(["logits"], {"image": image})[0].shape, session.statistics()["calls"]
    ((1, 10), 1)
    """
    if len(candidates) < 2:
        raise ValueError(f"{len(candidates)} candidates; a choice needs at least two")
    if accuracy is not None and accuracies is None:
        raise ValueError("an accuracy goal needs accuracies=, one per candidate")
    if accuracy is None and energy is None:
        energy = UNBOUND_J
    goals = Goals(deadline, accuracy=accuracy, energy=energy, probability=probability)
    opened = {name: opened_as(found, threads) for name, found in named(candidates)}
    inputs, outputs = in_common(opened)
    runners = {name: _runner(found, inputs, clock) for name, found in opened.items()}
    if profile is None:
        worth = _ranks(runners) if accuracies is None else _stairs(accuracies)
        if len(worth) != len(runners):
            raise ValueError(f"{len(worth)} accuracies for {len(runners)} candidates")
        measured = [
            Candidate(name, stairs, runner)
            for (name, runner), stairs in zip(runners.items(), worth, strict=True)
        ]
        call = _Call([item.name for item in outputs], feed or zeros(inputs))
        profile = _profile(measured, call, runs)
    _check_profile(profile, runners)
    controller = AlertController(profile, goals, config, overhead=overhead)
    return DeadlineSession(runners, controller, inputs, outputs, clock)


class DeadlineSession:
    """What :func:`wrap` returns: an ``InferenceSession`` that chooses its network.

    Safe to call from several threads; calls take turns, for two at once would disturb each other's
    timing and the controller learns from one answer at a time. Waiting for one's turn counts.

    Attributes
    ----------
    controller : AlertController
        Decides and learns; ``controller.profile`` is the table in use.
    last : tuple or None
        Decision and :class:`Answer` of the call before.
    """

    def __init__(
        self,
        runners: Mapping[str, Runner],
        controller: AlertController,
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        clock: Clock = time.perf_counter,
    ) -> None:
        self.controller = controller
        self.last: tuple[Any, Answer] | None = None
        self._runners, self._inputs, self._outputs = runners, list(inputs), list(outputs)
        self._clock, self._turn = clock, threading.Lock()
        self._chosen: Counter[str] = Counter()
        self._missed, self._seconds = 0, 0.0

    def get_inputs(self) -> list[Any]:
        """Inputs, the same for every candidate."""
        return self._inputs

    def get_outputs(self) -> list[Any]:
        """Outputs that every candidate has; of anytime networks the answer alone."""
        return self._outputs

    def run(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, np.ndarray],
        run_options: Any = None,
    ) -> list[Any]:
        """Answer one call; late answers are returned too, and counted.

        Parameters
        ----------
        output_names : sequence of str or None
            Outputs wanted, None for all that the candidates share.
        input_feed : mapping
            Inputs by name.
        run_options : RunOptions, optional
            Passed on to traditional networks.

        Raises
        ------
        ValueError
            If an output is unknown or an input is missing.
        """
        arrival = self._clock()
        names = self._checked(output_names, input_feed)
        with self._turn:
            decision = self.controller.decide()
            spent = self._clock() - arrival
            stop_at = None if decision.stop_at is None else decision.stop_at - spent
            call = _Call(names, input_feed, run_options)
            answer = self._runners[decision.model].run(call, stop_at)
            self.controller.observe(answer.latency, completed_stage=answer.stage)
            response = spent + answer.latency
            self.last = decision, answer
            self._chosen[decision.model] += 1
            self._seconds += response
            self._missed += response > self.controller.goals.deadline
        return answer.output

    def statistics(self) -> dict[str, Any]:
        """Calls, deadline misses, mean response (s), calls per network, and xi now."""
        calls = sum(self._chosen.values())
        return {
            "calls": calls,
            "missed": self._missed,
            "mean_response": self._seconds / calls if calls else float("nan"),
            "chosen": dict(self._chosen),
            "slow_down": float(self.controller.xi.mu),
        }

    def _checked(
        self, outputs: Sequence[str] | None, feed: Mapping[str, np.ndarray]
    ) -> Sequence[str]:
        given, wanted = [item.name for item in self._outputs], [item.name for item in self._inputs]
        if unknown := [name for name in outputs or () if name not in given]:
            raise ValueError(f"unknown output {unknown[0]!r}; allowed: {', '.join(given)}")
        if set(feed) != set(wanted):
            raise ValueError(f"inputs {sorted(feed)}; expected {', '.join(wanted)}")
        return given if outputs is None else outputs


class _SessionRunner:
    """A session whose answer is the list of outputs that the call names."""

    num_stages = 1

    def __init__(self, session: Any, clock: Clock) -> None:
        self._session, self._clock = session, clock

    def run(self, x: _Call, stop_at: float | None = None) -> Answer:
        begin = self._clock()
        output = self._session.run(x.outputs, dict(x.feed), x.options)
        return Answer(output, 1, (self._clock() - begin,))


def _runner(candidate: Any, inputs: Sequence[Any], clock: Clock) -> Runner:
    if not is_anytime(candidate):
        return _SessionRunner(candidate, clock)
    name = inputs[0].name

    def stages(call: _Call) -> Iterable[list[Any]]:
        return ([output] for output in candidate.stages(call.feed[name]))

    return AnytimeRunner(stages, candidate.num_stages, clock)


def _ranks(runners: Mapping[str, Runner]) -> list[tuple[float, ...]]:
    """Accuracies that say no more than which candidate and which stage is better."""
    count = len(runners)
    return [
        tuple((place + (s + 1) / runner.num_stages) / count for s in range(runner.num_stages))
        for place, runner in enumerate(runners.values())
    ]


def _stairs(accuracies: Sequence[float | Sequence[float]]) -> list[tuple[float, ...]]:
    return [
        tuple(map(float, given)) if isinstance(given, Sequence) else (float(given),)
        for given in accuracies
    ]


def _profile(measured: Sequence[Candidate], call: _Call, runs: int) -> ProfileTable:
    actuator = SimulatedActuator("full speed", Range(1.0, 1.0, "of full speed"))
    with Knob(actuator, [1.0]) as knob:
        frame = measure_profile(measured, knob, call, runs=runs)
    return ProfileTable.from_frame(frame, setting_unit="of full speed")


def _check_profile(profile: ProfileTable, runners: Mapping[str, Runner]) -> None:
    if set(profile.models) != set(runners):
        raise ValueError(f"profile names {list(profile.models)}, candidates are {list(runners)}")
    if len(profile.settings) != 1:
        raise ValueError(
            f"profile has {len(profile.settings)} settings; a wrapper turns no knob, give it one"
        )
    for name, stages in zip(profile.models, profile.stages, strict=True):
        if stages != runners[name].num_stages:
            raise ValueError(
                f"profile has {stages} stages of {name!r}, it has {runners[name].num_stages}"
            )
