"""The tracking store against the results files that it was filled from."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from common.results import COLUMNS, OBSERVATIONS, RECORD, Folder, atomic, read_json, write_json
from common.tracking import SyncReport, TrackingError, connect, sync, tracking_uri
from common.tracking.bundle import _name, _verdict_text, bundle, paper_verdicts
from common.tracking.connection import shown

PAPER = """
slug: toy
title: A toy paper
authors: [A. Author, B. Author]
venue: TOYCONF
year: 2020
url: https://example.org/toy
group: toys
summary: It does little.
experiments:
  speed: {title: Speed of the method, params: {alpha: 0.1, seeds: 2}, sizes: {smoke: {}, quick: {}}}
  later: {title: Never run here, sizes: {full: {}}}
figures:
  bars: {title: Bars, caption: One bar each., experiments: [speed]}
  other: {title: Other, caption: Not of this run., experiments: [later]}
"""
CLAIMS = """
claims:
  - id: faster
    title: Faster
    source: section 5
    statement: It is faster than the baseline.
    kind: ratio
    experiment: speed
    metric: seconds
    of: {variant: ours}
    over: {variant: "base/line +1"}
    better: lower
    paper: {value: 0.5}
    accept: {high: 0.8}
  - id: later-claim
    title: Later
    source: section 6
    statement: It also does that.
    kind: value
    experiment: later
    metric: seconds
    paper: {value: null}
    accept: {low: 1}
