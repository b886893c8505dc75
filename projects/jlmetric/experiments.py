"""The experiments of the paper: whether a measure grows with what was done to the graph."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from common.graphs.events import EventStream
    from common.run import Run

# Distances that differ by less are equal: sums over the same numbers in another order.
ROUNDING = 1e-12


def fidelity(run: Run) -> None:
    """Rank correlation between a perturbation's strength and each measure (Figure 1, Table 1)."""
    from projects.jlmetric.data import load_windows
    from projects.jlmetric.perturbations import perturbations

    params = run.params
    windows = {w.name: w for w in load_windows(run, params["windows"], params["events"])}
    bipartite = [False, True] if params["bipartite"] else [False]
    cells = [(name, seed, kept) for name in windows for seed in run.seeds for kept in bipartite]
    for name, seed, kept in run.cells(cells):
        window = windows[name]
        if kept and not window.bipartite:
            continue
        measures = _measures(window, params["measures"])
        values: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for p, kind, changed in perturbations(window, seed, bipartite=kept):
            if (kept and kind != "rewiring") or (kind == "permutation" and not _varied(window)):
                continue
            for measure in measures:
                for variant, value in measure(changed).items():
                    values.setdefault((kind, variant), []).append((p, value))
        for (kind, variant), pairs in values.items():
            shown = f"{kind}, bipartite" if kept else kind
            _observe_curve(run, window, seed, shown, variant, pairs)


def diversity(run: Run) -> None:
    """The same for modes that are dropped or collapsed; modes come from a trained TGN."""
    from projects.jlmetric.data import load_windows
    from projects.jlmetric.diversity import KINDS, collapse_modes, drop_modes, tgn_modes
    from projects.jlmetric.perturbations import STRENGTHS

    params = run.params
    windows = {
        w.name: w for w in load_windows(run, params["windows"], params["events"], grid=False)
    }
    modes: dict[str, Any] = {}
    for name, seed in run.cells([(name, seed) for name in windows for seed in run.seeds]):
        window = windows[name]
        if name not in modes:
            modes[name] = tgn_modes(window, epochs=params["epochs"], seed=0, **params["tgn"])
        found = modes[name]
        run.observe({"modes": found.count}, variant="tgn", **_labels(window, seed))
        measures, rng = _measures(window, params["measures"]), random.Random(seed)
        values: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for p in STRENGTHS:
            changed = {
                KINDS[0]: drop_modes(window, found, p, rng),
                KINDS[1]: collapse_modes(window, found, p, rng),
                KINDS[2]: collapse_modes(window, found, p, rng, released=True),
            }
            for kind, stream in changed.items():
                for measure in measures:
                    for variant, value in measure(stream).items():
                        values.setdefault((kind, variant), []).append((p, value))
        for (kind, variant), pairs in values.items():
            _observe_curve(run, window, seed, kind, variant, pairs)


def sample_efficiency(run: Run) -> None:
    """Events needed to tell a stream from Grid, and from its own perturbed copy."""
    from projects.jlmetric.baselines import distances
    from projects.jlmetric.data import load_windows, source
    from projects.jlmetric.grid import grid_stream
    from projects.jlmetric.perturbations import rewire
    from projects.jlmetric.sample_efficiency import events_needed, with_ones

    params, grid = run.params, with_ones(grid_stream(1024))
    whole = load_windows(run, params["windows"], params["events"], features=False, grid=False)
    windows = {window.name: with_ones(window) for window in whole}
    for name, family in run.cells([(name, f) for name in windows for f in params["measures"]]):
        window = windows[name]
        fakes = {"grid": grid, "perturbed": rewire(window, 0.3, random.Random(0))}
        for contrast, fake in fakes.items():
            for variant in _variants(window, family):

                def distance(a: Any, b: Any, family: str = family, variant: str = variant) -> float:
                    return distances(a, family)(b)[variant]

                needed = events_needed(window, fake, distance, last=params["last"])
                # Not told apart at all: more than were tried, so that it counts against a measure.
                needed = params["last"] + 1 if np.isnan(needed) else needed
                labels = {"dataset": source(window), "item": window.name, "contrast": contrast}
                run.observe({"events_needed": needed}, variant=variant, **labels)


