"""Live mode: what ALERT's idea is worth on the reader's own machine."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from common.hardware.meters import Meter, MeterSet, available_meters
from projects.alert.contention import GPU, QUIET, bursts, contention
from projects.alert.controller import AlertController
from projects.alert.filters import KalmanConfig
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
    on_gpu = run.target == "gpu"
    family = family_of(run, "trained" if on_gpu else params["family"])
    loads = [GPU] if on_gpu else params["loads"]
    knob = find_knob(run.target, params["levels"])
    with knob:
        x = family.images[: params["tiles"]]
        frame = measure_profile(family.candidates, knob, x, runs=params["runs"], power=FREQUENCY)
    _observe_profile(run, frame, family, knob)
    cells = list(itertools.product(params["deadlines"], run.seeds))
    names = [name for name in SCHEMES if name in params["schemes"]]
    # as many processes as cores, started before any quota so that none of them shares it
    with contention(loads, params["processes"], limit=4 * 3600) as switch:
        for factor, seed in run.cells(cells):
            bench = _bench(family, knob, frame, factor)
            stream = _stream(run, family, loads, seed)
            for name in _rotated(names, seed):
                switch(QUIET)
                with MeterSet(_energy_meters(run.target)) as counters:
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
                _observe_counters(run, name, counters, bench, seed, factor, len(stream))


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


def _stream(run: Run, family: Family, loads: Sequence[str], seed: int) -> list[Frame]:
    params = run.params
    plan = bursts(params["inputs"], params["stretch"], loads)
    chosen = run.rng("stream", seed).integers(0, len(family.labels), (len(plan), params["tiles"]))
    return [
        Frame(family.images[tiles], family.labels[tiles], load)
        for tiles, load in zip(chosen, plan, strict=True)
    ]


def _rotated(names: Sequence[str], turn: int) -> list[str]:
    """Begin with another scheme each time, so that no scheme always meets a warm machine."""
    turn %= max(len(names), 1)
    return [*names[turn:], *names[:turn]]


def _energy_meters(target: str) -> list[Meter]:
    """Counters of this machine, if it has any; they count whatever runs, the load included."""
    return [meter for meter in available_meters(target) if meter.quantity == "energy"]


def _observe_counters(
    run: Run,
    name: str,
    counters: MeterSet,
    bench: Bench,
    seed: int,
    factor: float,
    inputs: int,
) -> None:
    for reading in counters.readings:
        run.observe(
            {"energy_counted": reading.value / inputs},
            variant=name,
            dataset=bench.family.dataset,
            item=f"{factor:g} {seed}",
            seed=seed,
            unit=reading.unit,
            measurement=reading.measurement,
            meter=reading.meter,
            factor=factor,
        )


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
