"""The Makefile: options are checked first, and the score is printed whatever happens."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

make = pytest.mark.skipif(
    subprocess.run(["which", "make"], capture_output=True).returncode != 0,
    reason="make is not installed (envs/apt.txt)",
)
pytestmark = make


def run_make(house, *options):
    """Run make in a toy house with this interpreter's environment instead of a new .venv."""
    binaries = Path(sys.executable).parent
    return house.run("make", "--old-file=setup", f"BIN={binaries}", *options)


@pytest.fixture(scope="module")
def bare(bare_house):
    """A house of two papers in which nothing may be installed."""
    for slug in ("alpha", "beta"):
        bare_house.add(slug)
    bare_house.file("envs/setup.sh").write_text("#!/bin/sh\necho INSTALLED\nexit 1\n")
    return bare_house


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("SIZE=quik", "SIZE=quik is not allowed; SIZE is one of: smoke quick full"),
        ("TARGET=tpu", "TARGET=tpu is not allowed; TARGET is one of: cpu gpu wearable"),
        ("DATA=fake", "DATA=fake is not allowed; DATA is one of: auto real synthetic"),
        ("PAPER=gamma", "PAPER=gamma is not allowed; PAPER is one of: all alpha beta"),
        ("PAPER=alpha,gamma", "PAPER is one of: all alpha beta"),
        ("PAPER=", "PAPER= is not allowed"),
        ("JOBS=0", "JOBS=0 is not allowed; JOBS is a number of cores"),
        ("JOBS=two", "JOBS=two is not allowed"),
    ],
)
def test_wrong_option_is_refused_before_anything_is_installed(bare, option, message):
    done = bare.run("make", "reproduce", option)
    assert done.returncode == 2
    assert message in done.stdout
    assert "INSTALLED" not in done.stdout


def test_make_alone_lists_the_commands(bare):
    done = bare.run("make")
    assert done.returncode == 0
    for goal in ("setup", "reproduce", "verify", "dashboard", "test", "lint", "clean"):
        assert f"make {goal}" in done.stdout
    assert "alpha beta" in done.stdout


def test_set_up_says_what_to_install(bare, root, tmp_path, monkeypatch):
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    for name in ("python3.11", "python3", "python3.12", "python3.13"):
        (tmp_path / name).symlink_to(old)
    monkeypatch.setitem(bare.environment, "PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    shutil.copy(root / "envs/setup.sh", bare.file("envs/real.sh"))
    done = bare.run("sh", "envs/real.sh", "dev")
    assert done.returncode == 1
    assert "no Python >= 3.11 found" in done.stdout
    assert "apt-get install -y python3 python3-venv" in done.stdout
    assert not bare.file(".venv/bin").exists()


@pytest.mark.workflow
@pytest.mark.slow
def test_score_is_printed_and_the_failure_kept(empty_house):
    house = empty_house
    house.file("broken").touch()
    # A store that answers nobody: the score does not wait for it.
    house.environment["MLFLOW_TRACKING_URI"] = "http://127.0.0.1:1"
    done = run_make(house, "reproduce", "SIZE=smoke", "PAPER=alpha")
    assert done.returncode == 2
    assert "Claims at size smoke on cpu" in done.stdout
    assert "consistent" in done.stdout
    assert "make dashboard" in done.stdout


@pytest.mark.workflow
def test_two_at_once_in_one_folder_are_refused(empty_house):
    lock = empty_house.file(".snakemake/reproduce.lock")
    lock.parent.mkdir()
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = run_make(empty_house, "reproduce", "SIZE=smoke")
    assert done.returncode == 2
    assert "another 'make reproduce' is at work in this folder" in done.stdout
    assert not empty_house.file("results").exists()


def test_clean_keeps_the_work_of_hours(bare):
    of_hours = (".venv/python", "results/full/run.json")
    of_minutes = ("results/quick/run.json", "results/smoke/run.json", "mlflow.db")
    for name in of_hours + of_minutes:
        bare.file(name).parent.mkdir(parents=True, exist_ok=True)
        bare.file(name).touch()
    assert run_make(bare, "clean").returncode == 0
    assert all(bare.file(name).exists() for name in of_hours)
    assert not [name for name in of_minutes if bare.file(name).exists()]
