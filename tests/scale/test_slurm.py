"""Three papers at size smoke through Slurm, with a node that dies in mid-run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from common.papers import load_paper
from common.results import COLUMNS, Folder, find
from common.run import Run

pytestmark = [pytest.mark.slurm, pytest.mark.workflow, pytest.mark.slow]

# Those with the fewest jobs: each starts Snakemake twice more on its node.
PAPERS = ("dggen", "jlmetric", "srf")


@dataclass(frozen=True)
class Outcome:
    """What the run left behind.

    Attributes
    ----------
    results : Path
        The results tree.
    lost : str
        Id of the job that was at work on the node when it died.
    completed : str
        Slurm's own list of the jobs and how they ended.
    """

    results: Path
    lost: str
    completed: str


@pytest.fixture(scope="module")
def outcome(cluster, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    folder = tmp_path_factory.mktemp("scale")
    output = folder / "snakemake.out"
    with output.open("wb") as log:
        pipeline = subprocess.Popen(
            cluster.command(*command(root, folder)),
            env=environment(),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        lost = kill_a_node_at_work(cluster, folder, pipeline)
        pipeline.wait(timeout=400)
    finally:
        pipeline.kill()
        pipeline.wait()
    assert pipeline.returncode == 0, output.read_text()[-8000:] + cluster.logs()
    yield Outcome(folder / "results", lost, (cluster.folder / "completed.log").read_text())


def command(root: Path, folder: Path) -> list[str | Path]:
    """The profile as it ships; behind it what a cluster without accounting needs, and haste."""
    return [
        *(sys.executable, "-m", "snakemake", "--snakefile", root / "Snakefile"),
        *("--directory", folder, "--profile", root / "workflows/profiles/slurm"),
        *("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2"),
        *("--seconds-between-status-checks", "2", "--latency-wait", "5", *PAPERS),
        *("--configfile", root / "workflows/config/smoke.yaml"),
        *("--config", f"papers={','.join(PAPERS)}"),
    ]


def environment() -> dict[str, str]:
    here = {key: value for key, value in os.environ.items() if key != "REPRISE_DATA"}
    return {**here, "SBATCH_ACCOUNT": "root", "SBATCH_PARTITION": "debug"}


def kill_a_node_at_work(cluster, folder: Path, pipeline: subprocess.Popen[bytes]) -> str:
    """Wait until an experiment is under way on the second node, and cut its power."""
    found = ""

    def at_work() -> bool:
        nonlocal found
        running = cluster.ask("squeue", "-hwn2", "-tR", "-o%i %k")
        runs = re.findall(r"^(\d+) rule_([a-z]+)_run_(\w+)$", running, re.M)
        for job, slug, experiment in runs:
            log = folder / f"results/smoke/cpu/{slug}/logs/run-{experiment}.log"
            if log.exists():
                found = job
        return found or pipeline.poll() is not None

    cluster.until("an experiment on n2", at_work, seconds=120)
    cluster.kill_node("n2")
    return found


def test_the_job_of_the_dead_node_ran_again(outcome):
    ends = re.findall(rf"^JobId={outcome.lost} .*JobState=(\w+)", outcome.completed, re.M)
    assert ends == ["NODE_FAIL", "COMPLETED"]
    assert set(re.findall(r"JobState=(\w+)", outcome.completed)) == {"NODE_FAIL", "COMPLETED"}


@pytest.mark.parametrize("slug", PAPERS)
def test_nothing_is_lost(outcome, slug):
    done = {f.experiment: f.record().status for f in find(outcome.results, paper=slug)}
    assert done == dict.fromkeys(load_paper(slug).experiments_at("smoke", "cpu"), "done")
    place = outcome.results / "smoke/cpu" / slug
    assert (place / "verdicts.json").is_file()
    drawn = {path.stem for path in (place / "figures").glob("*.png")}
    assert drawn == set(load_paper(slug).figures)
    assert not list(place.rglob("*.partial*"))


@pytest.mark.parametrize("slug", PAPERS)
def test_numbers_are_those_of_one_machine(outcome, slug, tmp_path):
    paper = load_paper(slug)
    untimed = [n for n in paper.experiments_at("smoke", "cpu") if not paper.experiment(n).timed]
    for name in untimed:
        run = Run(paper, name, size="smoke", results=tmp_path)
        here = run.execute(paper.function("experiments", name))
        there = Folder(outcome.results, "smoke", "cpu", slug, name)
        pd.testing.assert_frame_equal(unmetered(here), unmetered(there))


def unmetered(folder: Folder) -> pd.DataFrame:
    """Observations that no clock and no meter made."""
    rows = folder.observations()
    return rows[rows["meter"] == ""].sort_values(list(COLUMNS), ignore_index=True)
