"""The jobs that NURD is tested on: Google tasks over time, workflow tasks, recorded Spark stages.

Each loader turns files into :class:`~projects.nurd.job.Job` objects and knows nothing of runs;
:func:`load_jobs` chooses among them for an experiment and sees to the labels.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.errors import known
from projects.nurd.job import Job

if TYPE_CHECKING:
    from common.data import Dataset
    from common.run import Run

GOOGLE = "google-2011-straggler-jobs"
WORKFLOWS = "wfinstances-tasks"
SPARK = "spark-recorded"
SYNTHETIC = "synthetic-jobs"
FAMILIES = ("far-tail", "near-tail")
SPARK_FILE = "spark/usage.csv.gz"

# Columns of the Google extraction, in file order; times in microseconds.
GOOGLE_COLUMNS = (
    *("ST", "ET", "JI", "TI", "MI", "MCU", "CMU", "AMU", "UPC", "TPC", "MAXMU"),
    *("MIO", "MDK", "MAXCPU", "MAXIO", "CPI", "MAI", "SP", "AT", "SCPU", "EV", "FL"),
)
# The fifteen features of the paper (section 2, step 3).
_NOT_FEATURES = ("ST", "ET", "JI", "TI", "MI", "SP", "AT")
GOOGLE_FEATURES = tuple(name for name in GOOGLE_COLUMNS if name not in _NOT_FEATURES)
WORKFLOW_FEATURES = ("avgCPU", "readBytes", "writtenBytes", "memoryInBytes")
# The parallel stage of each workflow: one job is the tasks of that program in one run.
WORKFLOW_STAGES = ("blastall", "bwa")


def google_job(path: Path) -> Job:
    """Read one job of the Google 2011 extraction.

    The published values hold a few records that overlap the previous one of their task. They are
    kept, as the authors' latency (the sum of end minus start over all records) counts them.
    """
    import pandas as pd
    from pandas.api.types import is_numeric_dtype

    try:
        frame = pd.read_csv(path, header=None)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(
            f"{path.name}: neither a plain CSV file nor, with a name in .gz, a gzip of one: {error}"
        ) from error
    if frame.shape[1] != len(GOOGLE_COLUMNS) or not all(map(is_numeric_dtype, frame.dtypes)):
        raise ValueError(
            f"{path.name}: expected {len(GOOGLE_COLUMNS)} numeric columns and no header line, "
            f"got {frame.shape[1]} columns, first row {list(frame.iloc[0])[:4]}"
        )
    frame.columns = GOOGLE_COLUMNS
    frame[["ST", "ET"]] /= 1e6
    return Job.from_records(
        frame,
        name=path.name.removeprefix("job_").split(".")[0],
        dataset=GOOGLE,
        features=GOOGLE_FEATURES,
        task="TI",
        start="ST",
        end="ET",
        overlaps="keep",
    )


def workflow_job(path: Path) -> Job:
    """Read the parallel stage of one workflow run in WfFormat (end-of-task values only)."""
    import pandas as pd

    workflow = json.loads(path.read_text(encoding="utf-8"))["workflow"]
    sizes = {file["id"]: file["sizeInBytes"] for file in workflow["specification"]["files"]}
    inputs = {
        task["id"]: sum(sizes.get(name, 0) for name in task.get("inputFiles", ()))
        for task in workflow["specification"]["tasks"]
    }
    tasks = [
        task
        for task in workflow["execution"]["tasks"]
        if task["command"]["program"] in WORKFLOW_STAGES
    ]
    frame = pd.DataFrame(
        {
            "task": [task["id"] for task in tasks],
            "latency": [task["runtimeInSeconds"] for task in tasks],
            **{name: [task[name] for task in tasks] for name in WORKFLOW_FEATURES},
            "inputBytes": [inputs[task["id"]] for task in tasks],
            "machine": [task["machines"][0] for task in tasks],
        }
    )
    machines = pd.get_dummies(frame.pop("machine"), prefix="on", dtype=float)
    features = (*WORKFLOW_FEATURES, "inputBytes", *machines.columns)
    return Job.from_tasks(
        pd.concat([frame, machines], axis=1),
        name=path.name.split(".")[0].replace("-chameleon", ""),
        dataset=WORKFLOWS,
        features=features,
    )


def spark_jobs(path: Path) -> list[Job]:
    """Read recorded Spark stages: usage records of every task of every stage."""
    from projects.nurd.usage_csv import KEYS, usage_records

    frame = usage_records(path)
    features = tuple(column for column in frame.columns if column not in KEYS)
    return [
        Job.from_records(stage, name=str(name), dataset=SPARK, features=features)
        for name, stage in frame.groupby("job", sort=True)
    ]


def synthetic_jobs(seeds: Iterable[int], run: Run) -> list[Job]:
    """Draw jobs from the generator, one per seed, alternating between far and near tails."""
    from dataclasses import replace

    from projects.nurd.generator import generate_job

    jobs = [generate_job(run.rng(SYNTHETIC, seed), family=FAMILIES[seed % 2]) for seed in seeds]
    return [
        replace(job, name=f"synthetic-{seed:04d}", dataset=SYNTHETIC)
        for seed, job in zip(seeds, jobs, strict=True)
    ]


def load_jobs(
    run: Run,
    *,
    google: Sequence[str] = (),
    workflows: Sequence[str] = (),
    spark: bool = False,
    synthetic: int = 0,
    stand_ins: int = 0,
) -> list[Job]:
    """Load an experiment's jobs and label their datasets on the run.

    Parameters
    ----------
    run : Run
        Decides between real data and stand-ins.
    google, workflows : sequence of str
        Names of jobs of the two public sets.
    spark : bool
        Whether to use the recorded Spark stages.
    synthetic : int
        Number of generated jobs wanted in any case.
    stand_ins : int
        Number of generated jobs that take the place of Google's where those cannot be had.

    Returns
    -------
    list of Job
    """
    jobs: list[Job] = []
    if google and (found := run.dataset(GOOGLE)):
        jobs += [google_job(path) for path in _files(found, google)]
    elif google:
        synthetic = max(synthetic, stand_ins)
    # The workflow runs play the part of Alibaba's batch_instance table.
    if workflows and (found := run.dataset(WORKFLOWS, label="substitute")):
        jobs += [workflow_job(path) for path in _files(found, workflows)]
    if spark and (path := run.recorded(SPARK_FILE, name=SPARK)):
        jobs += spark_jobs(path)
    if synthetic:
        run.synthetic(SYNTHETIC, f"{synthetic} jobs of projects.nurd.generator")
        jobs += synthetic_jobs(range(synthetic), run)
    return jobs


def _files(found: Dataset, names: Sequence[str]) -> list[Path]:
    by_name = {path.name.removeprefix("job_").split(".")[0]: path for path in found.files.values()}
    return [by_name[known(name, by_name, f"job of {found.name}")] for name in names]


def tail(job: Job) -> str:
    """Return ``far`` if the 90th percentile is below half of the maximum, else ``near``."""
    return "far" if job.threshold() / np.max(job.latency) < 0.5 else "near"
