"""A house of two toy papers: the real rules, the real command line, experiments of a second."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.workflows import forked

ROOT = Path(__file__).resolve().parents[2]

PAPER = """\
slug: {slug}
title: The {slug} paper
authors: [Someone]
venue: none
year: 2020
url: http://localhost
group: Toys
summary: A toy.
experiments:
  one:
    title: Slow on demand
    params: {{n: 2, delay: 0.0}}
    sizes: {{smoke: }}
"""
MORE = """\
  two:
    title: Broken on demand
    timed: true
    params: {n: 2}
    sizes: {smoke: }
figures:
  line:
    title: A line
    caption: What the line shows.
    experiments: [one]
"""
CLAIMS = """\
claims:
  - id: mean-is-small
    title: The mean is small
    source: section 1
    statement: It is small.
    kind: bound
    experiment: one
    metric: x
    paper: {value: 0.5}
    accept: {high: 1}
"""
EXPERIMENTS = '''\
"""Toy experiments."""

import time
from pathlib import Path


def one(run):
    run.synthetic("made", "numbers")
    for i in run.cells(range(run.params["n"])):
        time.sleep(run.params["delay"])
        run.observe({"x": i / 10}, variant="a", dataset="made", item=str(i))


def two(run):
    if Path("broken").exists():
        raise ValueError("no luck")
    run.synthetic("made", "numbers")
    run.observe({"x": 1.0}, variant="a", dataset="made")
'''
FIGURES = '''\
"""Toy figures."""


def line(rows):
    from matplotlib.figure import Figure

    figure = Figure()
    figure.add_subplot().plot(rows["value"].to_numpy())
    return figure
'''


@dataclass
class House:
    """A copy of the shared rooms with papers of its own."""

    root: Path
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    def add(self, slug: str, more: str = "") -> None:
        folder = self.root / "projects" / slug
        folder.mkdir()
        (folder / "__init__.py").write_text('"""A toy paper."""\n')
        (folder / "README.md").write_text("A toy paper.\n")
        (folder / "paper.yaml").write_text(PAPER.format(slug=slug) + more)
        (folder / "claims.yaml").write_text(CLAIMS)
        (folder / "experiments.py").write_text(EXPERIMENTS)
        (folder / "figures.py").write_text(FIGURES)

    def file(self, name: str) -> Path:
        return self.root / name

    def change(self, name: str, old: str, new: str) -> None:
        text = self.file(name).read_text()
        assert old in text
        self.file(name).write_text(text.replace(old, new))

    def options(self, *options: str, size: str = "smoke") -> list[str]:
        configuration = ["--configfile", f"workflows/config/{size}.yaml"]
        return ["--profile", "workflows/profiles/default", "--cores", "2", *options, *configuration]

    def snakemake(self, *options: str, size: str = "smoke") -> subprocess.CompletedProcess[str]:
        return forked.snakemake(self.options(*options, size=size), self.root, self.environment)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.root,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )

    def planned(self, *options: str) -> set[str]:
        """Jobs that Snakemake would run now."""
        done = self.snakemake("--dry-run", *options)
        assert done.returncode == 0, done.stdout
        return self.jobs(done)

    def jobs(self, done: subprocess.CompletedProcess[str]) -> set[str]:
        """Jobs that Snakemake has run, or would, such as ``alpha: one``."""
        return set(re.findall(r"^Job \d+: (.*)$", done.stdout, re.MULTILINE))


def build(root: Path) -> House:
    house = rooms(root)
    house.add("alpha", MORE)
    house.add("beta")
    return house


def rooms(root: Path) -> House:
    passing = shutil.ignore_patterns("*.partial", "*.pyc.*")
    for room in ("common", "workflows", "envs", "dashboard"):
        shutil.copytree(ROOT / room, root / room, ignore=passing)
    for name in ("Snakefile", "Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, root / name)
    (root / "projects").mkdir()
    shutil.copy(ROOT / "projects" / "__init__.py", root / "projects")
    return House(root)


@pytest.fixture(scope="module", autouse=True)
def _nothing_left_running() -> Iterator[None]:
    yield
    forked.stop()


@pytest.fixture(scope="module")
def bare_house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """The shared rooms without a paper."""
    return rooms(tmp_path_factory.mktemp("bare"))


@pytest.fixture
def empty_house(tmp_path: Path) -> House:
    """Two toy papers, nothing run yet."""
    return build(tmp_path)


@pytest.fixture(scope="session")
def done_house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Two toy papers whose pipelines have run; not to be changed."""
    house = build(tmp_path_factory.mktemp("house"))
    done = house.snakemake("alpha", "beta")
    assert done.returncode == 0, done.stdout
    return house


@pytest.fixture
def house(done_house: House, tmp_path: Path) -> House:
    """A copy of the finished house that a test may change."""
    shutil.copytree(done_house.root, tmp_path / "house", symlinks=True)
    return House(tmp_path / "house")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT
