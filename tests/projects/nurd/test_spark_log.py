"""Spark event logs: hand-written ones, hostile ones, the recorded one, and one made here."""

from __future__ import annotations

import copy
import gzip
import itertools
import json
import logging
import math
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projects.nurd import spark_log
from projects.nurd.spark_events import LIVE_METRICS, METRICS
from projects.nurd.spark_log import EventLogError, read_event_log, task_events, task_table

RECORDED = Path(spark_log.__file__).parent / "recorded" / "spark"
T0 = 1_700_000_000_000  # ms

START4 = {"Event": "SparkListenerLogStart", "Spark Version": "4.1.0"}
START3 = {"Event": "SparkListenerLogStart", "Spark Version": "3.0.3"}


def started(task, launch, stage=3, **info):
    fixed = {
        "Task ID": task,
        "Index": task,
        "Attempt": 0,
        "Partition ID": task,
        "Launch Time": T0 + launch,
        "Executor ID": "1",
        "Host": "localhost",
        "Locality": "PROCESS_LOCAL",
        "Speculative": False,
        "Getting Result Time": 0,
        "Finish Time": 0,
        "Failed": False,
        "Killed": False,
        "Accumulables": [],
    }
    return {
        "Event": "SparkListenerTaskStart",
        "Stage ID": stage,
        "Stage Attempt ID": 0,
        "Task Info": {**fixed, **info},
    }


def ended(task, launch, finish, stage=3, reason="Success", metrics=None, **info):
    event = started(task, launch, stage, **{"Finish Time": T0 + finish, **info})
    return {
        **event,
        "Event": "SparkListenerTaskEnd",
        "Task Type": "ResultTask",
        "Task End Reason": {"Reason": reason},
        "Task Metrics": METRICS4 if metrics is None else metrics,
    }


def counter(number, update, name=None):
    entry = {"ID": number, "Update": update, "Internal": True, "Count Failed Values": True}
    return entry if name is None else {**entry, "Name": name}


def heartbeat(*updates, stage=3):
    return {
        "Event": "SparkListenerExecutorMetricsUpdate",
        "Executor ID": "driver",
        "Metrics Updated": [
            {
                "Task ID": task,
                "Stage ID": stage,
                "Stage Attempt ID": 0,
                "Accumulator Updates": list(counters),
            }
            for task, *counters in updates
        ],
        "Executor Metrics Updated": [],
    }


METRICS4 = {
    "Executor Deserialize Time": 20,
    "Executor Deserialize CPU Time": 5_000_000,
    "Executor Run Time": 1500,
    "Executor CPU Time": 1_200_000_000,
    "Peak Execution Memory": 4096,
    "Result Size": 77,
    "JVM GC Time": 250,
    "Result Serialization Time": 1,
    "Memory Bytes Spilled": 10,
    "Disk Bytes Spilled": 5,
    "Shuffle Read Metrics": {
        "Remote Blocks Fetched": 1,
        "Local Blocks Fetched": 2,
        "Fetch Wait Time": 30,
        "Remote Bytes Read": 600,
        "Remote Bytes Read To Disk": 0,
        "Local Bytes Read": 400,
        "Total Records Read": 12,
        "Remote Requests Duration": 3,
        "Push Based Shuffle": {"Corrupt Merged Block Chunks": 0},
    },
    "Shuffle Write Metrics": {
        "Shuffle Bytes Written": 900,
        "Shuffle Write Time": 2_000_000,
        "Shuffle Records Written": 9,
    },
    "Input Metrics": {"Bytes Read": 8000, "Records Read": 80},
    "Output Metrics": {"Bytes Written": 7, "Records Written": 6},
    "Updated Blocks": [],
}
# Spark 3.0 had the peak among the accumulables alone.
METRICS3 = {k: v for k, v in METRICS4.items() if k != "Peak Execution Memory"}
PEAK3 = counter(74, 4096, "internal.metrics.peakExecutionMemory")
# By hand from METRICS4: times in seconds, sizes in bytes.
EXPECTED = {
    "run_time": 1.5,
    "cpu_time": 1.2,
    "deserialize_time": 0.02,
    "result_size": 77.0,
    "gc_time": 0.25,
    "peak_memory": 4096.0,
    "memory_spilled": 10.0,
    "disk_spilled": 5.0,
    "bytes_read": 8000.0,
    "records_read": 80.0,
    "bytes_written": 7.0,
    "records_written": 6.0,
    "shuffle_bytes_read": 1000.0,
    "shuffle_records_read": 12.0,
    "shuffle_fetch_wait": 0.03,
    "shuffle_bytes_written": 900.0,
    "shuffle_records_written": 9.0,
    "shuffle_write_time": 0.002,
}


