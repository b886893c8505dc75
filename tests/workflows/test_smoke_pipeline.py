"""The pipelines at size smoke through Snakemake: all are planned, one runs, without network.

``tests/projects/test_smoke.py`` runs the experiments of every paper, and ``tests/scale`` the
pipelines of three on a cluster.
"""

import html
import json
import os
import re
import sqlite3

import pytest

from common.papers import load_paper, slugs
from tests.workflows import forked

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

# It has all there is: the language model's rule, timed experiments, data with stand-ins.
SLUG = "cachegen"


def snakemake(root, folder, *options, papers=(SLUG,)):
    options = [
        *("--snakefile", root / "Snakefile", "--directory", folder),
        *("--profile", root / "workflows/profiles/default", "--cores", "2", *options),
        *("--configfile", root / "workflows/config/smoke.yaml"),
        *("--config", f"papers={','.join(papers)}"),
    ]
    # A fixture of the module runs before those of its tests, which hide the mirror.
    environment = {key: value for key, value in os.environ.items() if key != "REPRISE_DATA"}
    return forked.snakemake(options, folder, environment)


def test_every_experiment_of_every_paper_is_planned(root, tmp_path):
    planned = snakemake(root, tmp_path, "--dry-run", papers=slugs())
    assert planned.returncode == 0, planned.stdout
    jobs = set(re.findall(r"^Job \d+: (.*)$", planned.stdout, re.MULTILINE))
    for slug in slugs():
        experiments = load_paper(slug).experiments_at("smoke", "cpu")
        steps = ["verdicts", "figures", *experiments]
        assert {f"{slug}: {step}" for step in steps} <= jobs


@pytest.fixture(scope="module")
def done(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("smoke")
    done = snakemake(root, folder)
    assert done.returncode == 0, done.stdout[-10_000:]
    return folder


def test_every_step_leaves_its_results(done):
    folder, paper = done / "results/smoke/cpu" / SLUG, load_paper(SLUG)
    for name in paper.experiments_at("smoke", "cpu"):
        assert (folder / name / "run.json").exists(), name
        assert (folder / "logs" / f"run-{name}.log").exists(), name
    assert (folder / "verdicts.json").exists()
    assert (folder / "scorecard.txt").stat().st_size
    assert {path.stem for path in (folder / "figures").glob("*.png")} == set(paper.figures)


def test_results_are_tracked(done):
    with sqlite3.connect(done / "mlflow.db") as connection:
        names = {row[0] for row in connection.execute("select name from experiments")}
    assert f"reprise-{SLUG}" in names


def test_second_run_has_nothing_to_do(root, done):
    again = snakemake(root, done)
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout


def test_report_shows_every_figure_with_its_caption(root, done):
    made = snakemake(root, done, "--report", "report.html")
    assert made.returncode == 0, made.stdout
    page = (done / "report.html").read_text()
    written = re.findall(r'"caption": ("<p>(?:[^"\\]|\\.)*")', page)
    shown = {re.sub(r"<[^>]+>", "", html.unescape(json.loads(text))).strip() for text in written}
    paper = load_paper(SLUG)
    assert paper.title in page
    for figure in paper.figures.values():
        origin = f"(From: {', '.join(figure.experiments)}.)"
        assert f"{figure.title} {figure.caption} {origin}" in shown
