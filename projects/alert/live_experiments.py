"""Live mode and the recorded contention: what ALERT's idea is worth on the reader's own machine."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from projects.alert.contention import QUIET, bursts, contention
from projects.alert.controller import AlertController
from projects.alert.filters import KalmanConfig, SlowDown
from projects.alert.goals import Goals
from projects.alert.knob import Knob, PowerModel, find_knob
from projects.alert.live import Frame, Record, Scheme, Static, play
from projects.alert.networks import Family
from projects.alert.profile import ProfileTable

if TYPE_CHECKING:
    import pandas as pd

    from common.run import Run

# A quota stands for a lower frequency in one model and is what it is, a core switched off for part
# of the time, in the other. Decisions are taken with the first.
FREQUENCY, DUTY = PowerModel(), PowerModel(exponent=1.0)
ON_TIME = 0.95  # share of inputs that Sys-only wants answered in time


@dataclass(frozen=True)
class Bench:
    """What every scheme of a live run shares."""

    family: Family
    knob: Knob
    profile: ProfileTable
    deadline: float
    overhead: float

    @property
    def budget(self) -> float:
        """Joules of a period at full power: a budget that never binds."""
        return float(self.profile.power.max()) * self.deadline

    @property
    def big(self) -> str:
        """The most accurate traditional network."""
        return self.family.traditional[-1].name

    @property
    def small(self) -> str:
        """The least accurate traditional network, which is the fastest."""
        return self.family.traditional[0].name


def _alert(bench: Bench, **config: Any) -> AlertController:
    goals = Goals(bench.deadline, energy=bench.budget)
    settings = KalmanConfig.preset(**{"name": "responsive", **config})
    return AlertController(bench.profile, goals, settings, overhead=bench.overhead)


def _alert_energy(bench: Bench) -> AlertController:
    """Least energy at the accuracy of the network in the middle, when nine in ten are in time."""
    accuracies = np.sort(bench.profile.final_accuracy)
    wanted = 0.9 * float(accuracies[len(accuracies) // 2]) + 0.1 * bench.profile.fail_accuracy
    goals = Goals(bench.deadline, accuracy=wanted)
    return AlertController(bench.profile, goals, overhead=bench.overhead)


def _sys_only(bench: Bench) -> AlertController:
    """The fastest network, and the lowest setting that answers in time."""
    table = bench.profile.select([bench.small])
    wanted = ON_TIME * float(table.final_accuracy[0]) + (1 - ON_TIME) * table.fail_accuracy
    goals = Goals(bench.deadline, accuracy=wanted)
    return AlertController(table, goals, overhead=bench.overhead)


SCHEMES: Mapping[str, Callable[[Bench], Scheme]] = {
    "ALERT": _alert,
    "ALERT smooth": lambda bench: _alert(bench, name="smooth"),
    "ALERT min-energy": _alert_energy,
    "Sys-only": _sys_only,
    "App-only": lambda b: Static(b.family.anytime.name, b.knob.full, b.deadline - b.overhead),
    "static small": lambda bench: Static(bench.small, bench.knob.full),
    "static big": lambda bench: Static(bench.big, bench.knob.full),
}


def live(run: Run) -> None:
    """Real inference under a load that comes and goes: misses, errors and energy of each scheme."""
    from projects.alert.networks import family_of
    from projects.alert.profiling import measure_profile

    params = run.params
    family = family_of(run, params["family"])
    knob = find_knob(run.target, params["levels"])
    with knob:
        x = family.images[: params["tiles"]]
        frame = measure_profile(family.candidates, knob, x, runs=params["runs"], power=FREQUENCY)
    _observe_profile(run, frame, family, knob)
    cells = list(itertools.product(params["deadlines"], run.seeds))
    names = [name for name in SCHEMES if name in params["schemes"]]
    # as many processes as cores, started before any quota so that none of them shares it
    with contention(params["loads"], params["processes"], limit=3600) as switch:
        for factor, seed in run.cells(cells):
            bench = _bench(family, knob, frame, factor)
            stream = _stream(run, family, seed)
            for name in _rotated(names, seed):
                switch(QUIET)
                records = play(
                    SCHEMES[name](bench),
                    family.candidates,
                    knob,
                    stream,
                    deadline=bench.deadline,
                    switch=switch,
                    pace=params["pace"],
                )
                _observe(run, name, records, bench, seed, factor)


def _bench(family: Family, knob: Knob, frame: pd.DataFrame, factor: float) -> Bench:
    power = FREQUENCY.watts(1.0)
    profile = ProfileTable.from_frame(
        frame,
        fail_accuracy=1 / family.classes,
        idle_ratio=FREQUENCY.idle / power,
        setting_unit=knob.unit,
    )
    big = profile.models.index(family.traditional[-1].name)
    deadline = factor * float(profile.final_latency[big, -1])
    return Bench(family, knob, profile, deadline, overhead=min(5e-4, deadline / 20))


def _stream(run: Run, family: Family, seed: int) -> list[Frame]:
    params = run.params
    plan = bursts(params["inputs"], params["stretch"], params["loads"])
    chosen = run.rng("stream", seed).integers(0, len(family.labels), (len(plan), params["tiles"]))
    return [
        Frame(family.images[tiles], family.labels[tiles], load)
        for tiles, load in zip(chosen, plan, strict=True)
    ]


def _rotated(names: Sequence[str], turn: int) -> list[str]:
    """Begin with another scheme each time, so that no scheme always meets a warm machine."""
    turn %= max(len(names), 1)
    return [*names[turn:], *names[:turn]]


def _observe_profile(run: Run, frame: pd.DataFrame, family: Family, knob: Knob) -> None:
    for row in frame.to_dict("records"):
        where = {"model": row["model"], "stage": row["stage"], "setting": row["setting"]}
        run.observe(
            {"profile_latency": row["latency"]},
            variant=row["model"],
            dataset=family.dataset,
            item=f"{row['model']} {row['stage']} {row['setting']:g}",
            unit="s",
            meter="wall_clock",
            **where,
            accuracy=row["accuracy"],
            knob=knob.name,
        )


def _observe(
    run: Run, name: str, records: Sequence[Record], bench: Bench, seed: int, factor: float
) -> None:
    """Report every stretch between two switches as one unit, and one repetition input by input."""
    where = {"variant": name, "dataset": bench.family.dataset, "seed": seed, "factor": factor}
    for number, (load, group) in enumerate(itertools.groupby(records, key=lambda r: r.load)):
        stretch = list(group)
        item = {"item": f"{factor:g} {seed} {number}", "load": load, **where}
        run.observe(_quality(stretch, bench), unit="share", **item)
        run.observe(_times(stretch, bench), unit="", meter="wall_clock", **item)
        for metric, model in (("energy", FREQUENCY), ("energy_duty", DUTY)):
            joules = np.mean([_energy(r, bench, model) for r in stretch])
            label = {"measurement": "modelled", "meter": model.describe()}
            run.observe({metric: joules}, unit="J", **label, **item)
    if seed == 0 and factor == run.params["deadlines"][0]:
        _observe_timeline(run, records, bench, where)


def _quality(stretch: Sequence[Record], bench: Bench) -> dict[str, float]:
    """Share of late answers, and of wrong ones; a late answer is worth a guess."""
    guess = 1 - 1 / bench.family.classes
    wrong = [guess if record.missed else 1 - record.right for record in stretch]
    late = [record.missed for record in stretch]
    return {"misses": float(np.mean(late)), "error": float(np.mean(wrong))}


def _times(stretch: Sequence[Record], bench: Bench) -> dict[str, float]:
    """Mean slow-down over the profile, response and overhead over the deadline."""
    ratios = [r.latency / _profiled(r, bench.profile) for r in stretch]
    waited = [r.response - r.latency for r in stretch]
    return {
        "slow_down": float(np.mean(ratios)),
        "response": float(np.mean([r.response for r in stretch])) / bench.deadline,
        "overhead": float(np.median(waited)) / bench.deadline,
    }


def _profiled(record: Record, profile: ProfileTable) -> float:
    model = profile.models.index(record.model)
    setting = profile.settings.index(record.setting)
    return float(profile.latency[model, record.stage - 1, setting])


def _energy(record: Record, bench: Bench, model: PowerModel) -> float:
    return model.energy(bench.knob.share(record.setting), record.busy, bench.deadline)


def _observe_timeline(
    run: Run, records: Sequence[Record], bench: Bench, where: Mapping[str, Any]
) -> None:
    for record in records:
        run.observe(
            {
                "timeline_response": record.response,
                "timeline_xi": record.slow_down,
                "timeline_sd": record.deviation,
            },
            item=f"input {record.index}",
            index=record.index,
            load=record.load,
            model=record.model,
            stage=record.stage,
            setting=record.setting,
            deadline=bench.deadline,
            **where,
        )


# -- the recorded trace --------------------------------------------------------------------

PRESETS = {
    "responsive": KalmanConfig.preset("responsive"),
    "smooth": KalmanConfig.preset("smooth"),
    "textbook": KalmanConfig.preset("responsive", textbook=True),
}
NORMAL_95 = 1.959964


def contention_trace(run: Run) -> None:
    """How much a co-running load slows an inference down, and how well each filter foresees it."""
    from projects.alert.recordings import CONTENTION, read

    path = run.recorded(CONTENTION, name="contention")
    trace = _synthetic_trace(run) if path is None else read(path)
    trace = trace.iloc[: run.params["inputs"]]
    quiet = trace.loc[trace["load"] == QUIET, "seconds"].median()
    ratio = (trace["seconds"] / quiet).to_numpy()
    loads = trace["load"].to_numpy()
    burst = np.cumsum(np.r_[0, loads[1:] != loads[:-1]])
    for number in range(burst[-1] + 1):
        inside = burst == number
        values = ratio[inside]
        item = {"item": f"burst {number}", "load": loads[inside][0], "dataset": "contention"}
        run.observe(
            {
                "slow_down": values.mean(),
                "slow_down_p95": np.quantile(values, 0.95),
                "variation": values.std() / values.mean(),
                "burst_length": len(values),
            },
            variant="trace",
            **item,
        )
    for preset, config in PRESETS.items():
        mean, deviation = foreseen(ratio, config)
        covered = np.abs(ratio - mean) <= NORMAL_95 * deviation
        for number in range(burst[-1] + 1):
            inside = burst == number
            run.observe(
                {
                    "coverage": covered[inside].mean(),
                    "band": 2 * NORMAL_95 * deviation[inside].mean(),
                    "missed_by": np.abs(ratio - mean)[inside].mean(),
                },
                variant=preset,
                dataset="contention",
                item=f"burst {number}",
                load=loads[inside][0],
            )
        _observe_series(run, preset, ratio, mean, deviation, loads)


def foreseen(ratio: np.ndarray, config: KalmanConfig) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of xi before each measured ratio, shape (n,) each."""
    xi = SlowDown.start(config)
    mean, deviation = np.empty(len(ratio)), np.empty(len(ratio))
    for place, value in enumerate(ratio):
        mean[place], deviation[place] = xi.mu, xi.variance**0.5
        xi.update(float(value))
    return mean, deviation