def write(path, *events, head=START4):
    path.write_text("".join(json.dumps(e) + "\n" for e in (head, *events)))
    return path


@pytest.fixture
def log4(tmp_path):
    return write(
        tmp_path / "app",
        {"Event": "SparkListenerApplicationStart", "App Name": "a", "Timestamp": T0 - 500},
        {"Event": "com.example.SomethingNew", "Timestamp": "not a number"},
        started(0, 0),
        started(1, 100),
        ended(0, 0, 2000),
        started(2, 2000),
        ended(1, 100, 4100),
    )


# -- tables ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "end"),
    [
        (START4, ended(0, 250, 2000)),
        (START3, ended(0, 250, 2000, metrics=METRICS3, Accumulables=[PEAK3])),
    ],
)
def test_table_has_the_metrics_of_spark_3_and_4(tmp_path, head, end):
    del end["Task Info"]["Partition ID"]  # since 3.3 only
    (row,) = task_table(write(tmp_path / "app", started(0, 250), end, head=head)).to_dict("records")
    assert {name: row[name] for name in METRICS} == pytest.approx(EXPECTED)
    assert row["duration"] == pytest.approx(1.75)
    assert (row["stage_id"], row["task_id"], row["speculative"]) == (3, 0, False)


def test_table_tells_outcomes_apart(tmp_path):
    path = write(
        tmp_path / "app",
        ended(0, 0, 10),
        ended(1, 0, 10, reason="ExceptionFailure", Failed=True),
        ended(2, 0, 10, reason="TaskKilled", Killed=True, Speculative=True),
        ended(3, 0, 10, reason="FetchFailed", metrics={}),
        started(4, 5),
    )
    table = task_table(path).set_index("task_id")
    assert table["failed"].tolist() == [False, True, False, True, False]
    assert table["killed"].tolist() == [False, False, True, False, False]
    assert table["speculative"].tolist() == [False, False, True, False, False]
    assert table["finish"].isna().tolist() == [False, False, False, False, True]
    assert math.isnan(table.loc[3, "run_time"])
    assert math.isnan(table.loc[4, "duration"])


def test_table_of_a_log_without_tasks_is_empty(tmp_path):
    assert task_table(write(tmp_path / "app")).empty


# -- streams --------------------------------------------------------------------------------


def test_events_come_in_time_order_with_the_live_metrics(log4):
    events = list(task_events(log4))
    assert [(e["type"], e["task"]) for e in events] == [
        ("task_start", 0),
        ("task_start", 1),
        ("task_start", 2),  # at the same moment as the end: starts come first
        ("task_end", 0),
        ("task_end", 1),
    ]
    assert [e["time"] for e in events] == pytest.approx([0.0, 0.1, 2.0, 2.0, 4.1])
    assert {e["job"] for e in events} == {"stage-3.0"}
    end = next(e for e in events if e["type"] == "task_end")
    assert end["features"] == pytest.approx({name: EXPECTED[name] for name in LIVE_METRICS})
    assert end["status"] == "success"
    # What is known at the end alone would give the finish away.
    assert not {"run_time", "cpu_time", "peak_memory"} & set(LIVE_METRICS)