def runtime(run: Run) -> None:
    """Seconds per measure against the number of events."""
    from common.graphs.streams import with_features
    from projects.jlmetric.bench import snapshot_statistics
    from projects.jlmetric.data import synthetic_events
    from projects.jlmetric.descriptors import Description
    from projects.jlmetric.fingerprint import fingerprint
    from projects.jlmetric.released import released_fingerprint

    name = "generated-stream"
    run.synthetic(name, "skewed ends, exponential gaps, four features per node")
    device = "cuda" if run.target == "gpu" else "cpu"
    wide = {"node_dim": 1000, "graph_dim": 1000}
    work = {
        "jl gaussian": lambda s: fingerprint(s, device=device),
        "jl hadamard": lambda s: fingerprint(s, projection="hadamard", device=device),
        "jl gaussian, n = o = 1000": lambda s: fingerprint(s, device=device, **wide),
        "released": released_fingerprint,
        "classical descriptors": Description.of,
        "activity": lambda s: np.bincount(np.concatenate([s.src, s.dst])),
        "networkx snapshots": snapshot_statistics,
    }
    largest = run.params["largest"]
    cells = [(n, v) for n in run.params["events"] for v in work if n <= largest.get(v, np.inf)]
    for events, variant in run.cells(cells):
        rng = run.rng("runtime", events)
        stream = with_features(synthetic_events(events, rng), rng, 4)
        work[variant](stream)
        for seed in run.seeds:
            labels = {"dataset": name, "item": f"{events} events", "seed": seed, "events": events}
            with run.measure("score", variant=variant, **labels) as meters:
                work[variant](stream)
            seconds = next(r.value for r in meters.readings if r.quantity == "wall_time")
            run.observe(
                {"seconds_per_100": 100 * seconds / events}, variant=variant, unit="s", **labels
            )


def ranking(run: Run) -> None:
    """Scores of naive generators: what copies more of the stream must score higher."""
    from common.graphs.generators import GENERATORS
    from projects.jlmetric.data import load_windows, source
    from projects.jlmetric.scores import compare

    params = run.params
    windows = load_windows(run, params["windows"], params["events"], features=False)
    loaded = {window.name: window for window in windows}
    for name, seed in run.cells([(name, seed) for name in loaded for seed in run.seeds]):
        train, test = loaded[name].split(0.5)
        for generator, generate in GENERATORS.items():
            made = generate(train, len(test), run.rng(name, generator, seed), test.t[0])
            for align in params["align"]:
                score = compare(test, made, align=align, seed=seed)
                labels = {"dataset": source(train), "item": f"{name} {seed}", "seed": seed}
                run.observe({"score": score}, variant=generator, align=align, **labels)


def ablation(run: Run) -> None:
    """Rank correlation against the numbers of dimensions n = o."""
    from projects.jlmetric.data import load_windows
    from projects.jlmetric.fingerprint import Settings
    from projects.jlmetric.perturbations import perturbations
    from projects.jlmetric.scores import Against

    params = run.params
    windows = {w.name: w for w in load_windows(run, params["windows"], params["events"])}
    cells = [(name, dim, seed) for name in windows for dim in params["dims"] for seed in run.seeds]
    for name, dim, seed in run.cells(cells):
        window = windows[name]
        settings = Settings(node_dim=dim, graph_dim=dim, seed=42 + seed)
        score = Against(window, settings, score="frobenius", limits=None)
        values: dict[str, list[tuple[float, float]]] = {}
        for p, kind, changed in perturbations(window, seed):
            if kind != "permutation" or _varied(window):
                values.setdefault(kind, []).append((p, -score(changed)))
        for kind, pairs in values.items():
            _observe_curve(run, window, seed, kind, "jl id", pairs, dims=dim)


# -- parts ---------------------------------------------------------------------------------


def _measures(window: EventStream, families: list[str]) -> list[Any]:
    from projects.jlmetric.baselines import distances

    return [distances(window, family) for family in families]


def _variants(window: EventStream, family: str) -> list[str]:
    from projects.jlmetric.baselines import distances

    return list(distances(window[:3], family)(window[:3]))


def _varied(window: EventStream) -> bool:
    """Whether swapping features changes anything."""
    return bool(window.num_features) and bool(np.ptp(window.msg, axis=0).any())


def _labels(window: EventStream, seed: int) -> dict[str, Any]:
    from projects.jlmetric.data import source

    return {"dataset": source(window), "item": f"{window.name}, seed {seed}", "seed": seed}


def _observe_curve(
    run: Run,
    window: EventStream,
    seed: int,
    kind: str,
    variant: str,
    pairs: list[tuple[float, float]],
    **params: Any,
) -> None:
    """Record the rank correlation of strength and distance, 0 where the distance never changes."""
    from scipy.stats import spearmanr

    strengths, values = np.array(pairs).T
    changes = np.ptp(values) > ROUNDING
    rank = float(spearmanr(strengths, values).statistic) if changes else 0.0
    generated = "+features" in window.name or window.name.startswith(("grid", "synthetic"))
    labels = {**_labels(window, seed), "kind": kind, "real": not generated, **params}
    labels["family"] = "jl" if variant.startswith("jl") else _family(variant)
    run.observe({"spearman": rank}, variant=variant, **labels)
    for p, value in pairs:
        run.observe({"distance": value}, variant=variant, p=p, **labels)


def _family(variant: str) -> str:
    from projects.jlmetric.descriptors import CLASSICAL

    if variant in CLASSICAL:
        return "classical"
    return "released" if variant == "released" else "beyond"
