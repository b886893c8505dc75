"""The experiments of the paper, one plain function each."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import MissingExtra
from projects.nurd.data import load_jobs, tail
from projects.nurd.evaluation import Outcome, metrics, run_method, tail_recall
from projects.nurd.job import Job
from projects.nurd.protocol import Protocol, completion_times, replay, split

if TYPE_CHECKING:
    from common.run import Run
    from projects.nurd.baselines import MethodSpec

# Value of the column `machines` where every flag gets a fresh machine.
UNLIMITED = -1.0
PROGRESS = np.linspace(0.1, 1.0, 10)


def jobs(run: Run) -> None:
    """Describe the jobs: latencies, tails, centroid ratios, and the bias that NURD corrects."""
    from projects.nurd.boosting import BoostedTrees

    loaded, protocols = _jobs(run), _protocols(run)
    for name in run.cells(loaded):
        job = loaded[name]
        labels = {"variant": "job", **_labels(job)}
        for task, latency in zip(job.tasks, job.latency, strict=True):
            run.observe({"latency": latency}, unit="s", task=str(task), **labels)
        tau = job.threshold()
        run.observe({"threshold": tau, "longest": job.latency.max()}, unit="s", **labels)
        run.observe({"tasks": job.n, "threshold_over_longest": tau / job.latency.max()}, **labels)
        for protocol in protocols.values():
            where = {**labels, **_protocol_labels(protocol)}
            run.observe({"centroid_ratio": _centroid_ratio(job, protocol)}, **where)
            ratio = _prediction_ratio(job, protocol, BoostedTrees)
            run.observe({"straggler_prediction_ratio": ratio}, **{**where, "variant": "gbtr"})


def prediction(run: Run) -> None:
    """Replay every method over every job: how well it predicts, and what acting on it saves."""
    from projects.nurd.baselines import held_out
    from projects.nurd.baselines import method as spec_of

    loaded, protocols = _jobs(run), _protocols(run)
    cells = [
        (name, key, method)
        for name, job in loaded.items()
        for key, protocol in protocols.items()
        for method in ("none", "oracle", *run.params["methods"])
        # Without a time series the three protocols are one.
        if not (job.static and protocol.name != "leak_free")
    ]
    for name, key, method in run.cells(cells):
        job, protocol = loaded[name], protocols[key]
        labels = {**_labels(job), **_protocol_labels(protocol), "variant": method}
        if method in ("none", "oracle"):
            outcome, role = _control(job, protocol, method), "control"
        else:
            spec = spec_of(method)
            role = _role(method, spec)
            if spec.max_tasks is not None and job.n > spec.max_tasks:
                run.skip(method, f"jobs of more than {spec.max_tasks} tasks ({job.name})")
                continue
            try:
                predictor = spec.make(job, 0)
                with run.measure("replay", role=role, **labels):
                    outcome = held_out(run_method(job, predictor, protocol), predictor)
            except MissingExtra as error:
                run.skip(method, str(error))
                continue
            _observe_rates(run, job, protocol, outcome, {**labels, "role": role})
            if method == "nurd" and protocol.name == "leak_free":
                _observe_tasks(run, job, protocol, outcome, {**labels, "role": role})
            degenerate = getattr(predictor, "degenerate", 0)
            run.observe({"degenerate_checkpoints": degenerate}, role=role, **labels)
        _observe_completion(run, job, protocol, outcome, {**labels, "role": role})


def sensitivity(run: Run) -> None:
    """Vary alpha and eps on every job."""
    from projects.nurd.methods import NURD

    loaded, protocols = _jobs(run), _protocols(run)
    for name, key in run.cells([(name, key) for name in loaded for key in protocols]):
        job, protocol = loaded[name], protocols[key]
        for alpha in run.params["alpha"]:
            for eps in run.params["eps"]:
                outcome = run_method(job, NURD(alpha=alpha, eps=eps), protocol)
                rates = metrics(outcome)
                run.observe(
                    {metric: rates[metric] for metric in ("f1", "tpr", "fpr")},
                    variant="nurd",
                    alpha=alpha,
                    eps=eps,
                    **_labels(job),
                    **_protocol_labels(protocol),
                )


def decision(run: Run) -> None:
    """Time one checkpoint decision against the number of tasks, beside scikit-learn's trees."""
    from projects.nurd.bench import checkpoint_problem, decide, regressors

    run.synthetic("generated-checkpoint", "one checkpoint of projects.nurd.generator's tasks")
    for n, name in run.cells([(n, name) for n in run.params["tasks"] for name in regressors()]):
        problem = checkpoint_problem(n)
        make = regressors()[name]
        decide(problem, make())
        for seed in run.seeds:
            labels = {"dataset": "generated-checkpoint", "item": f"n={n}", "seed": seed}
            with run.measure("decide", variant=name, tasks=n, **labels):
                decide(problem, make())


# -- parts ---------------------------------------------------------------------------------


def _jobs(run: Run) -> dict[str, Job]:
    return {job.name: job for job in load_jobs(run, **run.params["jobs"])}


