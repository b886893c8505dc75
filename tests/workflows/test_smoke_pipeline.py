"""Every paper's pipeline at size smoke, through Snakemake, without network and mirror."""

import json
import os
import sqlite3
import subprocess
import sys

import pandas as pd
import pytest

from common.papers import load_paper, slugs

pytestmark = [pytest.mark.workflow, pytest.mark.slow]


def snakemake(root, folder, *options):
    return subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "--snakefile", root / "Snakefile"),
            *("--directory", folder, "--profile", root / "workflows/profiles/default"),
            *("--cores", "2", *options, "--configfile", root / "workflows/config/smoke.yaml"),
        ],
        cwd=folder,
        # A fixture of the module runs before those of its tests, which hide the mirror.
        env={key: value for key, value in os.environ.items() if key != "REPRISE_DATA"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@pytest.fixture(scope="module")
def done(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("smoke")
    done = snakemake(root, folder)
    assert done.returncode == 0, done.stdout[-10_000:]
    return folder


@pytest.mark.parametrize("slug", slugs())
def test_every_experiment_is_there_and_judged(done, slug):
    folder = done / "results/smoke/cpu" / slug
    experiments = load_paper(slug).experiments_at("smoke", "cpu")
    assert experiments, f"{slug} has nothing to run at size smoke"
    for name in experiments:
        record = json.loads((folder / name / "run.json").read_text())
        assert record["status"] == "done", f"{name}: {record['reason']}"
    verdicts = json.loads((folder / "verdicts.json").read_text())
    assert not [entry for entry in verdicts if entry["verdict"] == "error"]
    drawn = {path.stem for path in (folder / "figures").glob("*.png")}
    assert drawn == set(load_paper(slug).figures)


@pytest.mark.parametrize("slug", slugs())
def test_explorers_find_what_they_draw(done, slug):
    folder = done / "results/smoke/cpu" / slug
    for name, explorer in load_paper(slug).explorers.items():
        if (folder / explorer.experiment).exists():
            rows = pd.read_parquet(folder / explorer.experiment / "observations.parquet")
            assert explorer.missing(rows) == [], name


def test_results_are_tracked(done):
    with sqlite3.connect(done / "mlflow.db") as connection:
        names = {row[0] for row in connection.execute("select name from experiments")}
    assert {f"reprise-{slug}" for slug in slugs()} <= names


def test_second_run_has_nothing_to_do(root, done):
    again = snakemake(root, done)
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout


def test_report_holds_figures_with_their_captions(root, done):
    made = snakemake(root, done, "--report", "report.html")
    assert made.returncode == 0, made.stdout
    page = (done / "report.html").read_text()
    for slug in slugs():
        paper = load_paper(slug)
        assert paper.title in page
        for figure in paper.figures.values():
            assert figure.title in page
