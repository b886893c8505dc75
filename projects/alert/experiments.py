"""The experiments in replay: all schemes, ablations, one run over time, and what ALERT costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from projects.alert.environment import LOADS, Environment
from projects.alert.replay import MODES, Constraints, Outcome, Problem, reference_latency, replay

if TYPE_CHECKING:
    from common.run import Run
    from projects.alert.profile import ProfileTable


def candidates(run: Run) -> None:
    """Latency, accuracy and energy of every pair of the profile tables (motivation)."""
    from projects.alert.platforms import load_profile

    for platform in run.cells(run.params["platforms"]):
        name, profile = load_profile(run, platform)
        for row in profile.to_frame().itertuples(index=False):
            labels = {
                "variant": row.model,
                "dataset": name,
                "item": f"{row.model} {row.stage} {row.setting:g}",
                "platform": platform,
                "stage": row.stage,
                "setting": row.setting,
                "unit_of_setting": profile.setting_unit,
            }
            run.observe({"latency": row.latency}, unit="s", measurement="modelled", **labels)
            run.observe({"accuracy": row.accuracy}, **labels)
            energy = row.power * row.latency
            run.observe({"run_energy": energy}, unit="J", measurement="modelled", **labels)


def schemes(run: Run) -> None:
    """All schemes in all environments, modes and constraint settings (main table)."""
    from projects.alert.baselines import BASELINES, oracle_static
    from projects.alert.schemes import ALERT_SCHEMES

    makers = {**ALERT_SCHEMES, **BASELINES}
    for labels, problem in _problems(run):
        results = {"OracleStatic": oracle_static(problem, 1 - run.params["allowed"])}
        results |= {name: replay(problem, make(problem)) for name, make in makers.items()}
        _observe(run, labels, problem, results)


def ablation(run: Run) -> None:
    """ALERT without parts of itself, and with other constants."""
    from projects.alert.baselines import oracle_static
    from projects.alert.schemes import ABLATIONS, Adaptive, Oracle

    for labels, problem in _problems(run):
        results = {
            "OracleStatic": oracle_static(problem, 1 - run.params["allowed"]),
            "Oracle": replay(problem, Oracle(problem)),
        }
        for name, options in ABLATIONS.items():
            results[name] = replay(problem, Adaptive(problem, **options))
        _observe(run, labels, problem, results)


def timeline(run: Run) -> None:
    """One controller over time, for each preset: what it believes and what it picks."""
    from projects.alert.controller import AlertController
    from projects.alert.filters import PRESETS, KalmanConfig
    from projects.alert.goals import Goals
    from projects.alert.platforms import load_environment, load_profile, weaker

    params = run.params
    name, profile = load_profile(run, params["platform"])
    size = params["inputs"], len(profile.models)
    trace, environment = load_environment(run, params["source"], params["load"], *size)
    dataset = weaker(name, trace)
    goal = float(np.median(profile.final_accuracy))
    goals = Goals(deadline=params["deadline"] * reference_latency(profile), accuracy=goal)
    for preset in run.cells(list(PRESETS)):
        controller = AlertController(profile, goals, KalmanConfig.preset(preset))
        for step, metrics, model in _over_time(controller, environment):
            run.observe(metrics, variant=preset, dataset=dataset, item=f"{step:05d}", model=model)


def overhead(run: Run) -> None:
    """Seconds of one decide and observe, per number of networks and settings."""
    from projects.alert.cost import cycles, filter_seconds, peer_filter_seconds, random_profile

    run.synthetic("random profile", "latencies and accuracies drawn at random")
    labels: dict[str, Any] = {"dataset": "random profile", "unit": "s"}
    labels |= {"measurement": "measured", "meter": "time.perf_counter"}
    shapes = [tuple(shape) for shape in run.params["shapes"]]
    for models, settings, seed in run.cells([(*s, seed) for s in shapes for seed in run.seeds]):
        profile = random_profile(run.rng(models, settings), models, settings)
        for mode in MODES:
            seconds = cycles(profile, mode, run.params["cycles"], run.rng(seed))
            quantiles = {f"p{q}": float(np.percentile(seconds, q)) for q in (50, 99)}
            size = {"models": models, "settings": settings, "mode": mode}
            run.observe(quantiles, variant="ALERT", item=str(seed), seed=seed, **size, **labels)
    for seed in run.cells(run.seeds):
        for variant, timed in (("ALERT", filter_seconds), ("filterpy", peer_filter_seconds)):
            try:
                seconds = timed(run.params["cycles"], run.rng("filter", seed))
            except ImportError as error:
                run.skip(variant, str(error))
                continue
            run.observe({"filter": seconds}, variant=variant, item=str(seed), seed=seed, **labels)


def _problems(run: Run) -> Iterator[tuple[dict[str, Any], Problem]]:
    """Every platform, source of environments, load and mode, with the labels of its numbers."""
    from projects.alert.platforms import load_environment, load_profile, weaker

    params = run.params
    keys = [
        (platform, source, load, mode)
        for platform in params["platforms"]
        for source in params["sources"]
        for load in LOADS
        for mode in MODES
    ]
    profiles: dict[str, tuple[str, ProfileTable]] = {}
    for platform, source, load, mode in run.cells(keys):
        if platform not in profiles:
            profiles[platform] = load_profile(run, platform)
        name, profile = profiles[platform]
        size = params["inputs"], len(profile.models)
        trace, environment = load_environment(run, source, load, *size)
        goals = Constraints.grid(profile, mode, params["deadlines"], params["goals"])
        labels = {"platform": platform, "source": source, "environment": load, "mode": mode}
        yield {"dataset": weaker(name, trace), **labels}, Problem(profile, environment, goals)


def _observe(
    run: Run, labels: Mapping[str, Any], problem: Problem, results: Mapping[str, Outcome]
) -> None:
    """Record every scheme in every setting; joules come from power curves, so they are modelled."""
    from projects.alert.summary import summarise

    table = summarise(results, problem.constraints, allowed=run.params["allowed"])
    what = " ".join(str(labels[name]) for name in ("platform", "source", "environment", "mode"))
    # which answers are late hangs on the profile, so the error is as good as its experiment says
    by_mode = {"energy": "modelled", "error": run.declared.measurement}[labels["mode"]]
    for row in table.to_dict("records"):
        here = {"variant": row["scheme"], "item": f"{what} {row['setting']:03d}", **labels}
        here["excluded"] = bool(row["excluded"])
        met = row["normalised"] if row["met"] else np.nan
        run.observe({"energy": row["energy"]}, unit="J", measurement="modelled", **here)
        shares = {name: row[name] for name in ("error", "violations", "late")}
        kept = {name: float(row[name]) for name in ("met", "on_average")}
        run.observe({**shares, **kept}, **here)
        normalised = {"normalised": row["normalised"], "normalised_met": met}
        run.observe(normalised, measurement=by_mode, **here)


def _over_time(
    controller: Any, environment: Environment
) -> Iterator[tuple[int, dict[str, float], str]]:
    profile = controller.profile
    for step in range(len(environment)):
        mu, sd = controller.xi.mu, float(np.sqrt(controller.xi.variance))
        decision = controller.decide()
        i = profile.models.index(decision.model)
        j = profile.settings.index(decision.setting)
        ratio = float(environment.slow_down[step] * environment.jitter[step, i])
        ends = profile.latency[i, : profile.stages[i], j] * ratio
        stopped = decision.stop_at is not None
        done = int((ends <= decision.stop_at).sum()) if stopped else len(ends)
        controller.observe(float(ends[max(done, 1) - 1]), completed_stage=done)
        metrics = {
            "mu": mu,
            "sd": sd,
            "slow_down": ratio,
            "busy": float(environment.busy[step]),
            "latency": float(min(ends[-1], decision.stop_at) if stopped else ends[-1]),
            "deadline": controller.goals.deadline,
            "setting": decision.setting,
            "chosen": float(i),
        }
        yield step, metrics, decision.model