def test_heartbeats_without_names_take_them_from_the_end_of_a_task(tmp_path):
    names = [
        counter(7, 80, "internal.metrics.input.recordsRead"),
        counter(8, 250, "internal.metrics.jvmGCTime"),
        counter(9, 1, "number of output rows"),
    ]
    path = write(
        tmp_path / "app",
        started(0, 0),
        started(1, 0),
        heartbeat((0, counter(7, "40"), counter(8, "-40")), (1, counter(7, "15"), counter(9, "3"))),
        heartbeat((1, counter(7, "30"))),
        ended(0, 0, 3000, Accumulables=names),
    )
    progress = [e for e in task_events(path) if e["type"] == "task_progress"]
    assert [(e["task"], e["features"]["records_read"]) for e in progress] == [
        (0, 40.0),
        (1, 15.0),
        (1, 30.0),
    ]
    # Two heartbeats between 0 s and 3 s: evenly spaced. A negative count of GC is Spark's.
    assert [e["time"] for e in progress] == pytest.approx([1.0, 1.0, 2.0])
    assert progress[0]["features"]["gc_time"] == 0.0
    assert all(tuple(e["features"]) == LIVE_METRICS for e in progress)


def test_heartbeats_with_names_need_no_end(tmp_path):
    named = counter(5, 640, "internal.metrics.shuffle.read.localBytesRead")
    more = counter(6, 60, "internal.metrics.shuffle.read.remoteBytesRead")
    path = write(tmp_path / "app", started(0, 0), heartbeat((0, named, more)))
    (event,) = [e for e in task_events(path) if e["type"] == "task_progress"]
    assert event["features"]["shuffle_bytes_read"] == 700.0


def test_a_start_that_spark_dropped_comes_from_the_end(tmp_path):
    path = write(tmp_path / "app", started(0, 0), ended(1, 500, 900), heartbeat((7,)))
    events = list(task_events(path))
    assert [(e["type"], e["task"], round(e["time"], 3)) for e in events] == [
        ("task_start", 0, 0.0),
        ("task_start", 1, 0.5),
        ("task_end", 1, 0.9),
    ]
    assert all("launch" not in e for e in events)


def test_failed_and_killed_ends_say_so(tmp_path):
    path = write(
        tmp_path / "app",
        ended(0, 0, 10, reason="ExceptionFailure", Failed=True, metrics={}),
        ended(1, 0, 10, reason="TaskKilled", Killed=True),
    )
    ends = {e["task"]: e for e in task_events(path) if e["type"] == "task_end"}
    assert [ends[i]["status"] for i in (0, 1)] == ["failed", "killed"]
    assert ends[0]["features"] == {}


# -- files ----------------------------------------------------------------------------------


def test_compression_is_told_from_the_content(log4, tmp_path):
    plain = log4.read_bytes()
    (tmp_path / "a").write_bytes(gzip.compress(plain))
    with pa.CompressedOutputStream(str(tmp_path / "b"), "zstd") as stream:
        stream.write(plain)
    expected = list(read_event_log(log4))
    assert list(read_event_log(tmp_path / "a")) == expected
    assert list(read_event_log(tmp_path / "b")) == expected


@pytest.mark.parametrize(
    ("head", "codec"),
    [(b"LZ4Block\x00", "lz4"), (b"\x82SNAPPY\x00", "snappy"), (b"\x7fELF", "unknown")],
)
def test_other_compression_says_what_to_do(tmp_path, head, codec):
    path = tmp_path / "app"
    path.write_bytes(head + bytes(50))
    with pytest.raises(EventLogError, match=rf"app: {codec} compression.*codec=zstd"):
        list(read_event_log(path))


