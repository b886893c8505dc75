"""The hot paths beside their peers: one decision, one filter update, a replay of many settings."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from common.bench import Benchmark
from projects.alert.controller import AlertController
from projects.alert.cost import (
    PeerController,
    cycles,
    filter_seconds,
    goals_of,
    peer_filter_seconds,
    random_profile,
)
from projects.alert.data import combine, generated_curve, generated_networks
from projects.alert.environment import generate
from projects.alert.filters import KalmanConfig
from projects.alert.goals import Goals
from projects.alert.profile import ProfileTable
from projects.alert.replay import Constraints, Outcome, Problem, realise, replay
from projects.alert.schemes import Adaptive

MODELS, SETTINGS = 30, 31
CYCLES, PEER_CYCLES = 20_000, 500


def benchmarks() -> list[Benchmark]:
    """Decide and observe, the filter, and the replay; times are for the calls in ``sizes``.

    The first benchmark also reports p50 and p99 in microseconds over 100,000 cycles or more.
    """
    profile = random_profile(np.random.default_rng(0), MODELS, SETTINGS)
    pairs = {"models": MODELS, "settings": SETTINGS}
    decisions = [
        Benchmark(
            f"decide and observe, least {mode}, {PEER_CYCLES} inputs",
            partial(cycles, profile, mode, PEER_CYCLES, np.random.default_rng(1)),
            partial(peer_cycles, profile, mode, PEER_CYCLES, np.random.default_rng(1)),
            "filterpy, scipy.stats.norm, grid of pairs",
            {**pairs, "inputs": PEER_CYCLES},
            partial(_percentiles, profile, mode),
        )
        for mode in ("energy", "error")
    ]
    update = Benchmark(
        f"{CYCLES} updates of the filter",
        partial(filter_seconds, CYCLES, np.random.default_rng(2)),
        partial(peer_filter_seconds, CYCLES, np.random.default_rng(2)),
        "filterpy.kalman.KalmanFilter",
        {"updates": CYCLES},
    )
    return [*decisions, update, _replay_benchmark()]


def peer_cycles(
    profile: ProfileTable, mode: str, count: int, rng: np.random.Generator
) -> PeerController:
    """Run the version built on libraries for ``count`` inputs."""
    controller = PeerController(profile, goals_of(profile, mode))
    for ratio in np.maximum(rng.normal(1.2, 0.1, count), 0.5).tolist():
        controller.decide()
        controller.observe(ratio)
    return controller


def _percentiles(profile: ProfileTable, mode: str, *_: Any) -> dict[str, float]:
    seconds = cycles(profile, mode, 100_000, np.random.default_rng(3))
    return {f"p{q} us": 1e6 * float(np.percentile(seconds, q)) for q in (50, 99)}


def _replay_benchmark(inputs: int = 500) -> Benchmark:
    """40 settings of one scheme at once, beside one controller after another."""
    shapes = generated_curve(large=True), generated_curve(large=False)
    profile = combine(generated_networks(), *shapes, stages=[0, 2, 4, 6, 8])
    environment = generate(np.random.default_rng(4), "memory", inputs, len(profile.models))
    problem = Problem(profile, environment, Constraints.grid(profile, "energy", 8, 5))

    def agree(ours: Outcome, peer: Outcome) -> dict[str, float]:
        return {"same pairs": float((ours.pick == peer.pick).mean())}

    return Benchmark(
        "replay of ALERT, all settings at once",
        lambda: replay(problem, Adaptive(problem)),
        partial(one_by_one, problem),
        "one AlertController per setting, input by input",
        {"settings": len(problem.constraints), "inputs": inputs},
        agree,
    )


def one_by_one(
    problem: Problem, config: KalmanConfig | None = None, probability: float | None = None
) -> Outcome:
    """Replay ALERT with scalar controllers: the same decisions, by the public interface alone.

    Inputs have deadlines of their own: groups that share one are not supported here.
    """
    profile, environment = problem.profile, problem.environment
    candidates, constraints = problem.candidates, problem.constraints
    kind = {"energy": "accuracy", "error": "energy"}[constraints.minimises]
    place = {
        (profile.models[i], profile.settings[j]): n
        for n, (i, j) in enumerate(zip(candidates.model, candidates.setting, strict=True))
    }
    picks = np.empty((len(environment), len(constraints)), dtype=np.intp)
    for column, (deadline, goal) in enumerate(
        zip(constraints.deadline.tolist(), constraints.goal.tolist(), strict=True)
    ):
        controller = AlertController(
            profile, Goals(deadline, probability=probability, **{kind: goal}), config
        )
        for step in range(len(environment)):
            decision = controller.decide()
            i = profile.models.index(decision.model)
            j = profile.settings.index(decision.setting)
            ratio = environment.slow_down[step] * environment.jitter[step, i]
            ends = profile.latency[i, : profile.stages[i], j] * ratio
            done = len(ends)
            if decision.stop_at is not None:
                done = int((ends <= decision.stop_at).sum())
            seconds = ends[done - 1] if done else decision.stop_at
            controller.observe(float(seconds), completed_stage=done)
            picks[step, column] = place[decision.model, decision.setting]
    ratio = environment.ratio(candidates.model[picks])
    return realise(problem, picks, ratio, np.broadcast_to(constraints.deadline, picks.shape))
