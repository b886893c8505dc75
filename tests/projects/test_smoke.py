"""Every experiment, claim, figure and explorer of every paper at size smoke, in one process.

The pipelines start a process for each step, which costs more than the step does at this size;
``tests/workflows`` takes one paper through them.
"""

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from common.cli import app
from common.papers import load_paper, slugs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=slugs())
def paper(request):
    return load_paper(request.param)


@pytest.fixture(scope="module")
def folder(paper, tmp_path_factory) -> Path:
    """What ``reprise run``, ``verdicts`` and ``figures`` leave, without network and mirror."""
    results = tmp_path_factory.mktemp(paper.slug)
    with pytest.MonkeyPatch.context() as patch:
        # A fixture of the module runs before those of its tests, which hide the mirror.
        patch.delenv("REPRISE_DATA", raising=False)
        for verb in ("run", "verdicts", "figures"):
            command = [verb, paper.slug, "--size", "smoke", "--results", str(results)]
            CliRunner().invoke(app, command, catch_exceptions=False)
    return results / "smoke/cpu" / paper.slug


def test_every_experiment_is_done(paper, folder):
    experiments = paper.experiments_at("smoke", "cpu")
    assert experiments, f"{paper.slug} has nothing to run at size smoke"
    for name in experiments:
        record = json.loads((folder / name / "run.json").read_text())
        assert record["status"] == "done", f"{name}: {record['reason']}"


def test_every_claim_is_judged(folder):
    verdicts = json.loads((folder / "verdicts.json").read_text())
    assert not [entry for entry in verdicts if entry["verdict"] == "error"]


def test_every_figure_is_drawn(paper, folder):
    assert {path.stem for path in (folder / "figures").glob("*.png")} == set(paper.figures)


def test_explorers_find_what_they_draw(paper, folder):
    for name, explorer in paper.explorers.items():
        if (folder / explorer.experiment).exists():
            rows = pd.read_parquet(folder / explorer.experiment / "observations.parquet")
            assert explorer.missing(rows) == [], name