def rolling(folder, *parts):
    folder.mkdir()
    (folder / "appstatus_local-1").touch()
    (folder / ".events_1_local-1.crc").write_bytes(b"x")
    for name, events in parts:
        (folder / name).write_text("".join(json.dumps(e) + "\n" for e in events))
    return folder


def test_rolling_directory_is_read_in_the_order_of_its_numbers(tmp_path):
    folder = rolling(
        tmp_path / "eventlog_v2_local-1",
        ("events_10_local-1", [ended(2, 0, 30)]),
        ("events_2_local-1", [ended(1, 0, 20)]),
        ("events_1_local-1", [START4, ended(0, 0, 10)]),
    )
    tasks = [e["Task Info"]["Task ID"] for e in read_event_log(folder) if "Task Info" in e]
    assert tasks == [0, 1, 2]


def test_compacted_part_replaces_what_came_before(tmp_path):
    folder = rolling(
        tmp_path / "eventlog_v2_local-1",
        ("events_1_local-1", [START4, ended(0, 0, 10)]),
        ("events_2_local-1", [ended(1, 0, 20)]),
        ("events_2_local-1.compact", [START4, ended(1, 0, 20)]),
        ("events_3_local-1", [ended(2, 0, 30)]),
    )
    assert task_table(folder)["task_id"].tolist() == [1, 2]


def test_last_line_of_a_growing_log_may_be_cut(log4, caplog):
    whole = log4.read_bytes()
    log4.write_bytes(whole[:-30])
    with caplog.at_level(logging.WARNING):
        assert len(list(read_event_log(log4))) == whole.count(b"\n") - 1
    assert "app:8: the last line is cut off" in caplog.text


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_compressed_log_may_be_cut_too(tmp_path, codec, caplog):
    lines = [json.dumps(e) for e in (START4, *(ended(i, 0, 10 + i) for i in range(300)))]
    path = tmp_path / "app"
    with pa.CompressedOutputStream(str(path), codec) as stream:
        stream.write("\n".join(lines).encode())
    path.write_bytes(path.read_bytes()[:-300])
    with caplog.at_level(logging.WARNING):
        events = list(read_event_log(path))
    assert 1 < len(events) < 301
    assert "cut off" in caplog.text


def test_cut_line_before_the_last_part_is_an_error(tmp_path):
    folder = rolling(
        tmp_path / "eventlog_v2_local-1",
        ("events_1_local-1", [START4]),
        ("events_2_local-1", [ended(1, 0, 20)]),
    )
    with (folder / "events_1_local-1").open("a") as stream:
        stream.write('{"Event": "Spark')
    with pytest.raises(EventLogError, match="events_1_local-1:2: not a JSON event"):
        list(read_event_log(folder))


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"Event": ', "not a JSON event"),
        ("[" * 100_000, "not a JSON event"),
        ("[1, 2]", "expected an object with key 'Event'"),
        ('{"Event": 3}', "expected an object with key 'Event'"),
        ("\xff\xfe", "not a JSON event"),
    ],
)
def test_malformed_line_names_file_and_line(log4, line, what):
    lines = log4.read_bytes().splitlines()
    lines.insert(4, line.encode("latin-1"))
    log4.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(EventLogError, match=f"app:5: .*{what}"):
        list(read_event_log(log4))


def test_line_length_is_bounded(log4):
    with log4.open("a") as stream:
        stream.write('{"Event": "' + "x" * 5000 + '"}\n')
    assert len(list(read_event_log(log4))) == 9
    with pytest.raises(EventLogError, match="app:9: the line is longer than 4000 bytes"):
        list(read_event_log(log4, max_line_bytes=4000))


def test_line_length_is_bounded_before_it_is_unpacked(tmp_path):
    bomb = b'{"Event": "' + bytes(50_000_000)
    path = tmp_path / "app"
    path.write_bytes(gzip.compress(json.dumps(START4).encode() + b"\n" + bomb))
    with pytest.raises(EventLogError, match="app:2: the line is longer"):
        list(read_event_log(path, max_line_bytes=10_000))


