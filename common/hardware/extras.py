"""The optional extras of this distribution: what each needs, and whether it is there."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

DISTRIBUTION = "reprise"

# Distributions whose import name is not their own name with underscores.
MODULES = {
    "imbalanced-learn": "imblearn",
    "import-linter": "importlinter",
    "nvidia-ml-py": "pynvml",
    "psycopg2-binary": "psycopg2",
    "pytest-xdist": "xdist",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
    "scikit-survival": "sksurv",
    "xgboost-cpu": "xgboost",
}


class Extra(NamedTuple):
    """One extra and the state of its packages.

    Attributes
    ----------
    name : str
        As in ``pip install reprise[name]``.
    present : dict of str to str
        Version of each package that can be imported (``?`` where its metadata is missing).
    missing : list of str
        Packages that cannot.
    """

    name: str
    present: dict[str, str]
    missing: list[str]

    @property
    def install(self) -> str:
        """The line that installs it."""
        return f"pip install -c envs/constraints.txt -e '.[{self.name}]'"


def extras() -> list[Extra]:
    """State of every extra; looks packages up without importing them."""
    return [_state(name, needs) for name, needs in sorted(declared().items())]


def declared() -> dict[str, list[str]]:
    """Packages of each extra, from pyproject.toml in a source tree, else from the metadata."""
    pyproject = Path(__file__).parents[2] / "pyproject.toml"
    if pyproject.is_file():
        project = tomllib.loads(pyproject.read_text())["project"]
        listed = project.get("optional-dependencies", {})
        return {extra: [_package(line) for line in lines] for extra, lines in listed.items()}
    found: dict[str, list[str]] = {}
    for line in metadata.requires(DISTRIBUTION) or []:
        requirement, _, condition = line.partition(";")
        if match := re.search(r"extra\s*==\s*['\"]([^'\"]+)", condition):
            found.setdefault(match[1], []).append(_package(requirement))
    return found


def module_of(package: str) -> str:
    """Import name of a distribution."""
    return MODULES.get(package, package.replace("-", "_"))


def _package(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement.strip())
    return match[0].lower() if match else requirement


def _state(name: str, packages: list[str]) -> Extra:
    present, missing = {}, []
    for package in packages:
        if importlib.util.find_spec(module_of(package)) is None:
            missing.append(package)
            continue
        try:
            present[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # another distribution brings the same module
            present[package] = "?"
    return Extra(name, present, missing)
