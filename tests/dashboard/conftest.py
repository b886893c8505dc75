"""A tracking store with two invented papers, filled through the project's own sync."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from common.plotting import dot_interval, figure, interval_table, label_figure, save, weakest
from common.results import COLUMNS, OBSERVATIONS, RECORD, Folder, atomic, write_json
from common.tracking import sync
from common.tracking.layout import RECORDED

PAPER = """
slug: {slug}
title: "{title}"
authors: [Ada Example, Bo Sample]
venue: TOYCONF
year: 2020
url: https://example.org/{slug}
group: toys
summary: It separates the slow from the fast and costs $5, not $6.
experiments:
  prediction:
    title: Prediction
    params: {{alpha: 0.1, seeds: 2}}
    sizes: {{smoke: , quick: , full: }}
  cost:
    title: Cost
    targets: [cpu, gpu]
    sizes: {{quick: , full: }}
figures:
  f1_by_method:
    title: F1 by method
    caption: Dots are means over the jobs, lines 95 % intervals.
    experiments: [prediction]
explorers:
  jobs:
    kind: curve
    title: F1 job by job
    caption: Each job's F1.
    experiment: prediction
    metrics: [f1]
    x: item
    shown: [ours, trees]
    choose: [dataset]
  joules:
    kind: curve
    title: Energy against time
    caption: Each job's fit.
    experiment: cost
    metrics: [fit_energy]
    x: fit_wall_time
    along: item
"""
CLAIMS = """
claims:
  - id: f1-gain
    title: Better F1 than every baseline
    source: section 5.2, table 3
    statement: The method's F1 is higher than that of the best baseline by 5 to 15 points.
    kind: difference
    experiment: prediction
    metric: f1
    of: {variant: ours}
    over: [{variant: trees}, {variant: isolation_forest}]
    paper: {value: [0.05, 0.15]}
    accept: {low: 0.05}
  - id: error-floor
    title: F1 of at least 0.9
    source: section 5.2
    statement: The method reaches an F1 of 0.9.
    kind: bound
    experiment: prediction
    metric: f1
    of: {variant: ours}
    paper: {value: null}
    accept: {low: 0.9}
  - id: energy
    title: Uses a third of the energy
    source: figure 9
    statement: The method needs a third of the baseline's energy.
    kind: ratio
    experiment: cost
    metric: fit_energy
    of: {variant: ours}
    over: {variant: trees}
    better: lower
    quantity: energy
    paper: {value: 0.33}
    accept: {high: 0.4}
  - id: scales
    title: Scales to a million jobs
    source: section 6
    statement: The time grows linearly up to a million jobs.
    kind: value
    experiment: cost
    metric: exponent
    paper: {value: 1.0}
    accept: {low: 0.8, high: 1.2}
    scope: {sizes: [full]}
"""
CARD = """# {title}

The idea in five lines.

## Deviations

Trees are **histogram** trees here; touches `f1-gain`.

## Data and licences

Traces under CC BY 4.0.

## More

The end.
"""
MACHINES = {
    "cpu": {
        "id": "aaaaaaaaaaaa",
        "label": "Example CPU 9000, 2 cores, 8 GiB",
        "cpu": "Example CPU 9000",
        "usable_cores": 2,
        "memory_gib": 8,
        "gpus": [],
    },
    "gpu": {
        "id": "bbbbbbbbbbbb",
        "label": "Other CPU, 16 cores, 128 GiB, Example G100",
        "cpu": "Other CPU",
        "usable_cores": 16,
        "memory_gib": 128,
        "gpus": [{"name": "Example G100", "memory_gib": 80}],
    },
}


STOOD_BEHIND = [
    {
        "claim": claim,
        "size": "quick",
        "target": "cpu",
        "data": "original",
        "verdict": verdict,
    }
    for claim, verdict in (("f1-gain", "reproduced"), ("error-floor", "consistent"))
]


def prediction(label: str, seed: int, lead: float) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    levels = {"ours": 0.75 + lead, "trees": 0.7, "isolation_forest": 0.45}
    rows = [
        [variant, "jobs", f"job{item}", 0, "f1", value, "", label, "measured", ""]
        for variant, level in levels.items()
        for item, value in enumerate(np.clip(rng.normal(level, 0.08, 40), 0, 1))
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).assign(alpha=0.1)


def cost(measurement: str, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    joules = "NVML" if measurement == "measured" else "time times 7 W"
    rows = [
        [variant, "jobs", f"job{item}", 0, metric, value * scale, unit, "original", kind, meter]
        for variant, scale in (("ours", 1.0), ("trees", 3.0))
        for item, value in enumerate(rng.uniform(4, 5, 20))
        for metric, unit, kind, meter in (
            ("fit_energy", "J", measurement, joules),
            ("fit_wall_time", "s", "measured", "perf_counter"),
        )
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def write(folder: Folder, rows: pd.DataFrame, machine: str, **more: object) -> None:
    with atomic(folder.path / OBSERVATIONS) as temporary:
        rows.to_parquet(temporary, index=False)
    meters = rows[rows["metric"] == "fit_energy"]
    record = {
        "schema": 1,
        "paper": folder.paper,
        "experiment": folder.experiment,
        "size": folder.size,
        "target": folder.target,
        "status": "done",
        "config": {"alpha": 0.1, "seeds": 2},
        "digest": "0123456789abcdef",
        "data_mode": "auto",
        "datasets": {"jobs": {"label": "original", "sha256": "ab" * 32, "licence": "CC BY 4.0"}},
        "git": {"commit": "c0ffee00c0ffee00", "dirty": True},
        "versions": {"numpy": "2.4.6"},
        "machine": MACHINES[machine],
        "measurements": [
            {
                "region": "fit",
                "quantity": "energy",
                "total": float(meters["value"].sum()),
                "unit": "J",
                "count": len(meters),
                "meter": meters["meter"].iloc[0],
                "measurement": meters["measurement"].iloc[0],
            }
        ]
        if len(meters)
        else [],
        "started": "2026-01-02T03:04:05+00:00",
        "finished": "2026-01-02T03:06:05+00:00",
        "seconds": 120.0,
        "cpu_seconds": 200.0,
        "peak_memory_mb": 512.0,
        "rows": len(rows),
        **more,
    }
    write_json(folder.path / RECORD, record)


def draw(results: Path, size: str, slug: str, rows: pd.DataFrame) -> None:
    fig, ax = figure()
    dot_interval(ax, interval_table(rows), xlabel="F1")
    label_figure(fig, *weakest(rows))
    save(fig, results / size / "cpu" / slug / "figures" / "f1_by_method")


def build(root: Path) -> None:
    """Papers and results below ``root``: two papers, two sizes, two machines, a failed run.

    The results below ``before`` are those of an earlier commit, when the method was worse.
    """
    results, papers = root / "results", root / "papers"
    titles = {"alpha": "Alpha: finding stragglers", "beta": "Beta, a <b>bold</b> $name$"}
    for slug, title in titles.items():
        (papers / slug).mkdir(parents=True)
        (papers / slug / "paper.yaml").write_text(PAPER.format(slug=slug, title=title))
        (papers / slug / "claims.yaml").write_text(CLAIMS)
        (papers / slug / "README.md").write_text(CARD.format(title=title))
    write_json(papers / "alpha" / RECORDED, STOOD_BEHIND)
    early = {"git": {"commit": "beef0000", "dirty": False}, "finished": "2026-01-01T03:06:05+00:00"}
    rows = prediction("original", 0, lead=-0.2)
    write(Folder(root / "before", "quick", "cpu", "alpha", "prediction"), rows, "cpu", **early)
    for size, seed in (("quick", 0), ("full", 1)):
        rows = prediction("original", seed, lead=0.08)
        write(Folder(results, size, "cpu", "alpha", "prediction"), rows, "cpu")
        draw(results, size, "alpha", rows)
        write(Folder(results, size, "cpu", "alpha", "cost"), cost("modelled", seed), "cpu")
    recorded = papers / "alpha" / "recorded" / "results" / "g100"
    write(Folder(recorded, "quick", "gpu", "alpha", "cost"), cost("measured", 2), "gpu")
    rows = prediction("synthetic", 3, lead=-0.1)
    stand_in = {"jobs": "no mirror holds it"}
    write(Folder(results, "quick", "cpu", "beta", "prediction"), rows, "cpu", stand_ins=stand_in)
    draw(results, "quick", "beta", rows)
    broken = {"status": "failed", "reason": "ValueError: 3 is not <b>2</b>"}
    write(Folder(results, "quick", "cpu", "beta", "cost"), rows[:0], "cpu", **broken)


def fill(root: Path, uri: str) -> None:
    """Sync what :func:`build` made, in the order in which it would have happened."""
    sync(root / "before", uri, projects_root=root / "papers")
    sync(root / "results", uri, recorded=True, projects_root=root / "papers")


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """URI of a store with runs, which the processes of a test run share; nobody may change it."""
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "browser"
    uri = f"sqlite:///{root / 'mlflow.db'}"
    root.mkdir(exist_ok=True)
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / "filled").exists():
            build(root)
            fill(root, uri)
            (root / "filled").touch()
    return uri


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Loopback port where nobody listens, held so that nobody begins to."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