@pytest.mark.parametrize(
    ("head", "what"),
    [
        ({"Event": "SparkListenerLogStart", "Spark Version": "2.4.8"}, r"'2\.4\.8'.*3\.x and 4\.x"),
        ({"Event": "SparkListenerLogStart", "Spark Version": "5.0.0"}, r"'5\.0\.0'.*3\.x and 4\.x"),
        ({"Event": "SparkListenerLogStart"}, "begins with SparkListenerLogStart"),
        ({"Event": "SparkListenerJobStart"}, "SparkListenerJobStart.*3.x and 4.x"),
    ],
)
def test_version_is_checked(tmp_path, head, what):
    with pytest.raises(EventLogError, match=f"app:1: .*{what}"):
        task_table(write(tmp_path / "app", head=head))


def test_vendor_versions_pass(tmp_path):
    head = {**START4, "Spark Version": "3.3.1.7.2-amzn"}
    assert task_table(write(tmp_path / "app", head=head)).empty


def test_missing_empty_and_wrong_places(tmp_path):
    with pytest.raises(EventLogError, match="no such file"):
        list(read_event_log(tmp_path / "none"))
    with pytest.raises(EventLogError, match="no file events_<n>"):
        list(read_event_log(tmp_path))
    (tmp_path / "app").touch()
    with pytest.raises(EventLogError, match="the log is empty"):
        list(read_event_log(tmp_path / "app"))


@pytest.mark.parametrize("function", [task_table, lambda path: list(task_events(path))])
@pytest.mark.parametrize(
    ("events", "what"),
    [
        ([started(1, 0), started(1, 5)], "app:3: job stage-3.0, task 1: a second"),
        ([ended(1, 0, 5), ended(1, 0, 6)], "app:3: job stage-3.0, task 1: a second"),
        ([ended(1, 10, 5)], "app:2: stage-3.0, task 1: finish time .* is before"),
        ([ended(1, 0, 5, **{"Launch Time": -3})], "app:2: 'Launch Time' is -3"),
        ([ended(1, 0, 5, **{"Launch Time": float("nan")})], "app:2: 'Launch Time' is nan"),
        ([ended(1, 0, 5, **{"Launch Time": 10**400})], "app:2: 'Launch Time' is 1000"),
        ([ended(1, 0, 5, **{"Task ID": None})], "app:2: 'Task ID' is None"),
        ([ended(1, 0, 5, metrics={"Executor Run Time": "x"})], "app:2: 'Executor Run Time' is 'x'"),
        ([{"Event": "SparkListenerTaskEnd"}], "app:2: SparkListenerTaskEnd has no 'Task Info'"),
    ],
)
def test_wrong_tasks_name_job_task_and_line(tmp_path, function, events, what):
    with pytest.raises(EventLogError, match=what):
        function(write(tmp_path / "app", *events))


def test_errors_are_value_errors():
    assert issubclass(EventLogError, ValueError)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
TEMPLATES = [
    started(0, 0),
    ended(0, 0, 10, Accumulables=[PEAK3]),
    heartbeat((0, counter(7, "40"))),
    {"Event": "SparkListenerStageCompleted", "Stage Info": {"Accumulables": [PEAK3]}},
]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_foreign_values_never_raise_anything_else(data):
    event = copy.deepcopy(data.draw(st.sampled_from(TEMPLATES)))
    place = event
    while True:
        key = data.draw(st.sampled_from(sorted(place.keys() - {"Event"})))
        inner = place[key][0] if isinstance(place[key], list) and place[key] else place[key]
        if not isinstance(inner, dict) or not inner or data.draw(st.booleans()):
            break
        place = inner
    place[key] = data.draw(JUNK)
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "app", event)
        for function in (task_table, lambda p: list(task_events(p))):
            try:
                function(path)
            except EventLogError as error:
                assert "app:2" in str(error)


