"""Which code produced a result: the commit, and a digest of the sources that count."""

from __future__ import annotations

import hashlib
import importlib.metadata
import subprocess
import sys
from typing import Any

from common.papers import projects_root


def source_digest(slug: str) -> str:
    """Digest of the Python sources that can change a paper's numbers."""
    root = projects_root()
    files = [*root.joinpath(slug).rglob("*.py"), *root.parent.joinpath("common").rglob("*.py")]
    total = hashlib.sha256()
    for path in sorted(files):
        total.update(path.relative_to(root.parent).as_posix().encode())
        total.update(path.read_bytes())
    return total.hexdigest()[:16]


def git_state() -> dict[str, Any]:
    """Commit of the checkout and whether it is dirty; empty outside a checkout."""

    def git(*args: str) -> str:
        command = ["git", "-C", str(projects_root().parent), *args]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return {}


def loaded_versions() -> dict[str, str]:
    """Versions of the distributions that this process has imported anything from."""
    owners = importlib.metadata.packages_distributions()
    modules = {name.partition(".")[0] for name in sys.modules}
    names = {distribution for module in modules for distribution in owners.get(module, ())}
    return {name: importlib.metadata.version(name) for name in sorted(names)}
