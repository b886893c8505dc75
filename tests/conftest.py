"""What every test gets: a cache of its own, no network, and skips that say their reason."""

from __future__ import annotations

import gc
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# One core per worker of pytest-xdist, and per job of a pipeline. Before NumPy and torch are loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# As the commands do, which import as much.
gc.set_threshold(50_000, 20, 50)


def _mirror() -> str:
    folders = [Path(item) for item in os.environ.get("REPRISE_DATA", "").split(os.pathsep) if item]
    if any(folder.is_dir() for folder in folders):
        return ""
    return "no mirror of the real data: set REPRISE_DATA"


def _package(name: str, extra: str) -> str:
    found = importlib.util.find_spec(name) is not None
    return "" if found else f"{name} is not installed (extra '{extra}')"


def _spark() -> str:
    java = "" if shutil.which("java") else "Java is not installed (envs/apt.txt)"
    return _package("pyspark", "spark") or java


def _browser() -> str:
    names = ("chromium", "chromium-browser", "google-chrome")
    there = any(shutil.which(name) for name in names)
    chromium = "" if there else "Chromium is not installed (envs/apt.txt)"
    return _package("playwright", "dev") or chromium


def _gpu() -> str:
    return "" if Path("/dev/nvidiactl").exists() else "no NVIDIA GPU here"


def _programs(*names: str) -> str:
    missing = [name for name in names if not shutil.which(name)]
    return f"{', '.join(missing)} not installed (envs/apt.txt)" if missing else ""


def _slurm() -> str:
    """Root alone may start a cluster, and only where namespaces are allowed."""
    if os.geteuid() != 0:
        return "not root, who alone can start a Slurm cluster"
    if obstacle := _programs("munged", "slurmctld", "slurmd", "nsenter", "unshare"):
        return obstacle
    new = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "true")
    if subprocess.run(new, stderr=subprocess.DEVNULL).returncode:
        return "this machine allows no namespaces of one's own (see unshare)"
    return _package("snakemake_executor_plugin_slurm", "slurm")


def _postgres() -> str:
    there = any(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    server = "" if there else "PostgreSQL is not installed (envs/apt.txt)"
    return server or _package("psycopg2", "postgres")


# For each marker the reason why its tests cannot run here, or "".
OBSTACLES: dict[str, Callable[[], str]] = {
    "browser": _browser,
    "data": _mirror,
    "gpu": _gpu,
    "postgres": _postgres,
    "slurm": _slurm,
    "spark": _spark,
    "workflow": lambda: _package("snakemake", "workflow"),
}


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Imports leave hardly any garbage, but searching a million objects for it takes seconds."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reasons = {marker: obstacle() for marker, obstacle in OBSTACLES.items()}
    for item in items:
        for marker, reason in reasons.items():
            if reason and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))
    _long_files_first(items)


def _long_files_first(items: list[pytest.Item]) -> None:
    """A long file that starts last leaves the other workers idle; a pipeline uses every core."""
    marked = {
        marker: {item.path for item in items if item.get_closest_marker(marker)}
        for marker in ("workflow", "slow")
    }
    items.sort(key=lambda item: [item.path not in marked[marker] for marker in marked])


@pytest.fixture(scope="session", autouse=True)
def _isolated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPRISE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("REPRISE_OFFLINE", "1")
        patch.setenv("MPLBACKEND", "Agg")
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield


@pytest.fixture(autouse=True)
def _mirror_for_data_tests_alone(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any other test gives the same answer on a machine with and without a mirror."""
    if not request.node.get_closest_marker("data"):
        monkeypatch.delenv("REPRISE_DATA", raising=False)
