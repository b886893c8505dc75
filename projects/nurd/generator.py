"""Synthetic jobs with stragglers, for many jobs where few real ones may be had.

A task has a latent slowness s. Its latency is ``L0 s``; six usage features follow ``log s``, four
the machine it runs on, and five neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from projects.nurd.job import MIN_TASKS, Job

Family = Literal["far-tail", "near-tail"]
FAMILIES = ("far-tail", "near-tail")
INFORMATIVE, MACHINE, NOISE = 6, 4, 3
FEATURES = (
    *(f"load_{i + 1}" for i in range(INFORMATIVE)),
    *(f"machine_{i + 1}" for i in range(MACHINE)),
    *(f"noise_{i + 1}" for i in range(NOISE)),
    "EV",
    "FL",
)


@dataclass(frozen=True)
class GeneratorConfig:
    """Parameters of the generator.

    "Targets" below are those of six real Google jobs: p90 / max of the latencies 0.05, 0.52, 0.53,
    0.61, 0.87, 0.92, and p50 / min from 1.1 to 3.5. "Choice" is ours, with no source.

    ======================  =====================================================================
    parameter               source
    ======================  =====================================================================
    tasks                   log-uniform; jobs under 100 tasks are filtered out by the authors
    base_seconds            log-uniform L0; spans the real jobs
    tail_ratio              p90 / max that divides far-tail (below) from near-tail jobs; choice
    body_sd                 sd of log s; gives p50 / min of 1.5 to 3.4 (median 2.1), as the targets
    straggler_share         the 90th percentile of the authors' definition
    far, near               factor of a straggler's slowness, uniform; spans the targets
    gain                    slope of a load feature in log s, uniform, either sign: correlations
                            with log latency of 0.3 to 0.8; the six best features of four of the
                            real jobs have 0.14 to 0.95
    load_sd                 noise of a task's mean load around the slope; choice
    machines, slow_machines 20 machines, 2 of them slow; choice
    slow_share              probability that a straggler runs on a slow machine; choice
    record_seconds          Google's usage records last five minutes
    records_per_base        at least so many records in L0, so that short jobs have some too
    ar, ar_sd               AR(1) noise of a record around its task's mean; choice
    event_rate              Poisson evictions and failures per record; choice
    ======================  =====================================================================
    """

    tasks: tuple[int, int] = (100, 1000)
    base_seconds: tuple[float, float] = (60.0, 5000.0)
    tail_ratio: float = 0.5
    body_sd: float = 0.25
    straggler_share: float = 0.1
    far: tuple[float, float] = (2.0, 8.0)
    near: tuple[float, float] = (1.1, 1.6)
    gain: tuple[float, float] = (0.5, 1.5)
    load_sd: float = 0.5
    machines: int = 20
    slow_machines: int = 2
    slow_share: float = 0.6
    record_seconds: float = 300.0
    records_per_base: int = 4
    ar: float = 0.7
    ar_sd: float = 0.3
    event_rate: float = 0.02


def generate_job(
    rng: np.random.Generator,
    family: Family | None = None,
    n: int | None = None,
    *,
    name: str | None = None,
    config: GeneratorConfig | None = None,
) -> Job:
    """Draw one job.

    Parameters
    ----------
    rng : numpy Generator
        The only source of chance.
    family : {"far-tail", "near-tail"}, optional
        By default either with probability one half.
    n : int, optional
        Number of tasks, at least 20; by default drawn from ``config.tasks``.
    name : str, optional
        By default family and number of tasks.
    config : GeneratorConfig, optional
        By default the documented one.

    Returns
    -------
    Job
        All tasks start at 0. Its dataset is ``synthetic-<family>``.

    Raises
    ------
    ValueError
        For an unknown family or too few tasks.

    Examples
    --------
    >>> job = generate_job(np.random.default_rng(0), "far-tail", 200)
    >>> job.n, len(job.features), bool(job.threshold() / job.latency.max() < 0.5)
    (200, 15, True)
    """
    config = GeneratorConfig() if config is None else config
    if family is None:
        family = FAMILIES[int(rng.integers(2))]
    if family not in FAMILIES:
        raise ValueError(f"family={family!r}: allowed are {', '.join(FAMILIES)}")
    n = round(_log_uniform(rng, config.tasks)) if n is None else n
    if n < MIN_TASKS:
        raise ValueError(f"n={n}: need at least {MIN_TASKS} tasks")
    base = _log_uniform(rng, config.base_seconds)
    slowness, straggler = _slowness(rng, family, n, config)
    means = _task_means(rng, slowness, straggler, config)
    latency = base * slowness
    interval = min(config.record_seconds, base / config.records_per_base)
    counts = np.maximum(np.ceil(latency / interval - 1e-9).astype(int), 1)
    first = np.concatenate([[0], np.cumsum(counts)])
    order = np.arange(first[-1]) - np.repeat(first[:-1], counts)
    usage = np.repeat(means, counts, axis=0) + _ar1(rng, first, order, means.shape[1], config)
    events = rng.poisson(config.event_rate, size=(first[-1], 2)).astype(float)
    return Job(
        name or f"{family}-{n}",
        f"synthetic-{family}",
        np.arange(n),
        latency,
        first,
        order * interval,
        np.minimum((order + 1) * interval, np.repeat(latency, counts)),
        np.column_stack([usage, events]),
        FEATURES,
    )


def _log_uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(bounds))))


def _slowness(
    rng: np.random.Generator, family: Family, n: int, config: GeneratorConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Latent slowness of each task, and which were drawn as stragglers."""
    stragglers = max(1, round(config.straggler_share * n))
    factor = config.far if family == "far-tail" else config.near
    while True:
        slowness = rng.lognormal(0.0, config.body_sd, size=n)
        straggler = np.zeros(n, dtype=bool)
        straggler[rng.permutation(n)[:stragglers]] = True
        slowness[straggler] *= rng.uniform(*factor, size=stragglers)
        # The family is defined by the ratio, and a large job may miss it by one extreme task.
        ratio = np.sort(slowness)[int(0.9 * n)] / slowness.max()
        if (ratio < config.tail_ratio) == (family == "far-tail"):
            return slowness, straggler


