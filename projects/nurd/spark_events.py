"""Spark's own JSON events, turned into rows of a task table and into stream events.

The same shapes come out of an event log and out of a live listener, from Spark 3 and Spark 4.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

PREFIX = "internal.metrics."
_DIGITS = re.compile(r"-?[0-9]{1,19}")
LARGEST = 2.0**63  # Spark's counters are signed 64-bit


@dataclass(frozen=True)
class Metric:
    """Where one metric of a task stands.

    Attributes
    ----------
    paths : tuple of tuple of str
        Keys below ``Task Metrics``; several are added up.
    counters : tuple of str
        The accumulators that a heartbeat carries instead, without their prefix.
    scale : float
        To seconds or bytes.
    live : bool
        Whether a running task reports it; the other ones are known at the end alone.
    """

    paths: tuple[tuple[str, ...], ...]
    counters: tuple[str, ...]
    scale: float = 1.0
    live: bool = True


_READ, _WRITE = "Shuffle Read Metrics", "Shuffle Write Metrics"
METRICS = {
    "run_time": Metric((("Executor Run Time",),), ("executorRunTime",), 1e-3, False),
    "cpu_time": Metric((("Executor CPU Time",),), ("executorCpuTime",), 1e-9, False),
    "deserialize_time": Metric(
        (("Executor Deserialize Time",),), ("executorDeserializeTime",), 1e-3, False
    ),
    "result_size": Metric((("Result Size",),), ("resultSize",), 1.0, False),
    "gc_time": Metric((("JVM GC Time",),), ("jvmGCTime",), 1e-3),
    # Most operators report their peak when they close, so it would tell finished from running.
    "peak_memory": Metric((("Peak Execution Memory",),), ("peakExecutionMemory",), 1.0, False),
    "memory_spilled": Metric((("Memory Bytes Spilled",),), ("memoryBytesSpilled",)),
    "disk_spilled": Metric((("Disk Bytes Spilled",),), ("diskBytesSpilled",)),
    "bytes_read": Metric((("Input Metrics", "Bytes Read"),), ("input.bytesRead",)),
    "records_read": Metric((("Input Metrics", "Records Read"),), ("input.recordsRead",)),
    "bytes_written": Metric((("Output Metrics", "Bytes Written"),), ("output.bytesWritten",)),
    "records_written": Metric((("Output Metrics", "Records Written"),), ("output.recordsWritten",)),
    "shuffle_bytes_read": Metric(
        ((_READ, "Remote Bytes Read"), (_READ, "Local Bytes Read")),
        ("shuffle.read.remoteBytesRead", "shuffle.read.localBytesRead"),
    ),
    "shuffle_records_read": Metric(((_READ, "Total Records Read"),), ("shuffle.read.recordsRead",)),
    "shuffle_fetch_wait": Metric(
        ((_READ, "Fetch Wait Time"),), ("shuffle.read.fetchWaitTime",), 1e-3
    ),
    "shuffle_bytes_written": Metric(
        ((_WRITE, "Shuffle Bytes Written"),), ("shuffle.write.bytesWritten",)
    ),
    "shuffle_records_written": Metric(
        ((_WRITE, "Shuffle Records Written"),), ("shuffle.write.recordsWritten",)
    ),
    "shuffle_write_time": Metric(
        ((_WRITE, "Shuffle Write Time"),), ("shuffle.write.writeTime",), 1e-9
    ),
}
_OWNERS = {
    "SparkListenerTaskStart": "Task Info",
    "SparkListenerTaskEnd": "Task Info",
    "SparkListenerStageSubmitted": "Stage Info",
    "SparkListenerStageCompleted": "Stage Info",
}
LIVE_METRICS = tuple(name for name, metric in METRICS.items() if metric.live)
_COUNTERS = {counter for metric in METRICS.values() for counter in metric.counters}


def task_row(event: Mapping[str, Any]) -> dict[str, Any]:
    """Row of the task table from a ``SparkListenerTaskStart`` or ``SparkListenerTaskEnd``.

    Returns
    -------
    dict
        Identity, times [s since the epoch], outcome, and every name of :data:`METRICS`.

    Raises
    ------
    ValueError
        If a field is missing, not a number, or the task finishes before its launch.
    """
    info = _mapping(event, "Task Info")
    launch = _number(info, "Launch Time") * 1e-3
    ended = event.get("Event") == "SparkListenerTaskEnd"
    finish = _number(info, "Finish Time") * 1e-3 if ended else math.nan
    row = {
        "stage_id": int(_number(event, "Stage ID")),
        "stage_attempt": int(_number(event, "Stage Attempt ID")),
        "task_id": int(_number(info, "Task ID")),
        "index": int(_number(info, "Index")),
        "attempt": int(_number(info, "Attempt")),
        "executor": str(info.get("Executor ID", "")),
        "launch": launch,
        "finish": finish,
        "duration": finish - launch,
        "speculative": bool(info.get("Speculative", False)),
        **_outcome(event, info),
    }
    if finish < launch:
        raise ValueError(
            f"{job_name(row)}, task {row['task_id']}: finish time {finish} s is before "
            f"launch time {launch} s"
        )
    return {**row, **_task_metrics(event, info)}


def job_name(row: Mapping[str, Any]) -> str:
    """Name of a stage attempt as a job: ``stage-3.0``."""
    return f"stage-{row['stage_id']}.{row['stage_attempt']}"


def stream_events(
    event: Mapping[str, Any], *, now: float, names: Mapping[int, str]
) -> list[dict[str, Any]]:
    """Stream events that one Spark event stands for; none for an event of another kind.

    Parameters
    ----------
    event : mapping
        Spark's event.
    now : float
        Time [s since the epoch] for a heartbeat, which bears none.
    names : mapping
        Names of the accumulators by id, for heartbeats whose accumulators are unnamed: in
        local mode Spark leaves the name out.
    """
    kind = event.get("Event")
    if kind == "SparkListenerExecutorMetricsUpdate":
        return list(_heartbeat(event, now, names))
    if kind not in ("SparkListenerTaskStart", "SparkListenerTaskEnd"):
        return []
    row = task_row(event)
    base = {"job": job_name(row), "task": row["task_id"]}
    if kind == "SparkListenerTaskStart":
        return [{"type": "task_start", "time": row["launch"], **base, "features": {}}]
    status = "failed" if row["failed"] else "killed" if row["killed"] else "success"
    known = {name: row[name] for name in LIVE_METRICS if not math.isnan(row[name])}
    features = {name: known.get(name, 0.0) for name in LIVE_METRICS} if known else {}
    end = {"type": "task_end", "time": row["finish"], **base, "features": features}
    return [{**end, "status": status, "launch": row["launch"]}]


def learn_names(event: Mapping[str, Any], names: dict[int, str]) -> None:
    """Note the names of the accumulators that a finished task or stage lists."""
    owner = _owner(event)
    for entry in _list(owner, "Accumulables") if owner else ():
        if isinstance(entry.get("Name"), str) and isinstance(entry.get("ID"), int):
            names[entry["ID"]] = entry["Name"]


def event_time(event: Mapping[str, Any]) -> float:
    """Latest time [s since the epoch] that an event of a task or stage names, else 0."""
    owner = _owner(event) or {}
    keys = ("Submission Time", "Completion Time", "Launch Time", "Finish Time")
    return max((_number(owner, k) for k in keys if owner.get(k) is not None), default=0.0) * 1e-3


def _owner(event: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The task or the stage that an event is about, if it is about one."""
    key = _OWNERS.get(event.get("Event", ""))
    return _mapping(event, key) if key else None


