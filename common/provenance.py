"""What produced a result: the commit, the machine, and what the work took."""

from __future__ import annotations

import functools
import importlib.metadata
import re
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Any

from common.papers import projects_root


def git_state() -> dict[str, Any]:
    """Commit of the checkout and whether it is dirty; empty outside a checkout."""
    root = projects_root().parent

    def git(*args: str) -> str:
        command = ["git", "-C", str(root), *args]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        # Installed below somebody else's checkout, the commit would be theirs.
        if git("rev-parse", "--show-toplevel") != str(root):
            return {}
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return {}


def loaded_versions() -> dict[str, str]:
    """Versions of the distributions that this process has imported anything from."""
    from common.hardware.machine import versions

    modules = {name.partition(".")[0] for name in sys.modules}
    found = {each.metadata["Name"] for owned, each in _owners() if not owned.isdisjoint(modules)}
    return versions(sorted(found))


@functools.cache
def _owners() -> list[tuple[set[str], importlib.metadata.Distribution]]:
    """Every distribution with its modules.

    ``importlib.metadata.packages_distributions`` parses every list of files in full: 0.6 s.
    """
    return [(_modules(each), each) for each in importlib.metadata.distributions()]


def _modules(distribution: importlib.metadata.Distribution) -> set[str]:
    if declared := distribution.read_text("top_level.txt"):
        return set(declared.split())
    lines = (distribution.read_text("RECORD") or "").splitlines()
    files = (line.partition(",")[0] for line in lines)
    return {file.partition("/")[0].removesuffix(".py") for file in files if file.endswith(".py")}


def without_folders(text: str) -> str:
    """Cut absolute paths down to their last part: a record names no folder of this machine.

    Examples
    --------
    >>> without_folders("no such file '/home/me/data/jobs.csv', see https://example.org/a/b")
    "no such file 'jobs.csv', see https://example.org/a/b"
    """
    return re.sub(r"(?<![\w/.~])/(?:[^\s/:'\"]+/)+", "", text)


class Execution:
    """One execution of an experiment: begun now, on this commit and machine.

    Examples
    --------
    >>> Execution().facts()["seconds"] >= 0
    True
    """

    def __init__(self) -> None:
        self.started = datetime.now(UTC)
        self._git = git_state()  # now: a commit made while it runs is not what ran
        self._clock, self._cpu = time.perf_counter(), _cpu_seconds()

    def facts(self) -> dict[str, Any]:
        """What ``run.json`` says of it, up to this moment."""
        from common.hardware.machine import fingerprint

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {
            "started": self.started.isoformat(timespec="seconds"),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - self._clock, 3),
            "cpu_seconds": round(_cpu_seconds() - self._cpu, 3),
            "peak_memory_mb": round(peak, 1),
            "git": self._git,
            "machine": fingerprint(),
            "versions": loaded_versions(),
        }


def _cpu_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