def _task_means(
    rng: np.random.Generator, slowness: np.ndarray, straggler: np.ndarray, config: GeneratorConfig
) -> np.ndarray:
    """Mean usage of each task: load, machine and noise columns, shape (n, 13)."""
    n = len(slowness)
    gain = rng.uniform(*config.gain, size=INFORMATIVE) * rng.choice([-1.0, 1.0], INFORMATIVE)
    load = np.log(slowness)[:, None] * gain + rng.normal(0.0, config.load_sd, (n, INFORMATIVE))
    machine = rng.integers(config.machines, size=n)
    slow = straggler & (rng.random(n) < config.slow_share)
    machine[slow] = rng.integers(config.slow_machines, size=slow.sum())
    offsets = rng.normal(size=(config.machines, MACHINE))
    return np.column_stack([load, offsets[machine], rng.normal(size=(n, NOISE))])


def _ar1(
    rng: np.random.Generator,
    first: np.ndarray,
    order: np.ndarray,
    columns: int,
    config: GeneratorConfig,
) -> np.ndarray:
    """Stationary AR(1) noise that begins anew with every task, shape (R, columns)."""
    from scipy.signal import lfilter

    shock = rng.normal(0.0, config.ar_sd, size=(first[-1], columns))
    shock[order > 0] *= np.sqrt(1.0 - config.ar**2)
    noise = lfilter([1.0], [1.0, -config.ar], shock, axis=0)
    # One pass runs through all tasks; take out what the task before has left behind.
    before = np.concatenate([np.zeros((1, columns)), noise[first[1:-1] - 1]])
    return noise - config.ar ** (order + 1.0)[:, None] * np.repeat(before, np.diff(first), axis=0)