def _heartbeat(
    event: Mapping[str, Any], now: float, names: Mapping[int, str]
) -> Iterator[dict[str, Any]]:
    for update in _list(event, "Metrics Updated"):
        stage, attempt = (int(_number(update, k)) for k in ("Stage ID", "Stage Attempt ID"))
        values = _counters(_list(update, "Accumulator Updates"), names)
        yield {
            "type": "task_progress",
            "time": now,
            "job": job_name({"stage_id": stage, "stage_attempt": attempt}),
            "task": int(_number(update, "Task ID")),
            # A counter that is still 0 is left out of the heartbeat.
            "features": {
                name: METRICS[name].scale * sum(values.get(c, 0.0) for c in METRICS[name].counters)
                for name in LIVE_METRICS
            },
        }


def _counters(entries: list[Any], names: Mapping[int, str]) -> dict[str, float]:
    values = {}
    for entry in entries:
        name = entry.get("Name") or names.get(entry.get("ID"), "")
        if isinstance(name, str) and name.startswith(PREFIX) and "Update" in entry:
            values[name.removeprefix(PREFIX)] = entry["Update"]
    return {name: _counter(values, name) for name in _COUNTERS & values.keys()}


def _outcome(event: Mapping[str, Any], info: Mapping[str, Any]) -> dict[str, Any]:
    end = event.get("Task End Reason")
    reason = str(end.get("Reason", "")) if isinstance(end, Mapping) else ""
    killed = bool(info.get("Killed", False)) or reason == "TaskKilled"
    failed = not killed and (bool(info.get("Failed", False)) or reason not in ("", "Success"))
    return {"failed": failed, "killed": killed, "reason": reason}


def _task_metrics(event: Mapping[str, Any], info: Mapping[str, Any]) -> dict[str, float]:
    tree = event.get("Task Metrics")
    tree = tree if isinstance(tree, Mapping) else {}
    fallback = _counters(_list(info, "Accumulables"), {}) if tree else {}
    row = {}
    for name, metric in METRICS.items():
        values = [_at(tree, path) for path in metric.paths]
        if all(math.isnan(v) for v in values):
            values = [fallback.get(c, math.nan) for c in metric.counters]
        known = [v for v in values if not math.isnan(v)]
        row[name] = metric.scale * sum(known) if known else math.nan
    return row


def _at(tree: Mapping[str, Any], path: tuple[str, ...]) -> float:
    for key in path[:-1]:
        tree = tree.get(key)
        if not isinstance(tree, Mapping):
            return math.nan
    return _counter(tree, path[-1]) if path[-1] in tree else math.nan


def _mapping(event: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = event.get(key)
    if not isinstance(value, Mapping):
        raise ValueError(f"{event.get('Event')} has no {key!r}")
    return value


def _list(owner: Mapping[str, Any], key: str) -> list[Any]:
    value = owner.get(key) or []
    if not isinstance(value, list) or not all(isinstance(v, Mapping) for v in value):
        raise ValueError(f"{key!r} is not a list of objects")
    return value


def _counter(owner: Mapping[str, Any], key: str) -> float:
    """A counter, at least 0: a heartbeat just after a task's start can say -40 ms of GC."""
    return max(0.0, _number(owner, key, -LARGEST))


def _number(owner: Mapping[str, Any], key: str, least: float = 0.0) -> float:
    """A number within bounds; the counters without a name come as strings of digits."""
    value = owner.get(key)
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{key!r} is {repr(value)[:80]}: expected a number")
    if not least <= value < LARGEST:
        raise ValueError(f"{key!r} is {value}: expected a number from {least:g} to 2^63")
    return float(value)
