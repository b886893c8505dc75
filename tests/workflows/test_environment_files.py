"""The pinned environment agrees with what the project declares."""

import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from common.papers import load_paper, slugs


@pytest.fixture(scope="module")
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def pins(root):
    lines = (root / "envs/constraints.txt").read_text().splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    names = [canonicalize_name(requirement.name) for requirement in requirements]
    assert len(names) == len(set(names))
    written = [requirement.name.lower() for requirement in requirements]
    assert written == sorted(written)
    versions = {}
    for name, requirement in zip(names, requirements, strict=True):
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", f"{requirement} is not pinned"
        versions[name] = specifier.version
    return versions


def declared(project, *extras):
    lines = list(project["dependencies"])
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    return [Requirement(line) for line in lines]


def extras_of(slug):
    """Extras of a paper and of all its experiments."""
    paper = load_paper(slug)
    return {*paper.extras, *(e for x in paper.experiments.values() for e in x.extras)}


def test_every_dependency_is_pinned_to_a_version_that_it_allows(project, pins):
    for requirement in declared(project, *project["optional-dependencies"]):
        version = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} against {version}"


def test_conda_environment_holds_the_same_versions(root, project, pins):
    environment = yaml.safe_load((root / "envs/default.yaml").read_text())
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    listed = {canonicalize_name(Requirement(line).name): line for line in pip}
    for name, line in listed.items():
        assert line.split("==")[1] == pins[name]
    papers = {extra for slug in slugs() for extra in extras_of(slug)}
    needed = declared(project, "torch", "workflow", "track", "hw", *papers)
    assert {canonicalize_name(requirement.name) for requirement in needed} == set(listed)


def test_set_up_installs_the_extras_of_every_paper(root, project):
    (line,) = re.findall(r"^EXTRAS := (.*)$", (root / "Makefile").read_text(), re.MULTILINE)
    extras = set(line.split()) - {"$(WITH)"}
    assert extras <= set(project["optional-dependencies"])
    for slug in slugs():
        assert extras_of(slug) <= extras, slug


def test_debian_packages_are_names(root):
    for line in (root / "envs/apt.txt").read_text().splitlines():
        assert re.fullmatch(r"#.*|[a-z0-9][a-z0-9+.-]+", line), line


def test_no_package_index_is_named(root):
    paths = [root / "Makefile", root / "pyproject.toml", root / ".ci/run", *root.glob("envs/*")]
    for path in paths:
        assert not re.search(r"https?://|index-url|find-links", path.read_text()), path
