"""Two machines that track to one MLflow server, with PostgreSQL behind it and artifacts on HTTP."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from common.cli import app
from common.results import COLUMNS, OBSERVATIONS, RECORD, Folder, atomic, write_json
from dashboard import data

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

LABELS = ("synthetic", "measured", "a clock")
MACHINES = {"aaaa00000001": [1.0, 2.0, 3.0], "bbbb00000002": [2.0, 4.0, 6.0]}


@pytest.fixture(scope="module")
def database(free_ports: Callable[[int], list[int]]) -> Iterator[str]:
    """URI of an empty database with a password, on the loopback interface."""
    # Not below pytest's own folder, which the server's user may not enter.
    folder = Path(tempfile.mkdtemp(prefix="reprise-postgres-"))
    password = secrets.token_hex(16)
    (folder / "password").write_text(password)
    user: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        user = ["runuser", "-u", "postgres", "--"]
        for path in (folder, folder / "password"):
            shutil.chown(path, "postgres", "postgres")
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parts[-2]))
    [port] = free_ports(1)
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder}"
    cluster = ["-D", folder / "data"]

    def do(program: str, *arguments: str | Path) -> None:
        command = [*user, programs / program, *cluster, *arguments]
        done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0, done.stdout

    try:
        secret = (f"--pwfile={folder}/password", "--auth=scram-sha-256")
        do("initdb", "--username=reprise", *secret, "--no-sync", "--encoding=UTF8")
        do("pg_ctl", "start", "-w", "-l", folder / "log", "-o", f"{options} -c fsync=off")
        yield f"postgresql+psycopg2://reprise:{password}@127.0.0.1:{port}/postgres"
    finally:
        if (folder / "data/postmaster.pid").exists():
            do("pg_ctl", "stop", "-w", "-m", "immediate")
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def server(
    database: str, free_ports: Callable[[int], list[int]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """URL of an MLflow server that keeps runs in the database and hands artifacts out itself."""
    folder = tmp_path_factory.mktemp("mlflow")
    [port] = free_ports(1)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"),
                *("--port", str(port), "--workers", "1"),
                *("--artifacts-destination", (folder / "artifacts").as_uri()),
            ],
            # The password stands in no command line.
            env={
                **os.environ,
                "MLFLOW_BACKEND_STORE_URI": database,
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            },
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process, folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # it has workers
        process.wait()


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise AssertionError(f"the MLflow server did not answer:\n{log.read_text()[-4000:]}")


@pytest.fixture(scope="module")
def tracked(server: str, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What `reprise track` said on each machine, and when the first repeated it."""
    folder = tmp_path_factory.mktemp("machines")
    for machine, values in MACHINES.items():
        write(folder / machine, machine, values)
    said = []
    for machine in (*MACHINES, next(iter(MACHINES))):
        command = ["track", "--results", str(folder / machine), "--uri", server]
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
        said.append(done.output.strip())
    return said


def write(results: Path, machine: str, values: list[float]) -> None:
    folder = Folder(results, "quick", "cpu", "nurd", "decision")
    rows = [
        ["nurd", "jobs", f"job{i}", 0, "decision_wall_time", value, "s", *LABELS]
        for i, value in enumerate(values)
    ]
    with atomic(folder.path / OBSERVATIONS) as temporary:
        pd.DataFrame(rows, columns=list(COLUMNS)).to_parquet(temporary, index=False)
    record = {
        **{"paper": "nurd", "experiment": "decision", "size": "quick", "target": "cpu"},
        **{"status": "done", "config": {}, "digest": "0123", "data_mode": "auto"},
        **{"started": "2026-01-02T03:04:05+00:00", "finished": "2026-01-02T03:05:05+00:00"},
        **{"seconds": 60.0, "cpu_seconds": 60.0, "peak_memory_mb": 100.0, "rows": len(rows)},
        "machine": {"id": machine, "label": f"machine {machine}"},
    }
    write_json(folder.path / RECORD, record)


def test_each_machine_is_there_once(server, tracked):
    assert tracked == [
        f"{server}: 1 added, 0 updated, 0 unchanged",
        f"{server}: 1 added, 0 updated, 0 unchanged",
        f"{server}: 0 added, 0 updated, 1 unchanged",
    ]


def test_browser_sees_both_machines_with_their_numbers(server, tracked):
    shelf = data.load(server)
    assert set(shelf.runs["machine"]) == set(MACHINES)
    assert set(shelf.papers["paper"]) == {"nurd"}
    assert len(shelf.verdicts) == 2 * shelf.verdicts["claim"].nunique() > 0
    for run in shelf.runs.itertuples():
        assert data.observations(server, run)["value"].tolist() == MACHINES[run.machine]
        assert data.record(server, run)["machine"]["id"] == run.machine


def test_artifacts_come_over_http(server, tracked):
    run = data.load(server).runs.iloc[0]
    url = f"{server}/get-artifact?run_uuid={run['run_id']}&path={RECORD}"
    with urllib.request.urlopen(url) as answer:
        assert json.load(answer)["machine"]["id"] == run["machine"]


def test_runs_are_in_the_database(database, tracked):
    import psycopg2

    with psycopg2.connect(database.replace("+psycopg2", "")) as connection:
        cursor = connection.cursor()
        cursor.execute("select value from tags where key = 'reprise.machine'")
        assert {row[0] for row in cursor.fetchall()} == set(MACHINES)
