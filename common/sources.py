"""Which source files can change a result: a module's own and those that it imports."""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

from common.papers import Paper, load_claims, projects_root

PACKAGES = ("common", "projects")


def code_digest(*modules: str) -> str:
    """Digest of modules and of everything of this project that they import.

    Imports inside functions count like those at the top. A package that is imported by its own
    name counts whole, because its public names may be loaded lazily. A module that does not exist
    is left out.

    Parameters
    ----------
    *modules : str
        For example ``projects.nurd.experiments`` and ``common.run``.

    Examples
    --------
    >>> code_digest("common.run") == code_digest("common.run", "common.errors")
    True
    """
    root = projects_root().parent
    total = hashlib.sha256()
    for path in sorted(source_files(root, *modules)):
        total.update(path.relative_to(root).as_posix().encode())
        total.update(path.read_bytes())
    return total.hexdigest()[:16]


def experiment_code(paper: Paper, experiment: str) -> str:
    """Digest of the code that decides what an experiment observes."""
    module = paper.target("experiments", experiment).partition(":")[0]
    return code_digest(module, "common.run")


def figure_code(paper: Paper) -> str:
    """Digest of the code that draws a paper's figures."""
    modules = {paper.target("figures", name).partition(":")[0] for name in paper.figures}
    return code_digest(*modules, "common.figures")


def claim_code(paper: Paper) -> str:
    """Digest of the code that judges a paper's claims and prints the scorecard."""
    own = {claim.function.partition(":")[0] for claim in load_claims(paper.slug) if claim.function}
    return code_digest(*own, "common.claims", "common.scorecard")


def source_files(root: Path, *modules: str) -> set[Path]:
    """Files of the modules and of all that they import below ``root``, however indirectly."""
    found: set[Path] = set()
    waiting = [path for module in modules for path in _files(root, module)]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        waiting += _imported_files(root, path, path.stat().st_mtime_ns)
    return found


@functools.cache
def _imported_files(root: Path, path: Path, _changed: int) -> frozenset[Path]:
    """Files that a file imports itself; a pipeline asks for the same ones dozens of times."""
    return frozenset(file for module in _imports(path) for file in _files(root, module))


def _files(root: Path, module: str) -> Iterator[Path]:
    """Files that ``import module`` may execute; a name inside a module stands for the module."""
    parts = module.split(".")
    if parts[0] not in PACKAGES:
        return
    folder = root.joinpath(*parts)
    if (folder / "__init__.py").is_file() and len(parts) > 1:
        yield from folder.rglob("*.py")
    elif folder.with_suffix(".py").is_file():
        yield folder.with_suffix(".py")
    elif len(parts) > 2:
        yield from _files(root, module.rpartition(".")[0])
    for depth in range(1, len(parts)):
        if (init := root.joinpath(*parts[:depth], "__init__.py")).is_file():
            yield init


def _imports(path: Path) -> Iterator[str]:
    """Modules and names that a file imports from this project, as dotted paths."""
    for node in _statements(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (name for name in names if name.split(".")[0] in PACKAGES)


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Statements at any depth; expressions, most of a tree, hold no imports and stay unseen."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):
            waiting += getattr(node, field, ())