"""


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    root = tmp_path / "papers"
    (root / "toy").mkdir(parents=True)
    (root / "toy" / "paper.yaml").write_text(PAPER)
    (root / "toy" / "claims.yaml").write_text(CLAIMS)
    (root / "toy" / "README.md").write_text("# Toy\n\n## Deviations\n\nNone.\n")
    return root


def observe(ours: float = 1.0) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for variant, level in (("ours", ours), ("base/line +1", 4.0)):
        for item in range(20):
            identity = (variant, "d1", f"job{item}", 0, "seconds", level + rng.uniform(0, 0.1))
            rows.append([*identity, "s", "original", "measured", "clock"])
    return pd.DataFrame(rows, columns=list(COLUMNS))


def write(
    results: Path, rows: pd.DataFrame, machine: str = "m1", status: str = "done", **more: object
) -> Folder:
    folder = Folder(results, "quick", "cpu", "toy", "speed")
    with atomic(folder.path / OBSERVATIONS) as temporary:
        rows.to_parquet(temporary, index=False)
    record = {
        "schema": 1,
        "paper": "toy",
        "experiment": "speed",
        "size": "quick",
        "target": "cpu",
        "status": status,
        "config": {"alpha": 0.1, "seeds": 2, "nested": {"a": [1, 2]}},
        "digest": "0123",
        "data_mode": "auto",
        "git": {"commit": "c0ffee", "dirty": True},
        "machine": {"id": machine, "label": f"{machine}, 2 cores", "gpus": [{"name": "G1"}]},
        "measurements": [
            {
                "region": region,
                "quantity": "energy",
                "total": 2.0,
                "unit": "J",
                "count": 1,
                "meter": "rapl",
                "measurement": "measured",
            }
            for region in ("fit", "predict")
        ],
        "started": "2026-01-02T03:04:05+00:00",
        "finished": "2026-01-02T03:05:05+00:00",
        "seconds": 60.0,
        "cpu_seconds": 100.0,
        "peak_memory_mb": 512.0,
        "rows": len(rows),
        **more,
    }
    write_json(folder.path / RECORD, record)
    return folder


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh database, made once: MLflow takes seconds for its tables."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    connect(f"sqlite:///{path}")
    return path


@pytest.fixture
def uri(tmp_path: Path, database: Path) -> str:
    store = tmp_path / "store"
    store.mkdir()
    (store / "mlflow.db").write_bytes(database.read_bytes())
    return f"sqlite:///{store / 'mlflow.db'}"


def runs(uri: str) -> list:
    client = connect(uri)
    ids = [found.experiment_id for found in client.search_experiments() if "toy" in found.name]
    return list(client.search_runs(ids)) if ids else []


def counts(report: SyncReport) -> tuple[int, int, int]:
    return report.added, report.unchanged, report.updated


def test_second_sync_adds_nothing(tmp_path, papers, uri):
    write(tmp_path / "results", observe())
    assert counts(sync(tmp_path / "results", uri, projects_root=papers)) == (1, 0, 0)
    assert counts(sync(tmp_path / "results", uri, projects_root=papers)) == (0, 1, 0)
    assert len(runs(uri)) == 1


def test_a_run_carries_params_metrics_tags_and_files(tmp_path, papers, uri):
    rows = observe()
    folder = write(tmp_path / "results", rows)
    figures = folder.path.parent / "figures"
    figures.mkdir()
    (figures / "bars.png").write_bytes(b"bars")
    (figures / "other.png").write_bytes(b"other")
    sync(tmp_path / "results", uri, projects_root=papers)
    (run,) = runs(uri)
    assert run.data.params == {"alpha": "0.1", "seeds": "2", "nested": '{"a": [1, 2]}'}
    mean = rows.loc[rows["variant"] == "ours", "value"].mean()
    assert run.data.metrics["seconds/ours/d1"] == pytest.approx(mean)
    assert "seconds/base/line _1/d1" in run.data.metrics
    assert run.data.metrics["run/peak_memory_mb"] == 512
    tags = run.data.tags
    assert tags["reprise.commit"] == "c0ffee" and tags["reprise.dirty"] == "true"
    assert tags["reprise.data"] == "original" and tags["reprise.gpus"] == "G1"
    assert json.loads(tags["reprise.meters"])[0]["total"] == 4.0
    assert run.info.status == "FINISHED"
    assert (run.info.end_time - run.info.start_time) == 60_000
    assert tags["verdict.faster"] == "reproduced"
    verdict = json.loads(tags["claim.faster"])
    assert verdict["high"] < 0.8 and verdict["paper_value"] == 0.5 and verdict["n"] == 20
    client = connect(uri)
    files = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert files == {OBSERVATIONS, RECORD, "verdicts.json", "figures", "paper"}
    # a figure belongs to the runs whose experiments it draws
    assert [f.path for f in client.list_artifacts(run.info.run_id, "figures")] == [
        "figures/bars.png"
    ]
    stored = pd.read_parquet(client.download_artifacts(run.info.run_id, OBSERVATIONS))
    pd.testing.assert_frame_equal(stored, rows)
    # artifacts lie beside the database, wherever the command was typed
    assert run.info.artifact_uri.startswith((tmp_path / "store" / "mlartifacts").as_uri())


def test_a_claim_without_a_run_of_its_own_is_still_told(tmp_path, papers, uri):
    write(tmp_path / "results", observe())
    sync(tmp_path / "results", uri, projects_root=papers)
    (run,) = runs(uri)
    verdict = json.loads(run.data.tags["claim.later-claim"])
    assert verdict["verdict"] == "untested" and "out of scope" in verdict["reason"]
    assert "paper_value" not in verdict  # null stays nothing, never a number


def test_changed_numbers_update_the_same_run(tmp_path, papers, uri):
    write(tmp_path / "results", observe())
    sync(tmp_path / "results", uri, projects_root=papers)
    (before,) = runs(uri)
    write(tmp_path / "results", observe(ours=3.9), finished="2026-01-02T04:05:05+00:00")
    assert counts(sync(tmp_path / "results", uri, projects_root=papers)) == (0, 0, 1)
    (after,) = runs(uri)
    assert after.info.run_id == before.info.run_id
    assert after.data.tags["verdict.faster"] == "weaker"
    assert after.data.metrics["seconds/ours/d1"] > 3.9


def test_a_failed_rerun_leaves_no_old_numbers(tmp_path, papers, uri):
    write(tmp_path / "results", observe())
    sync(tmp_path / "results", uri, projects_root=papers)
    write(tmp_path / "results", observe()[:0], status="failed", reason="ValueError: broke")
    assert counts(sync(tmp_path / "results", uri, projects_root=papers)) == (0, 0, 1)
    (run,) = runs(uri)
    assert run.info.status == "FAILED" and run.data.tags["reprise.reason"] == "ValueError: broke"
    assert np.isnan(run.data.metrics["seconds/ours/d1"])
    assert run.data.tags["verdict.faster"] == "error"
    assert counts(sync(tmp_path / "results", uri, projects_root=papers)) == (0, 1, 0)


@pytest.mark.parametrize(
    "change",
    [{"digest": "4567"}, {"git": {"commit": "beef"}}, {"machine": {"id": "m2", "label": "other"}}],
    ids=["digest", "commit", "machine"],
)
def test_another_identity_is_another_run(tmp_path, papers, uri, change):
    write(tmp_path / "results", observe())
    sync(tmp_path / "results", uri, projects_root=papers)
    write(tmp_path / "results", observe(), **change)
    assert counts(sync(tmp_path / "results", uri, projects_root=papers)) == (1, 0, 0)
    assert len(runs(uri)) == 2


def test_verdicts_file_wins_over_judging_anew(tmp_path, papers, uri):
    folder = write(tmp_path / "results", observe())
    sync(tmp_path / "results", uri, projects_root=papers)
    (run,) = runs(uri)
    path = connect(uri).download_artifacts(run.info.run_id, "verdicts.json")
    verdicts = read_json(Path(path))
    verdicts[0]["verdict"] = "consistent"
    write_json(folder.path.parent / "verdicts.json", verdicts)
    assert counts(sync(tmp_path / "results", uri, projects_root=papers)) == (0, 0, 1)
    assert runs(uri)[0].data.tags["verdict.faster"] == "consistent"


def test_recorded_machines_are_added_on_request(tmp_path, papers, uri):
    write(papers / "toy" / "recorded" / "results" / "bigbox", observe(), machine="gpu1")
    write(tmp_path / "results", observe())
    assert counts(sync(tmp_path / "results", uri, projects_root=papers)) == (1, 0, 0)
    assert counts(sync(tmp_path / "results", uri, True, papers)) == (1, 1, 0)
    recorded = {
        run.data.tags["reprise.machine"]: run.data.tags["reprise.recorded"] for run in runs(uri)
    }
    assert recorded == {"m1": "", "gpu1": "bigbox"}


def test_a_deleted_experiment_comes_back(tmp_path, papers, uri):
    write(tmp_path / "results", observe())
    sync(tmp_path / "results", uri, projects_root=papers)
    client = connect(uri)
    client.delete_experiment(client.get_experiment_by_name("reprise-toy").experiment_id)
    sync(tmp_path / "results", uri, projects_root=papers)
    assert len(runs(uri)) == 1


def test_an_unreadable_folder_is_named_and_left_out(tmp_path, papers, uri):
    folder = write(tmp_path / "results", observe())
    (folder.path / OBSERVATIONS).write_bytes(b"not parquet")
    report = sync(tmp_path / "results", uri, projects_root=papers)
    assert counts(report) == (0, 0, 0)
    assert OBSERVATIONS in report.unreadable[0]


def test_empty_tree_and_results_of_an_unknown_paper(tmp_path, papers, uri):
    assert counts(sync(tmp_path / "nothing", uri, projects_root=papers)) == (0, 0, 0)
    write(tmp_path / "results", observe())
    assert counts(sync(tmp_path / "results", uri, projects_root=tmp_path / "empty")) == (1, 0, 0)
    assert not any(name.startswith("claim.") for name in runs(uri)[0].data.tags)


def test_an_unreachable_server_is_said_clearly_and_soon(tmp_path, papers):
    write(tmp_path / "results", observe())
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound but not listening: the port is closed
        uri = f"http://user:secret@127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(TrackingError, match=r"MLFLOW_TRACKING_URI") as caught:
            sync(tmp_path / "results", uri, projects_root=papers)
    assert "127.0.0.1" in str(caught.value) and "secret" not in str(caught.value)
    assert "stay as files" in str(caught.value)
    assert (tmp_path / "results/quick/cpu/toy/speed" / RECORD).exists()


def test_a_wrong_database_password_is_said_at_the_first_refusal(tmp_path):
    pytest.importorskip("psycopg2", reason="the PostgreSQL driver is not installed")
    told = b"SFATAL\0C28P01\0Mpassword authentication failed\0\0"
    refusals = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def refuse() -> None:
            """A PostgreSQL server as far as its first answer: no encryption, then no entry."""
            with contextlib.suppress(OSError):  # the test closes the socket at its end
                while True:
                    caller, _ = listening.accept()
                    with caller:
                        while int.from_bytes(caller.recv(1024)[4:8], "big") != 196_608:  # 3.0
                            caller.sendall(b"N")
                        refusals.append(caller)
                        caller.sendall(b"E" + (len(told) + 4).to_bytes(4, "big") + told)

        threading.Thread(target=refuse, daemon=True).start()
        uri = f"postgresql://user:secret@127.0.0.1:{listening.getsockname()[1]}/runs"
        with pytest.raises(TrackingError, match="password authentication failed") as caught:
            sync(tmp_path / "results", uri)
    assert len(refusals) == 1
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_no_database_is_said_clearly(tmp_path):
    (tmp_path / "mlflow.db").write_text("hello" * 1000)
    with pytest.raises(TrackingError, match=r"mlflow\.db"):
        sync(tmp_path / "results", f"sqlite:///{tmp_path / 'mlflow.db'}")


def test_two_writers_at_once_make_one_run(tmp_path, papers, uri):
    write(tmp_path / "results", observe())
    # Forks: to start Python and load MLflow twice takes longer than all other tests here.
    process = multiprocessing.get_context("fork").Process
    asked = {"args": (tmp_path / "results", uri), "kwargs": {"projects_root": papers}}
    jobs = [process(target=sync, **asked) for _ in range(2)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(timeout=120)
    assert [job.exitcode for job in jobs] == [0, 0]
    assert len(runs(uri)) == 1


def test_tracking_uri_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri() == f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert tracking_uri() == "http://server:5000"
    assert tracking_uri("other.db") == f"sqlite:///{tmp_path / 'other.db'}"


def test_names_fit_mlflow_and_stay_apart():
    used: set[str] = set()
    names = [_name(raw, used) for raw in ("m/a+b/d", "m/a*b/d", "../x", "", "m//d", "é" * 400)]
    assert len(set(names)) == len(names)
    from mlflow.utils.validation import _validate_metric_name

    for name in names:
        _validate_metric_name(name)


def test_a_long_verdict_still_fits_a_tag(tmp_path, papers):
    folder = write(tmp_path / "results", observe())
    item = bundle(folder, paper_verdicts(folder, papers), root=papers)
    assert all(len(value) <= 8000 for value in item.tags.values())
    from common.claims import Verdict

    fields = dict.fromkeys(Verdict.__dataclass_fields__, "x")
    long = Verdict(**{**fields, "statement": "s" * 9000, "reason": "r" * 9000})
    assert len(_verdict_text(long, 3)) <= 8000
    assert json.loads(_verdict_text(long, 3))["paper"] == "x"


def test_password_is_not_shown():
    assert shown("http://me:pw@host:1/x") == "http://***@host:1/x"
    assert shown("sqlite:////tmp/mlflow.db") == "sqlite:////tmp/mlflow.db"


def test_import_is_light():
    code = "import sys, common.tracking; print('mlflow' in sys.modules, 'pandas' in sys.modules)"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False"], done.stderr
