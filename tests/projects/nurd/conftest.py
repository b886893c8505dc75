"""Small hand-made jobs, and the real Google jobs where a mirror has them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from projects.nurd.job import Job

FEATURES = ("f0", "f1", "f2", "f3")
GOOGLE = ("6266469130", "6274140245", "6308689702", "6343048076")


def series_frame(
    n: int = 60, seed: int = 0, length: float = 10.0, gaps: bool = False, nested: bool = False
) -> pd.DataFrame:
    """Usage records of ``n`` tasks that start within 15 s; a tenth is two to three times slower.

    Records of one task touch each other; with ``gaps`` it pauses for 7 s after every second one.
    With ``nested`` every fifth task has a record inside its last one.
    """
    rng = np.random.default_rng(seed)
    slow = np.exp(rng.normal(0, 0.2, n))
    slow[: n // 10] *= rng.uniform(2, 3, n // 10)
    begin, latency = rng.uniform(0, 15, n), 60 * slow
    rows = []
    for task in rng.permutation(n):
        edges = np.append(np.arange(0, latency[task], length), latency[task]) + begin[task]
        for k, (start, end) in enumerate(itertools.pairwise(edges)):
            late = 7.0 * (k // 2) if gaps else 0.0
            load = np.log(slow[task]) * np.array([1, -0.5, 0, 0]) + rng.normal(0, 0.3, 4)
            rows.append((int(task), start + late, end + late, *load))
        if nested and task % 5 == 0:
            start, end = rows[-1][1:3]
            rows.append((int(task), start + 0.1, (start + end) / 2, *rng.normal(5, 1, 4)))
    return pd.DataFrame(rows, columns=["task", "start", "end", *FEATURES])


def series_job(**options: object) -> Job:
    """:func:`series_frame` as a job."""
    frame = series_frame(**options)
    return Job.from_records(frame, name="series", features=FEATURES, overlaps="keep")


def static_job(n: int = 60, seed: int = 0) -> Job:
    """Tasks whose two features do not change: one grows with the latency, one is noise."""
    rng = np.random.default_rng(seed)
    slow = np.exp(rng.normal(0, 0.25, n))
    slow[: n // 10] *= rng.uniform(2, 3, n // 10)
    columns = {"task": np.arange(n), "latency": 100 * slow, "load": slow + rng.normal(0, 0.2, n)}
    frame = pd.DataFrame({**columns, "noise": rng.normal(size=n)})
    return Job.from_tasks(frame, name="static", features=("load", "noise"))


@pytest.fixture(scope="session")
def make_frame() -> Callable[..., pd.DataFrame]:
    return series_frame


@pytest.fixture(scope="session")
def make_series() -> Callable[..., Job]:
    return series_job


@pytest.fixture(scope="session")
def make_static() -> Callable[..., Job]:
    return static_job


@pytest.fixture(scope="session")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Path]]:
    """Files of a dataset by name; skips where ``REPRISE_DATA`` lacks it."""
    mirror = os.environ.get("REPRISE_DATA", "")

    @cache
    def resolved(dataset: str) -> dict[str, Path] | None:
        from common.data import resolve

        folders = [Path(item) / dataset for item in mirror.split(os.pathsep) if item]
        return resolve(dataset, offline=True).files if any(f.is_dir() for f in folders) else None

    def files(dataset: str) -> dict[str, Path]:
        found = resolved(dataset)
        if found is None:
            pytest.skip(f"no {dataset} in REPRISE_DATA")
        return found

    return files


@pytest.fixture(scope="session")
def google(mirrored: Callable[[str], dict[str, Path]]) -> Callable[[str], Job]:
    """The real Google job of a name."""
    from projects.nurd import data

    loaded = cache(data.google_job)
    return lambda name: loaded(mirrored(data.GOOGLE)[f"job_{name}.csv"])
