"""Spark event logs, as tables of tasks and as streams of task events.

Reads what Spark 3 and 4 write: a single file or a rolling directory, plain or compressed with
gzip or zstd. The files may be foreign: only JSON is parsed, the length of a line is bounded,
and every error names the file and the line.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import logging
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from common.errors import DataError
from projects.nurd.spark_events import LEARNED_NAMES, SparkEventError, event_time, to_stream
from projects.nurd.spark_events import task_row as _task_row
from projects.nurd.usage_csv import csv_events, usage_records

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "EventLogError",
    "csv_events",
    "read_event_log",
    "task_events",
    "task_table",
    "usage_records",
]

log = logging.getLogger(__name__)
MAX_LINE_BYTES = 64 * 2**20
SUPPORTED = (3, 4)
_CODECS = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"LZ4Block": "lz4",
    b"\x82SNAPPY\x00": "snappy",
    b"ZV": "lzf",
}
_TRUNCATED = (EOFError, OSError)


class EventLogError(DataError, ValueError):
    """An event log cannot be read; the message names the file and the line."""


def read_event_log(
    path: str | Path, *, max_line_bytes: int = MAX_LINE_BYTES
) -> Iterator[dict[str, Any]]:
    """Yield the events of a Spark event log, in the order of the log.

    Parameters
    ----------
    path : str or Path
        A log file, or the directory of a rolling log (``eventlog_v2_...``). Compression is told
        from the content, not from the name.
    max_line_bytes : int
        A longer line is refused.

    Yields
    ------
    dict
        One event with its key ``"Event"``, whatever its type.

    Raises
    ------
    EventLogError
        For a malformed or overlong line, a log that does not begin with
        ``SparkListenerLogStart``, a Spark version other than 3.x and 4.x, or a compression that
        cannot be read here. The last line of a log that is still being written may be cut off:
        it is left out with a warning.
    """
    for _, event in _located(Path(path), max_line_bytes):
        yield event


def task_table(path: str | Path) -> pd.DataFrame:
    """One row per task attempt of an event log.

    Returns
    -------
    DataFrame
        ``stage_id``, ``stage_attempt``, ``task_id``, ``index``, ``attempt``, ``executor``,
        ``launch`` and ``finish`` [s since the epoch], ``duration`` [s], ``speculative``,
        ``failed``, ``killed``, ``reason``, then the task's metrics: times in seconds, sizes in
        bytes, NaN where the log has none. A task that has not ended has ``finish`` NaN.
    """
    import pandas as pd

    running: dict[int, dict[str, Any]] = {}
    ended: dict[int, dict[str, Any]] = {}
    for where, event in _located(Path(path), MAX_LINE_BYTES):
        kind = event.get("Event")
        if kind not in ("SparkListenerTaskStart", "SparkListenerTaskEnd"):
            continue
        with _naming(where):
            row = _task_row(event)
        rows = running if kind == "SparkListenerTaskStart" else ended
        _refuse_duplicate(row["task_id"] in rows, row["stage_id"], row["task_id"], kind, where)
        rows[row["task_id"]] = row
    table = pd.DataFrame(list({**running, **ended}.values()))
    return table if table.empty else table.sort_values("task_id", ignore_index=True)


def task_events(path: str | Path) -> Iterator[dict[str, Any]]:
    """Replay an event log as the stream of task events that a monitor takes.

    Yields
    ------
    dict
        ``type`` (``task_start``, ``task_progress``, ``task_end``), ``time`` [s since the first
        task's launch], ``job`` (``"stage-3.0"``: stage 3, attempt 0), ``task`` (Spark's task
        id), ``features`` (empty at the start); ``task_end`` has a ``status`` too: ``success``,
        ``failed`` or ``killed``. In time order.

    Notes
    -----
    Features are the metrics that a heartbeat can carry, cumulative since the task's start; the
    totals that exist only at the end (run time, CPU time) are left out. A log holds heartbeats
    only for local mode with ``spark.eventLog.logStageExecutorMetrics``; they bear no time, so
    they get that of the latest event before them. For a live application there is
    :class:`projects.nurd.spark_live.SparkTaskFeed`.
    """
    events = _stream(Path(path))
    started = {e["task"] for e in events if e["type"] == "task_start"}
    finish = {e["task"]: e["time"] for e in events if e["type"] == "task_end"}
    # Spark drops events when its queue is full: a task without a start gets one from its end.
    ends = [e for e in events if e["type"] == "task_end" and e["task"] not in started]
    events += [
        {**e, "type": "task_start", "time": e["launch"], "features": {}, "status": None}
        for e in ends
    ]
    started.update(e["task"] for e in ends)
    events = [e for e in events if e["task"] in started]
    origin = min((e["time"] for e in events), default=0.0)
    for event in events:
        event["time"] = min(event["time"], finish.get(event["task"], event["time"])) - origin
    order = {"task_start": 0, "task_progress": 1, "task_end": 2}
    for event in sorted(events, key=lambda e: (e["time"], order[e["type"]])):
        event.pop("launch", None)
        if event["type"] != "task_end":
            event.pop("status", None)
        yield event


def _stream(path: Path) -> list[dict[str, Any]]:
    """Stream events of a log with times since the epoch, heartbeats at the latest time known."""
    names: dict[int, str] = {}
    parsed: list[tuple[str, dict[str, Any], float]] = []
    seen: set[tuple[str, int]] = set()
    clock = 0.0
    for where, event in _located(path, MAX_LINE_BYTES):
        with _naming(where):
            clock = max(clock, event_time(event))
            LEARNED_NAMES(event, names)
        parsed.append((where, event, clock))
    events = []
    for where, event, now in parsed:
        with _naming(where):
            for one in to_stream(event, now=now, names=names):
                key = (one["type"], one["task"])
                _refuse_duplicate(key in seen, one["job"], one["task"], one["type"], where)
                if one["type"] != "task_progress":
                    seen.add(key)
                events.append(one)
    return events
