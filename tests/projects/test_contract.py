"""Every paper keeps the contract of CONTRIBUTING.md, and so does what `reprise new` writes."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

from common.claims import judge_folder
from common.papers import load_claims, load_paper, load_target, projects_root, slugs
from common.results import QUANTITIES, Folder
from common.scaffold import FILES, create

ROOM_FILES = set(FILES) - {"method.py"}


@pytest.mark.parametrize("slug", slugs())
def test_paper_holds_the_same_files_as_all_others(slug):
    present = {path.name for path in (projects_root() / slug).iterdir()}
    assert present >= ROOM_FILES
    assert "utils.py" not in present


@pytest.mark.parametrize("slug", slugs())
def test_declared_functions_exist_and_take_one_argument(slug):
    paper = load_paper(slug)
    for room in ("experiments", "figures"):
        for name in getattr(paper, room):
            assert paper.function(room, name).__code__.co_argcount == 1
    for claim in load_claims(slug):
        if claim.function:
            assert callable(load_target(claim.function))


@pytest.mark.parametrize("slug", slugs())
def test_explorers_name_what_the_paper_observes(slug):
    """The smoke pipeline compares with observations; a name that is nowhere fails here at once."""
    from common.graphs.snapshots import TIGGER_TEN

    sources = "".join(path.read_text() for path in (projects_root() / slug).glob("*.py"))
    known = {"variant", "dataset", "item", "seed", *TIGGER_TEN}
    known |= {f"score_{q}" for q in QUANTITIES}
    for name, explorer in load_paper(slug).explorers.items():
        for named in (*explorer.named_metrics, *explorer.named_columns):
            said = re.search(rf"\b{re.escape(named)}\b", sources)
            assert said or named in known, f"{name}: {named}"


@pytest.mark.parametrize("slug", slugs())
def test_datasets_are_registered(slug):
    from common.data import list_datasets

    paper = load_paper(slug)
    named = {*paper.datasets, *(d for e in paper.experiments.values() for d in e.datasets)}
    assert named <= set(list_datasets())


@pytest.mark.parametrize("slug", slugs())
def test_card_has_its_sections(slug):
    card = (projects_root() / slug / "README.md").read_text()
    for heading in ("## Use it", "## Claims and verdicts", "## Deviations", "## Data and licences"):
        assert heading in card
    assert "<!-- verdicts -->" in card


@pytest.mark.parametrize("slug", slugs())
def test_public_api_is_small_and_importable(slug):
    package = importlib.import_module(f"projects.{slug}")
    assert 1 <= len(package.__all__) <= 10
    for name in package.__all__:
        assert getattr(package, name) is not None
    for name in package.__all__:  # again: an imported module would now hide a name that it shares
        assert not isinstance(getattr(package, name), types.ModuleType), name


@pytest.mark.parametrize("slug", slugs())
def test_a_paper_names_the_papers_it_imports(slug):
    uses = set(load_paper(slug).uses) | {slug}
    for path in (projects_root() / slug).rglob("*.py"):
        for line in path.read_text().splitlines():
            words = line.split()
            if words[:1] in (["from"], ["import"]) and words[1].startswith("projects."):
                assert words[1].split(".")[1] in uses, f"{path}: {line}"


def test_skeleton_runs_and_is_judged(tmp_path, monkeypatch):
    """The new paper goes from `reprise new` to a verdict without an edit."""
    import common.papers

    root = tmp_path / "projects"
    create("toy", 'A "toy" paper', root)
    (root / "__init__.py").touch()
    monkeypatch.setattr(common.papers, "projects_root", lambda: root)
    script = (
        "import pathlib, sys, common.papers, common.provenance\n"
        "root = pathlib.Path('projects').resolve()\n"
        "common.papers.projects_root = common.provenance.projects_root = lambda: root\n"
        "from common.run import Run\n"
        "paper = common.papers.load_paper('toy')\n"
        "run = Run(paper, 'example', size='smoke', results=pathlib.Path('results'))\n"
        "run.execute(paper.function('experiments', 'example'))\n"
        "paper.function('figures', 'example')(run.folder.observations())\n"
        "common.papers.load_target('projects.toy.bench:benchmarks')()[0].ours()\n"
    )
    here = str(Path(__file__).parents[2])
    path = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {here!r}]\n"
    subprocess.run([sys.executable, "-c", path + script], cwd=tmp_path, check=True)
    claim = load_claims("toy", root)[0]
    verdict = judge_folder(claim, Folder(tmp_path / "results", "smoke", "cpu", "toy", "example"))
    # The effect is there in every item, and synthetic data alone proves no more.
    assert (verdict.verdict, verdict.data) == ("consistent", "synthetic")
    assert "synthetic" in verdict.reason


@pytest.mark.parametrize("slug", ["Toy", "1toy", "../toy", "nurd"])
def test_scaffold_refuses(slug, tmp_path):
    from common.errors import ConfigError

    create("nurd", "taken", tmp_path)
    with pytest.raises(ConfigError):
        create(slug, "title", tmp_path)


@pytest.mark.parametrize("slug", slugs())
def test_other_papers_are_used_as_declared(slug):
    from common.sources import source_files

    root = projects_root()
    modules = [f"projects.{slug}.{path.stem}" for path in (root / slug).glob("*.py")]
    files = source_files(root.parent, *modules)
    used = {path.relative_to(root).parts[0] for path in files if root in path.parents}
    assert used - {"__init__.py", slug} == set(load_paper(slug).uses)
