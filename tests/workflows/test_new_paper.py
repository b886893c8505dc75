"""A newcomer's paper: from `reprise new` to recorded verdicts, without an edit."""

import json
import shutil
import sqlite3
import sys

import pytest

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

SLUG = "eighteenth"
TITLE = "One paper more"


@pytest.fixture(scope="module")
def reprise(bare_house, root):
    """Return a caller of the command in a house that has the real documents and contract."""
    contract = bare_house.file("tests/projects/test_contract.py")
    contract.parent.mkdir(parents=True)
    shutil.copy(root / "tests/projects/test_contract.py", contract)
    shutil.copy(root / "README.md", bare_house.root)
    bare_house.file("docs").mkdir()

    def call(*arguments):
        done = bare_house.run(sys.executable, "-m", "common.cli", *arguments)
        assert done.returncode == 0, done.stdout
        return done.stdout

    return call


@pytest.fixture(scope="module")
def written(reprise):
    return reprise("new", SLUG, "--title", TITLE).split()


@pytest.fixture(scope="module")
def judged(bare_house, written):
    """The house after its whole pipeline at size smoke."""
    done = bare_house.snakemake()
    assert done.returncode == 0, done.stdout
    return bare_house


def test_new_paper_keeps_the_contract(bare_house, written):
    assert all(bare_house.file(name).is_file() for name in written)
    options = ("-q", "-n", "0", "-p", "no:cacheprovider", "-k", SLUG)
    done = bare_house.run(sys.executable, "-m", "pytest", *options, "tests/projects")
    assert done.returncode == 0, done.stdout


def test_pipeline_runs_judges_and_draws(judged):
    folder = judged.file(f"results/smoke/cpu/{SLUG}")
    assert json.loads((folder / "example/run.json").read_text())["status"] == "done"
    (verdict,) = json.loads((folder / "verdicts.json").read_text())
    assert (verdict["verdict"], verdict["data"]) == ("consistent", "synthetic")
    assert (folder / "figures/example.png").stat().st_size > 1000


def test_results_are_tracked(judged):
    with sqlite3.connect(judged.file("mlflow.db")) as connection:
        names = {row[0] for row in connection.execute("select name from experiments")}
    assert f"reprise-{SLUG}" in names


def test_report_is_written(judged, reprise):
    pages = reprise("report", SLUG, "--size", "smoke").split()
    assert len(pages) == 3
    page = judged.file(pages[0]).read_text()
    assert TITLE in page and "consistent" in page and "data:image/png;base64" in page


def test_verdicts_are_recorded_and_stand_in_the_documents(judged, reprise):
    recorded = judged.file(f"projects/{SLUG}/recorded/verdicts.json")
    assert "same" in reprise("verify", SLUG, "--size", "smoke", "--record")
    (entry,) = json.loads(recorded.read_text())
    assert entry["claim"] == "example" and entry["verdict"] == "consistent"

    reprise("verdicts", "--size", "smoke", "--write-docs")
    assert "| ≈ consistent |" in judged.file(f"projects/{SLUG}/README.md").read_text()
    assert f"[{SLUG}](projects/{SLUG}/README.md" in judged.file("README.md").read_text()
    assert TITLE in judged.file(f"docs/papers/{SLUG}.md").read_text()