def _protocols(run: Run) -> dict[str, Protocol]:
    """The run's protocols by the names that its cells go by."""
    protocols = [Protocol(**options) for options in run.params["protocols"]]
    return {f"{p.name}{'+clean' if p.clean else ''}/{p.every}": p for p in protocols}


def _role(name: str, spec: MethodSpec) -> str:
    """Part that a method plays in the claims: only the paper's own baselines are rivals."""
    if spec.family == "nurd":
        return "method" if name == "nurd" else "ablation"
    if spec.privileged:
        return "privileged"
    return "beyond" if spec.family == "rule" or name == "quantile" else "rival"


def _labels(job: Job) -> dict[str, Any]:
    return {
        "dataset": job.dataset,
        "item": job.name,
        "series": not job.static,
        "tail": tail(job),
    }


def _protocol_labels(protocol: Protocol) -> dict[str, Any]:
    return {"protocol": protocol.name, "clean": protocol.clean}


def _control(job: Job, protocol: Protocol, name: str) -> Outcome:
    """Flag nothing, or flag every straggler at the first checkpoint."""
    from projects.nurd.job_completion import oracle_flags

    first = next(iter(replay(job, protocol)))
    parts, slow = split(job, protocol), job.stragglers(protocol.quantile)
    chosen = slow & parts.test & (name == "oracle")
    flag_time = oracle_flags(chosen, float(first.moment.min()))
    score = np.where(chosen, 1.0, 0.0)
    return Outcome(flag_time, score, parts.test, slow, parts.dropped, 1)


def _observe_rates(
    run: Run, job: Job, protocol: Protocol, outcome: Outcome, labels: dict[str, Any]
) -> None:
    run.observe({**metrics(outcome), **tail_recall(job, outcome)}, **labels)
    run.observe({"dropped_tasks": outcome.dropped, "checkpoints": outcome.checkpoints}, **labels)
    slow = outcome.test & outcome.straggler
    caught = slow & outcome.flagged
    tau = job.threshold()
    # The threshold is a duration: count from each task's own start, not from the job's.
    age = outcome.flag_time - (completion_times(job, protocol) - job.latency)
    lead = np.median(tau - age[caught]) if caught.any() else np.nan
    run.observe({"median_lead": lead}, unit="s", **labels)
    for progress in PROGRESS:
        share = (age[slow] <= progress * tau).mean() if slow.any() else np.nan
        run.observe({"tpr_until": share}, progress=round(float(progress), 1), **labels)


def _observe_tasks(
    run: Run, job: Job, protocol: Protocol, outcome: Outcome, labels: dict[str, Any]
) -> None:
    """Age of every test task when it ended and when it was flagged, NaN if it never was."""
    age = outcome.flag_time - (completion_times(job, protocol) - job.latency)
    flagged = np.where(outcome.flagged, age, np.nan)
    for task in np.flatnonzero(outcome.test):
        ages = {"task_end": job.latency[task], "task_flagged": flagged[task]}
        run.observe(ages, unit="s", task=str(job.tasks[task]), **labels)
    run.observe({"task_threshold": job.threshold()}, unit="s", **labels)


def _observe_completion(
    run: Run, job: Job, protocol: Protocol, outcome: Outcome, labels: dict[str, Any]
) -> None:
    """Simulate what relaunching the flagged tasks does to the job's completion time."""
    from projects.nurd.job_completion import reduction, simulate

    finish, slow = completion_times(job, protocol), job.stragglers(protocol.quantile)
    for share, policy in product(run.params["machines"], run.params["policies"]):
        done = simulate(
            finish,
            outcome.flag_time,
            job.latency[~slow],
            machines=None if share is None else round(share * job.n),
            policy=policy,
            needed=slow,
        )
        where = {"machines": UNLIMITED if share is None else share, "policy": policy, **labels}
        saved = {"jct_reduction": reduction(finish.max(), done.job_time)}
        run.observe(saved, unit="%", measurement="simulated", **where)
        wasted = {"wasted_copy_time": done.wasted_seconds / finish.sum()}
        run.observe(wasted, measurement="simulated", **where)


def _centroid_ratio(job: Job, protocol: Protocol) -> float:
    from projects.nurd.weighting import centroid_ratio

    first = next(iter(replay(job, protocol)))
    return centroid_ratio(first.X_finished, first.X_running)


def _prediction_ratio(job: Job, protocol: Protocol, regressor: Any) -> float:
    """Median over checkpoints of h(x) / y for the running stragglers; below 1 is the bias."""
    ratios = []
    for checkpoint in replay(job, protocol):
        slow = job.latency[checkpoint.running] >= checkpoint.threshold
        if len(checkpoint.finished) < 2 or not slow.any():
            continue
        model = regressor().fit(checkpoint.X_finished, checkpoint.y_finished)
        true = job.latency[checkpoint.running][slow]
        ratios.append(np.median(model.predict(checkpoint.X_running[slow]) / true))
    return float(np.median(ratios)) if ratios else float("nan")
