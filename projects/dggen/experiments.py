"""The experiments: one fit per stream and seed is judged from all sides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from common.graphs.events import EventStream
    from common.run import Run
    from projects.dggen.counts import CountModel
    from projects.dggen.data import Task
    from projects.dggen.model import DGGen


def evaluation(run: Run) -> None:
    """Fit DG-Gen to each stream; judge likelihoods, generated streams, links and surprise."""
    from projects.dggen.data import load_tasks
    from projects.dggen.likelihood import counted

    tasks = load_tasks(run, run.params["streams"])
    for name, seed in run.cells([(name, seed) for name in tasks for seed in run.seeds]):
        task, labels = tasks[name], _labels(name, seed)
        counts = counted(task, run.params["score_batch"])
        model = _fit(run, task, seed, labels)
        _likelihoods(run, model, counts, task, labels)
        _anomalies(run, model, counts, task, labels)
        _generation(run, model, task, labels)
        # Last, because model and counts move on through the test.
        _links(run, model, counts, task, labels)


def ablation(run: Run) -> None:
    """Likelihoods of the test under variants of the model."""
    from projects.dggen.data import load_tasks
    from projects.dggen.likelihood import model_likelihoods

    tasks, variants = load_tasks(run, run.params["streams"]), run.params["variants"]
    cells = [(name, variant, seed) for name in tasks for variant in variants for seed in run.seeds]
    for name, variant, seed in run.cells(cells):
        model = _model(run, tasks[name], seed, **variants[variant]).fit(
            tasks[name].train, tasks[name].val, progress=False, **_ends(tasks[name])
        )
        terms = model_likelihoods(model, tasks[name], run.params["score_batch"])
        nll = {f"nll_{term}": value for term, value in terms.items()}
        run.observe(nll, variant=variant, unit="nats", **_labels(name, seed))


def throughput(run: Run) -> None:
    """Events per second of generation against nodes and events drawn from one state."""
    from projects.dggen.baselines import generator
    from projects.dggen.bench import fitted, random_pairs

    params, device = run.params, _device(run)
    run.synthetic("random-pairs", "uniform pairs of nodes; projects.dggen.bench")
    grid = [("dggen", nodes, batch) for nodes in params["nodes"] for batch in params["batches"]]
    rivals = [(name, params["nodes"][-1], 0) for name in params["rivals"]]
    for variant, nodes, batch in run.cells([*grid, *rivals]):
        if variant == "dggen":
            model = fitted(nodes, params["dim"], device=device)

            def draw(count: int, seed: int, model: Any = model, batch: int = batch) -> Any:
                return model.sample(count, seed=seed, batch_size=batch)
        else:
            sample = generator(variant, random_pairs(nodes), tigger={"epochs": 1})

            def draw(count: int, seed: int, sample: Any = sample) -> Any:
                return sample(count, np.random.default_rng(seed), 0.0)

        events = params["steps"] * batch if batch else params["rival_events"]
        draw(max(batch, 10), 0)
        for seed in run.seeds:
            labels = {
                "dataset": "random-pairs",
                "item": f"{nodes} nodes",
                "seed": seed,
                "nodes": nodes,
                "batch": batch,
            }
            with run.measure("sample", variant=variant, **labels) as meters:
                draw(events, seed)
            seconds = next(r.value for r in meters.readings if r.quantity == "wall_time")
            speed = {"events_per_second": events / seconds}
            run.observe(speed, variant=variant, unit="events/s", **labels)


# -- parts ---------------------------------------------------------------------------------


def _labels(name: str, seed: int) -> dict[str, Any]:
    return {"dataset": name, "item": f"{name} {seed}", "seed": seed}


def _device(run: Run) -> str:
    return "cuda" if run.target == "gpu" else "cpu"


def _ends(task: Task) -> dict[str, np.ndarray]:
    return {"sources": task.sources, "destinations": task.destinations}


def _model(run: Run, task: Task, seed: int, **changes: Any) -> DGGen:
    from projects.dggen.model import DGGen

    settings = {**run.params["model"], **task.settings, **changes}
    return DGGen(settings, columns=task.columns, device=_device(run), seed=seed)


def _fit(run: Run, task: Task, seed: int, labels: dict[str, Any]) -> DGGen:
    """Fit to train and validation; on the way compare what the model would generate."""
    from projects.jlmetric import compare

    model = _model(run, task, seed)

    def look(epoch: int, metrics: dict[str, float]) -> None:
        at = {"variant": "dggen", "epoch": epoch + 1, **labels}
        losses = {"train_loss": metrics["loss"], "val_loss": metrics["val_loss"]}
        run.observe(losses, unit="nats", **at)
        if epoch + 1 in run.params["curve"]:
            made = model.sample(len(task.test), seed=seed, batch_size=run.params["sample_batch"])
            run.observe({"curve_jl": compare(task.test, made)}, **at)

    return model.fit(task.train, task.val, callback=look, progress=False, **_ends(task))


def _likelihoods(
    run: Run, model: DGGen, counts: CountModel, task: Task, labels: dict[str, Any]
) -> None:
    from projects.dggen.likelihood import count_likelihoods, model_likelihoods

    size = run.params["score_batch"]
    found = {"dggen": model_likelihoods(model, task, size)}
    found |= count_likelihoods(counts, task, size)
    for variant, terms in found.items():
        nll = {f"nll_{term}": value for term, value in terms.items()}
        run.observe(nll, variant=variant, unit="nats", **labels)


def _anomalies(
    run: Run, model: DGGen, counts: CountModel, task: Task, labels: dict[str, Any]
) -> None:
    from projects.dggen.likelihood import anomaly_auc

    params, rng = run.params, run.rng("anomalies", labels["item"])
    found = anomaly_auc(model, counts, task, params["anomalies"], params["score_batch"], rng)
    for variant, value in found.items():
        run.observe({"anomaly_auc": value}, variant=variant, **labels)


def _generation(run: Run, model: DGGen, task: Task, labels: dict[str, Any]) -> None:
    """Compare the test with what each generator puts in its place."""
    from projects.dggen.topology import WINDOWS, topology_errors, wins

    begin, made = task.val.t[-1], _streams(run, model, task, labels)
    for windows in WINDOWS:
        errors = {
            name: topology_errors(task.test, stream, windows, origin=begin)
            for name, stream in made.items()
        }
        for name, values in errors.items():
            run.observe(values, variant=name, windows=windows, **labels)
            if name != "dggen":
                score = wins(errors["dggen"], values)
                score["margin"] = score["wins"] - score["losses"]
                run.observe(score, variant="dggen", rival=name, windows=windows, **labels)
    for name, stream in made.items():
        _observe_stream(run, task, name, stream, labels)


def _streams(run: Run, model: DGGen, task: Task, labels: dict[str, Any]) -> dict[str, EventStream]:
    """Return as many events as the test has, from the model and from every baseline."""
    from projects.dggen.baselines import generator

    count, begin, seed = len(task.test), task.val.t[-1], labels["seed"]
    size = run.params["sample_batch"]
    made = {
        "dggen": model.sample(count, seed=seed, batch_size=size),
        "dggen-empty": model.sample(
            count, seed=seed, batch_size=size, warm_start="empty", start_time=begin
        ),
    }
    for name in run.params["generators"]:
        sample = generator(name, task.history, seed=seed, tigger=run.params["tigger"])
        made[name] = sample(count, run.rng(name, labels["item"]), begin)
    return made


def _observe_stream(
    run: Run, task: Task, name: str, stream: EventStream, labels: dict[str, Any]
) -> None:
    """Observe features, copies and the JL-Metric of a generated stream."""
    from projects.dggen.copying import copy_report
    from projects.dggen.features import feature_distances, histograms
    from projects.jlmetric import compare

    begin = task.val.t[-1]
    run.observe(feature_distances(task.test, stream, begin), variant=name, **labels)
    if stream.num_features != task.test.num_features:
        return  # without features there is no fingerprint that compares
    for align in ("id", "activity"):
        score = compare(task.test, stream, align=align)
        run.observe({"jl": score}, variant=name, align=align, **labels)
    for variant, other in ((name, stream), *((("real", task.test),) if name == "dggen" else ())):
        report = copy_report(task.history, other)
        run.observe({"copied_pairs": report["copied_pairs"]}, variant=variant, **labels)
    if name == "dggen" and not labels["seed"]:
        columns = ("span", *stream.columns)
        found = histograms(task.test, stream, begin)
        for column, (centres, *shares) in zip(columns, found, strict=True):
            for variant, share in zip(("real", "dggen"), shares, strict=True):
                for centre, value in zip(centres, share, strict=True):
                    at = {"column": column.removeprefix("msg_"), "centre": centre}
                    run.observe({"share": value}, variant=variant, **at, **labels)


def _links(run: Run, model: DGGen, counts: CountModel, task: Task, labels: dict[str, Any]) -> None:
    from projects.dggen.baselines import link_scorers
    from projects.dggen.link_prediction import evaluate_links

    params, test = run.params, task.test
    scorers = link_scorers(
        model,
        counts,
        task.train,
        task.val,
        float(test.t[-1] - task.val.t[-1]),
        task.num_nodes,
        _device(run),
        {**params["tgn"], "seed": labels["seed"]},
    )
    rng = run.rng("negatives", labels["item"])
    found = evaluate_links(
        scorers, task.history, test, task.destinations, rng, params["link_batch"]
    )
    for (variant, negatives), values in found.items():
        run.observe(values, variant=variant, negatives=negatives, **labels)
    for variant in scorers:
        drop = found[variant, "random"]["auc"] - found[variant, "historical"]["auc"]
        run.observe({"auc_drop": drop}, variant=variant, **labels)