# -- the recorded log -----------------------------------------------------------------------


def test_recorded_log_and_usage_records_agree():
    table = task_table(RECORDED / "event-log.json.gz")
    usage = spark_log.usage_records(RECORDED / "usage.csv.gz")
    usage = usage[usage["job"] == "groupby-zipf"]
    length = usage["end"] - usage["start"]
    latency = length.groupby(usage["task"]).sum().to_numpy()
    assert len(table) == len(latency) >= 100
    np.testing.assert_allclose(latency, table["duration"], atol=2e-3)
    # Two meters: CPU time read from the thread while it ran, and Spark's own total at the end.
    cpu = (usage["cpu_cores"] * length).groupby(usage["task"]).sum().to_numpy()
    total = table["cpu_time"].to_numpy()
    assert cpu.sum() == pytest.approx(total.sum(), rel=0.1)
    assert np.corrcoef(cpu, total)[0, 1] > 0.98
    last = usage.groupby("task").last()
    np.testing.assert_allclose(
        last["shuffle_read_krecords"], table["shuffle_records_read"] / 1e3, atol=1e-3
    )


def test_recorded_log_replays_as_a_stream():
    events = list(task_events(RECORDED / "event-log.json.gz"))
    times = [e["time"] for e in events]
    assert times == sorted(times)
    assert times[0] == 0.0
    kinds = [e["type"] for e in events]
    assert kinds.count("task_start") == kinds.count("task_end") >= 100
    assert kinds.count("task_progress") > 200
    for _, mine in itertools.groupby(sorted(events, key=lambda e: e["task"]), lambda e: e["task"]):
        mine = list(mine)
        assert (mine[0]["type"], mine[-1]["type"]) == ("task_start", "task_end")
        read = [e["features"]["shuffle_records_read"] for e in mine[1:]]
        assert read == sorted(read)  # a counter


# -- Spark itself ---------------------------------------------------------------------------


def end_jvm():
    """Stopping a session leaves its JVM to this process, where other tests measure memory."""
    from pyspark import SparkContext

    gateway, SparkContext._gateway, SparkContext._jvm = SparkContext._gateway, None, None
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait(timeout=60)


@pytest.mark.spark
@pytest.mark.slow
def test_spark_itself(tmp_path, monkeypatch):
    """A tiny stage: its live events, its event log and what was asked of it agree."""
    # Spark's own code runs once here: the second compiler would only cost.
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
    from projects.nurd.spark_live import SparkTaskFeed
    from projects.nurd.spark_stages import session

    spark = session(2, tmp_path, "1s")
    try:
        with SparkTaskFeed(spark.sparkContext, threads=True) as feed:
            frame = spark.range(0, 60_000, 1, 6).selectExpr("sha2(cast(id as string), 256) as h")
            frame.write.format("noop").mode("overwrite").save()
        live = feed.poll()
        with SparkTaskFeed(spark.sparkContext):  # a second one: the first is really gone
            spark.range(0, 10, 1, 1).write.format("noop").mode("overwrite").save()
        assert feed.poll() == []
    finally:
        spark.stop()
        end_jvm()
    (log,) = (tmp_path / "events").iterdir()
    table = task_table(log)
    first = table[table["stage_id"] == table["stage_id"].min()]
    assert first["records_read"].tolist() == [10_000.0] * 6
    assert not first["failed"].any()
    assert (first["cpu_time"] > 0).all()
    replayed = [e for e in task_events(log) if e["job"] == "stage-0.0"]
    ends = [
        {e["task"]: e["features"] for e in events if e["type"] == "task_end"}
        for events in (live, replayed)
    ]
    assert ends[0] == ends[1]
    assert {e["type"] for e in live} >= {"task_start", "task_end"}
    assert {task for s in feed.samples for task in s["tasks"]} <= set(first["task_id"])
