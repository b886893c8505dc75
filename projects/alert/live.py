"""Live mode: decide, actuate, run, observe, before every input and on real hardware."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from common.errors import did_you_mean
from projects.alert.contention import QUIET
from projects.alert.controller import Decision
from projects.alert.knob import Knob
from projects.alert.runners import Candidate, Clock

if TYPE_CHECKING:
    import numpy as np

Pace = Literal["back_to_back", "real_time"]


class Scheme(Protocol):
    """What chooses: the ALERT controller, or a simpler rule with the same two calls."""

    def decide(self) -> Decision:
        """Choose network and setting for the next input."""
        ...

    def observe(self, latency: float, *, completed_stage: int) -> None:
        """Learn what happened to the input decided last."""
        ...


class Static:
    """One network at one setting, whatever happens; App-only where that network is anytime.

    Parameters
    ----------
    model : str
        Name of the candidate.
    setting : float
        Where the knob stays.
    stop_at : float, optional
        When an anytime network is stopped, seconds.
    """

    def __init__(self, model: str, setting: float, stop_at: float | None = None) -> None:
        nan = float("nan")
        self._choice = Decision(model, setting, stop_at, nan, nan, nan)

    def decide(self) -> Decision:
        """The same choice as ever."""
        return self._choice

    def observe(self, latency: float, *, completed_stage: int) -> None:
        """Nothing is learnt."""


class Frame(NamedTuple):
    """One input: a batch of images, their classes, and the load that runs beside it.

    Several images an input, such as the tiles of a video frame, make a small network take the
    milliseconds that a deadline is about.
    """

    x: np.ndarray
    labels: np.ndarray
    load: str = QUIET


@dataclass(frozen=True)
class Record:
    """What happened to one input.

    Attributes
    ----------
    index : int
        Place in the stream.
    load : str
        What ran beside it.
    model, setting, stage
        What was chosen, and the stage of the answer.
    latency, busy : float
        Seconds from the start of the run to the answer, and until the runner was free.
    response : float
        Seconds from the arrival of the input to the answer: waiting for the runner, deciding and
        actuating included.
    missed : bool
        Whether the response came after the deadline.
    right : float
        Share of the images answered right, late or not.
    slow_down, deviation : float
        Mean and standard deviation of xi with which the decision was taken, NaN for a scheme that
        has none.
    """

    index: int
    load: str
    model: str
    setting: float
    stage: int
    latency: float
    busy: float
    response: float
    missed: bool
    right: float
    slow_down: float
    deviation: float


def play(
    scheme: Scheme,
    candidates: Sequence[Candidate],
    knob: Knob,
    stream: Sequence[Frame],
    *,
    deadline: float,
    switch: Callable[[str], None] | None = None,
    pace: Pace = "back_to_back",
    clock: Clock = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Record]:
    """Answer a stream of inputs.

    Parameters
    ----------
    scheme : Scheme
        Chooses before every input and learns after it.
    candidates : sequence of Candidate
        The networks it may choose.
    knob : Knob
        Entered here, so it is undone whatever happens.
    stream : sequence of Frame
        Inputs in order.
    deadline : float
        Seconds from an input's arrival to its answer; also the period in real time.
    switch : callable, optional
        Takes the name of the load that is to run from now on.
    pace : {"back_to_back", "real_time"}
        Next input as soon as the runner is free, or at the next multiple of the deadline; an input
        that arrives while the runner is busy waits, and that counts.
    clock, sleep : callable
        Replaced in tests.

    Returns
    -------
    list of Record
        One per input.

    Raises
    ------
    ValueError
        If the deadline is not positive, the pace unknown or the scheme names no candidate.
    """
    if not deadline > 0:
        raise ValueError(f"deadline={deadline} s; it must be positive")
    if pace not in ("back_to_back", "real_time"):
        raise ValueError(f"pace {pace!r}{did_you_mean(pace, ('back_to_back', 'real_time'))}")
    by_name = {candidate.name: candidate for candidate in candidates}
    records = []
    with knob:
        start = clock()
        for index, frame in enumerate(stream):
            if switch is not None:
                switch(frame.load)
            arrival = clock()
            if pace == "real_time":
                arrival = start + index * deadline
                sleep(max(arrival - clock(), 0.0))
            records.append(_answer(scheme, by_name, knob, index, frame, deadline, arrival, clock))
    return records


def _answer(
    scheme: Scheme,
    by_name: Mapping[str, Candidate],
    knob: Knob,
    index: int,
    frame: Frame,
    deadline: float,
    arrival: float,
    clock: Clock,
) -> Record:
    mean, deviation = _belief(scheme)
    decision = scheme.decide()
    if decision.model not in by_name:
        hint = did_you_mean(decision.model, by_name)
        raise ValueError(f"the scheme chose {decision.model!r}, which is no candidate{hint}")
    knob.apply(decision.setting)
    begin = clock()
    answer = by_name[decision.model].runner.run(frame.x, _left(decision, arrival, begin))
    # A late network runs to its end, so every observation is whole: nothing is censored.
    scheme.observe(answer.latency, completed_stage=answer.stage)
    response = begin - arrival + answer.latency
    return Record(
        index,
        frame.load,
        decision.model,
        decision.setting,
        answer.stage,
        answer.latency,
        answer.busy,
        response,
        response > deadline,
        float((answer.output.argmax(axis=1) == frame.labels).mean()),
        mean,
        deviation,
    )


def _left(decision: Decision, arrival: float, begin: float) -> float | None:
    """When to stop, counted from the start of the run instead of the arrival."""
    return None if decision.stop_at is None else decision.stop_at - (begin - arrival)


def _belief(scheme: Any) -> tuple[float, float]:
    xi = getattr(scheme, "xi", None)
    return (float("nan"),) * 2 if xi is None else (float(xi.mu), float(xi.variance) ** 0.5)