def _observe_series(
    run: Run,
    preset: str,
    ratio: np.ndarray,
    mean: np.ndarray,
    deviation: np.ndarray,
    loads: np.ndarray,
) -> None:
    """The first inputs one by one, for the figure."""
    for place in range(min(run.params["shown"], len(ratio))):
        run.observe(
            {
                "series_ratio": ratio[place],
                "series_mean": mean[place],
                "series_sd": deviation[place],
            },
            variant=preset,
            dataset="contention",
            item=f"input {place}",
            index=place,
            load=loads[place],
        )


def _synthetic_trace(run: Run) -> pd.DataFrame:
    """Bursts of the generated environments in place of the recorded ones."""
    import pandas as pd

    from projects.alert.environment import BUSY, LOADS
    from projects.alert.environment import QUIET as QUIET_SD

    run.synthetic("contention", "bursts of the generated memory and compute environments")
    rng = run.rng("trace")
    loads = np.array(bursts(run.params["inputs"], 200, rng=rng))
    extra = np.zeros(len(loads))
    for load in ("memory", "compute"):
        extra[loads == load] = rng.uniform(*LOADS[load], (loads == load).sum())
    noise = rng.normal(0, np.where(loads == QUIET, QUIET_SD, BUSY))
    seconds = 0.004 * (1 + extra) * np.exp(noise)
    return pd.DataFrame({"input": np.arange(len(loads)), "seconds": seconds, "load": loads})
