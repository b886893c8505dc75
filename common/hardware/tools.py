"""Programs outside Python that parts of the project can use."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from common.hardware.probe import Probe

OLDEST_JAVA = 17
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def git() -> Probe:
    """Git records which commit a result belongs to."""
    version = _version("git", "--version")
    if version is None:
        return Probe(False, "git is not installed: results cannot name their commit", _apt("git"))
    return Probe(True, f"git {version}: results name their commit")


def java() -> Probe:
    """Spark needs a Java runtime; JAVA_HOME goes before the path, as in Spark itself."""
    home = os.environ.get("JAVA_HOME")
    version = _version(str(Path(home, "bin", "java")) if home else "java", "-version")
    remedy = f"{_apt('openjdk-17-jre-headless')}, or set JAVA_HOME"
    if version is None:
        return Probe(False, "no Java runtime answers: Spark cannot run", remedy)
    first, _, rest = version.partition(".")
    major = int(rest.split(".")[0]) if first == "1" else int(first)  # 1.8 is Java 8
    if major < OLDEST_JAVA:
        return Probe(False, f"Java {version}; Spark 4 needs {OLDEST_JAVA} or later", remedy)
    return Probe(True, f"Java {version}: runs Spark")


def chromium() -> Probe:
    """The browser tests of the dashboard drive a Chromium."""
    found = next((name for name in _CHROMIUM if shutil.which(name)), None)
    if found:
        return Probe(True, f"{found}: runs the browser tests")
    cache = os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or "~/.cache/ms-playwright"
    if any(Path(cache).expanduser().glob("chromium-*")):
        return Probe(True, "Playwright's own Chromium: runs the browser tests")
    remedy = f"{_apt('chromium')}, or `playwright install chromium`"
    return Probe(False, "no Chromium: the browser tests are skipped", remedy)


def slurm() -> Probe:
    """Slurm spreads a pipeline over a cluster."""
    if shutil.which("sbatch") is None:
        remedy = "run on a Slurm login node with the extra: pip install '.[slurm]'"
        return Probe(False, "no sbatch: pipelines run on this machine only", remedy)
    return Probe(True, "sbatch: pipelines can be submitted (workflows/profiles/slurm)")


TOOLS: dict[str, Callable[[], Probe]] = {
    "git": git,
    "java": java,
    "chromium": chromium,
    "slurm": slurm,
}


def _apt(package: str) -> str:
    return f"`sudo apt-get install {package}`"


def _version(program: str, option: str) -> str | None:
    """First number with a dot, or in quotes, of what the program says about itself."""
    path = shutil.which(program)
    if path is None:
        return None
    try:
        answer = subprocess.run([path, option], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r'"(\d[\w.]*)|(\d+\.[\d.]*\d)', answer.stdout + answer.stderr)
    return (match[1] or match[2]) if match and answer.returncode == 0 else None
