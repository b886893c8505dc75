"""Failures, Ctrl-C, and taking up again."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = [pytest.mark.workflow, pytest.mark.slow]


def test_failed_experiment_leaves_its_reason_and_the_rest_goes_on(empty_house):
    house = empty_house
    house.file("broken").touch()
    done = house.snakemake("alpha", "beta")
    assert done.returncode != 0
    assert "ValueError: no luck" in done.stdout  # the log of the failed job is shown
    results = house.file("results/smoke/cpu")
    record = json.loads((results / "alpha/two/run.json").read_text())
    assert (record["status"], record["reason"]) == ("failed", "ValueError: no luck")
    assert (results / "beta/verdicts.json").exists()
    assert not (results / "alpha/verdicts.json").exists()

    house.file("broken").unlink()
    done = house.snakemake("alpha", "beta")
    assert done.returncode == 0, done.stdout
    assert house.jobs(done) == {"alpha: two", "alpha: verdicts"}
    assert (results / "alpha/verdicts.json").exists()


OBSERVATIONS = "results/smoke/cpu/alpha/one/observations.parquet"
SLOW = ["--config", "params={alpha.one: {n: 8, delay: 0.5}}"]


def interrupt_in_mid_run(house, number):
    """Send a signal to the whole process group, as a terminal does, when two cells are done."""
    process = subprocess.Popen(
        [sys.executable, "-m", "snakemake", *house.options(OBSERVATIONS, *SLOW)],
        cwd=house.root,
        env=house.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        # A background shell ignores SIGINT and hands that on; a terminal does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    journal = house.file(OBSERVATIONS).with_name("observations.partial.jsonl")
    deadline = time.monotonic() + 120
    while not journal.exists() or journal.read_text().count("\n") < 2:
        assert process.poll() is None, "ended before it could be interrupted"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, number)
    return process.wait(timeout=60)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_run_resumes_with_its_finished_cells(empty_house, number):
    house = empty_house
    assert interrupt_in_mid_run(house, number) != 0
    record = house.file(OBSERVATIONS).with_name("run.json")
    assert not record.exists()
    # A killed Snakemake cannot let go of its own lock; `make reproduce` uses one that it need not.
    done = house.snakemake("--nolock", OBSERVATIONS, *SLOW)
    assert done.returncode == 0, done.stdout
    assert "resuming" in house.file("results/smoke/cpu/alpha/logs/run-one.log").read_text()
    assert json.loads(record.read_text())["rows"] == 8
    assert not record.with_name("observations.partial.jsonl").exists()
