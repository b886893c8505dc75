"""The recipe of the Spark recording, piece by piece, and what it recorded."""

from __future__ import annotations

import gzip
import json
import platform
import re
from pathlib import Path

import numpy as np
import psutil
import pytest

from common.errors import DataError
from projects.nurd import record_spark
from projects.nurd.spark_events import LIVE_METRICS
from projects.nurd.spark_stages import STAGES, BusyProcesses, write_files
from projects.nurd.spark_usage import FEATURES, usage_table
from projects.nurd.usage_csv import KEYS, usage_records

RECORDED = Path(record_spark.__file__).parent / "recorded" / "spark"


def event(kind, time, task=0, job="stage-1.0", **features):
    known = {**dict.fromkeys(LIVE_METRICS, 0.0), **features} if kind != "task_start" else {}
    status = {"status": "success"} if kind == "task_end" else {}
    return {
        "type": kind,
        "time": 100.0 + time,
        "job": job,
        "task": task,
        "features": known,
        **status,
    }


def sample(time, **threads):
    use = {int(name[1:]): values for name, values in threads.items()}
    return {"time": 100.0 + time, "tasks": {0: 7} if 7 in use else {}, "threads": use}


def test_usage_records_by_hand():
    events = [
        event("task_start", 0.0),
        event("task_progress", 1.0, records_read=2000.0, bytes_read=3e6, gc_time=0.5),
        event("task_progress", 1.05, records_read=2100.0),  # too close to the one before
        event("task_progress", 1.0, job="stage-0.0", records_read=9.0),
        event("task_end", 3.0, records_read=8000.0, bytes_read=5e6, gc_time=0.5, disk_spilled=1e6),
        event("task_progress", 3.2, records_read=8000.0),  # after the end
        event("task_start", 1.0, task=1),  # never ends
    ]
    # The thread is new at 0.5 s; before that it had used nothing.
    samples = [sample(0.0), sample(0.5, t7=(0.25, 10.0)), sample(1.0, t7=(0.5, 30.0))]
    samples += [sample(3.0, t7=(2.5, 50.0)), sample(4.0, t7=(3.5, 90.0))]
    first, second = usage_table(events, samples, "stage-1.0", "j").to_dict("records")
    assert (first["start"], first["end"], second["start"], second["end"]) == (0, 1, 1, 3)
    assert (first["cpu_cores"], second["cpu_cores"]) == pytest.approx((0.5, 1.0))
    assert (first["alloc_mb_s"], second["alloc_mb_s"]) == pytest.approx((30.0, 10.0))
    assert (first["krecords_s"], second["krecords_s"]) == pytest.approx((2.0, 3.0))
    assert (first["read_mb"], second["read_mb"]) == (3.0, 5.0)
    assert (first["gc_share"], second["gc_share"]) == (0.5, 0.0)
    assert (first["spill_mb"], second["spill_mb"]) == (0.0, 1.0)
    assert list(first) == [*KEYS, *FEATURES]


def test_failed_attempts_leave_no_records():
    end = {**event("task_end", 1.0), "status": "failed"}
    other = [event("task_start", 0.0, task=4), event("task_end", 2.0, task=4)]
    table = usage_table([event("task_start", 0.0), end, *other], [], "stage-1.0", "j")
    assert table["task"].tolist() == [0]  # renumbered
    assert table["end"].tolist() == [2.0]


def test_files_of_the_scan_are_skewed_and_repeatable(tmp_path):
    for name in ("a", "b"):
        write_files(tmp_path / name, 12, seed=3)
    files = sorted((tmp_path / "a").iterdir())
    assert len(files) == 12
    assert all(f.read_bytes() == (tmp_path / "b" / f.name).read_bytes() for f in files)
    sizes = [f.stat().st_size for f in files]
    assert max(sizes) > 1.3 * min(sizes)


def test_busy_processes_end_with_the_block():
    with pytest.raises(RuntimeError, match="stage failed"), BusyProcesses(2) as load:
        load.start()
        load.start()  # once only
        running = [psutil.Process(p.pid) for p in load._running]
        assert len(running) == 2
        raise RuntimeError("stage failed")
    assert not any(p.is_running() for p in running)


def raw_log(path, note=""):
    info = {"Task ID": 5, "Host": "secret-host", "Launch Time": 1, "Finish Time": 2}
    counters = [{"ID": 1, "Name": "x", "Metadata": "sql"}, {"ID": 2, "Name": "internal.metrics.y"}]
    stage = {"Stage ID": 2, "Stage Attempt ID": 0}
    update = {"Task ID": 5, **stage, "Accumulator Updates": counters}
    events = [
        {"Event": "SparkListenerLogStart", "Spark Version": "4.1.0"},
        {"Event": "SparkListenerEnvironmentUpdate", "System Properties": {"user.name": "ada"}},
        {"Event": "SparkListenerApplicationStart", "App Name": "n", "User": "ada", "Timestamp": 1},
        {"Event": "SparkListenerJobStart", "Properties": {"spark.driver.host": "secret-host"}},
        {
            "Event": "SparkListenerStageSubmitted",
            "Stage Info": {**stage, "Details": "/home/ada/x.py", "Accumulables": counters},
            "Properties": {"spark.local.dir": "/home/ada"},
        },
        {
            "Event": "SparkListenerTaskEnd",
            **stage,
            "Task End Reason": {"Reason": note},
            "Task Info": {**info, "Accumulables": counters},
        },
        {"Event": "SparkListenerTaskEnd", **stage, "Stage ID": 1, "Task Info": info},
        {"Event": "SparkListenerExecutorMetricsUpdate", "Metrics Updated": [update]},
        {"Event": "SparkListenerExecutorMetricsUpdate", "Metrics Updated": []},
    ]
    path.write_text("".join(json.dumps(e) + "\n" for e in events))
    return path


def test_trimmed_log_keeps_one_stage_and_no_names(tmp_path):
    text = record_spark.trimmed_log(raw_log(tmp_path / "app"), "stage-2.0").decode()
    assert not re.search("secret|ada|home", text)
    kinds = [json.loads(line)["Event"].removeprefix("SparkListener") for line in text.splitlines()]
    assert kinds == [
        "LogStart",
        "ApplicationStart",
        "StageSubmitted",
        "TaskEnd",
        "ExecutorMetricsUpdate",
    ]
    assert '"sql"' not in text
    assert text.count("internal.metrics.y") == 3


def test_trimmed_log_refuses_a_name_that_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "node", lambda: "build-host-17")
    path = raw_log(tmp_path / "app", note="lost build-host-17")
    with pytest.raises(DataError, match="build-host-17"):
        record_spark.trimmed_log(path, "stage-2.0")


def test_unknown_stage_is_said_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["x", "--out", str(tmp_path), "--stages", "sort-hut"])
    with pytest.raises(SystemExit, match=r"error: stage 'sort-hut'.*did you mean 'sort-hot'"):
        record_spark.main()


# -- what was recorded ----------------------------------------------------------------------


def test_recording_is_small_and_names_nobody():
    files = list(RECORDED.iterdir())
    assert sum(f.stat().st_size for f in files) < 700_000
    assert (RECORDED / "event-log.json.gz").stat().st_size < 150_000
    for file in files:
        content = file.read_bytes()
        if file.suffix == ".gz":
            assert content[4:8] == bytes(4), "the gzip bears a time"
            content = gzip.decompress(content)
        assert not re.search(rb"/(home|root|tmp|usr|work|opt)/|user\.name|\"User\"", content), file
        assert set(re.findall(rb'"Host":"([^"]*)"', content)) <= {b"localhost"}


def test_recorded_jobs_have_real_stragglers_and_match_their_readme():
    usage = usage_records(RECORDED / "usage.csv.gz")
    facts = json.loads((RECORDED / "recording.json").read_text())
    readme = (RECORDED / "README.md").read_text()
    assert readme == record_spark.readme(facts)
    assert set(usage["job"]) == {j["job"] for j in facts["jobs"]} == set(STAGES)
    for job in facts["jobs"]:
        mine = usage[usage["job"] == job["job"]]
        latency = (mine["end"] - mine["start"]).groupby(mine["task"]).sum()
        assert len(latency) == job["tasks"] == STAGES[job["job"]].tasks >= 100
        assert latency.max() == pytest.approx(job["max"], abs=2e-3)
        assert latency.max() > 2 * latency.median()
        # Spans are contiguous: their sum is finish minus launch.
        spans = mine.groupby("task").agg(start=("start", "min"), end=("end", "max"))
        np.testing.assert_allclose(spans["end"] - spans["start"], latency, atol=1e-6)


def test_the_load_took_cores_from_the_tasks():
    usage = usage_records(RECORDED / "usage.csv.gz")
    mine = usage[usage["job"] == "scan-tail-load"]
    half = mine.groupby("task")["end"].max().median()
    length = mine["end"] - mine["start"]
    cores = [
        (mine["cpu_cores"] * length)[part].sum() / length[part].sum()
        for part in (mine["end"] < half, mine["start"] > half)
    ]
    assert cores[1] < 0.75 * cores[0]
