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
from projects.nurd.spark_events import event_time, job_name, learn_names, stream_events, task_row
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
SUPPORTED = ("3", "4")
_CODECS = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"LZ4Block": "lz4",
    b"\x82SNAPPY": "snappy",
    b"ZV": "lzf",
}
_PART = re.compile(r"events_(\d+)_.*?(\.compact)?")
_TASK_KINDS = ("SparkListenerTaskStart", "SparkListenerTaskEnd")


class EventLogError(DataError, ValueError):
    """An event log cannot be read; the message names the file and, where it can, the line."""


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
        ``failed``, ``killed``, ``reason``, then the names of
        :data:`~projects.nurd.spark_events.METRICS`: times in seconds, sizes in bytes, NaN where
        the log has none. A task that has not ended has ``finish`` NaN.

    Raises
    ------
    EventLogError
        As :func:`read_event_log`, and for a task that stands twice or ends before its start.
    """
    import pandas as pd

    rows: dict[str, dict[int, dict[str, Any]]] = {kind: {} for kind in _TASK_KINDS}
    for where, event in _located(Path(path)):
        if event["Event"] not in _TASK_KINDS:
            continue
        with _located_errors(where):
            row, known = task_row(event), rows[event["Event"]]
            _refuse_second(row["task_id"] in known, job_name(row), row["task_id"], event["Event"])
            known[row["task_id"]] = row
    started, ended = (rows[kind] for kind in _TASK_KINDS)
    table = pd.DataFrame(list({**started, **ended}.values()))
    return table if table.empty else table.sort_values("task_id", ignore_index=True)


def task_events(path: str | Path) -> Iterator[dict[str, Any]]:
    """Replay an event log as the stream of task events that a monitor takes.

    Yields
    ------
    dict
        ``type`` (``task_start``, ``task_progress``, ``task_end``), ``time`` [s since the first
        launch in the log], ``job`` (``"stage-3.0"``: stage 3, attempt 0), ``task`` (Spark's task
        id), ``features`` (empty at the start); ``task_end`` has a ``status`` too: ``success``,
        ``failed`` or ``killed``. In time order.

    Notes
    -----
    Features are the metrics that a heartbeat can carry, cumulative since the task's start; the
    totals that exist only at the end (run time, CPU time) are left out. A log holds heartbeats
    only in local mode with ``spark.eventLog.logStageExecutorMetrics``, and without a time: they
    are spaced evenly between the events around them. For a live application there is
    :class:`projects.nurd.spark_live.SparkTaskFeed`.
    """
    events = _stream(Path(path))
    started = {e["task"] for e in events if e["type"] == "task_start"}
    finish = {e["task"]: e["time"] for e in events if e["type"] == "task_end"}
    # Spark drops events when its queue is full: a task without a start gets one from its end.
    for end in [e for e in events if e["type"] == "task_end" and e["task"] not in started]:
        started.add(end["task"])
        start = {"type": "task_start", "time": end["launch"], "job": end["job"]}
        events.append({**start, "task": end["task"], "features": {}})
    events = [e for e in events if e["task"] in started]
    origin = min((e["time"] for e in events), default=0.0)
    order = {"task_start": 0, "task_progress": 1, "task_end": 2}
    for event in events:
        event.pop("launch", None)
        time = min(event["time"], finish.get(event["task"], event["time"]))
        event["time"] = round(time - origin, 6)  # the clock of the log is good to 1 ms
    yield from sorted(events, key=lambda e: (e["time"], order[e["type"]]))


def _stream(path: Path) -> list[dict[str, Any]]:
    """Stream events of a log with times since the epoch."""
    names: dict[int, str] = {}
    events: list[dict[str, Any]] = []
    heartbeats: list[tuple[str, dict[str, Any], float]] = []
    waiting: list[tuple[str, dict[str, Any]]] = []
    seen: set[tuple[str, int]] = set()
    clock = 0.0
    for where, event in _located(path):
        with _located_errors(where):
            learn_names(event, names)
            if event["Event"] == "SparkListenerExecutorMetricsUpdate":
                if event.get("Metrics Updated"):
                    waiting.append((where, event))
                continue
            now = event_time(event)
            if now > clock:
                heartbeats += _spread(waiting, clock, now)
                waiting, clock = [], now
            for one in stream_events(event, now=clock, names=names):
                key = (one["type"], one["task"])
                _refuse_second(key in seen, one["job"], one["task"], one["type"])
                seen.add(key)
                events.append(one)
    heartbeats += _spread(waiting, clock, clock)
    for where, event, now in heartbeats:  # read last: only the end of a task names its counters
        with _located_errors(where):
            events += stream_events(event, now=now, names=names)
    return events


def _spread(
    waiting: list[tuple[str, dict[str, Any]]], before: float, after: float
) -> list[tuple[str, dict[str, Any], float]]:
    """Heartbeats bear no time but come regularly: space them between the times around them."""
    step = (after - before) / (len(waiting) + 1)
    return [(*heartbeat, before + step * i) for i, heartbeat in enumerate(waiting, start=1)]


def _refuse_second(seen: bool, job: str, task: int, what: str) -> None:
    if seen:
        raise ValueError(f"job {job}, task {task}: a second {what} for the same task id")


@contextlib.contextmanager
def _located_errors(where: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise EventLogError(f"{where}: {error}") from error


# -- files and lines ----------------------------------------------------------------------


def _located(path: Path, limit: int = MAX_LINE_BYTES) -> Iterator[tuple[str, dict[str, Any]]]:
    """Events with ``file:line``, after the check of the log's version."""
    parts = _parts(path)
    first = True
    for part in parts:
        for where, line, last in _lines(part, limit, may_be_cut=part == parts[-1]):
            event = _parse(where, line, tolerate=last)
            if event is None:
                break
            if first:
                _check_version(where, event)
                first = False
            yield where, event
    if first:
        raise EventLogError(f"{path}: the log is empty; nothing has been written to it yet")


def _parts(path: Path) -> list[Path]:
    """Files of a log in order: one file, or what a rolling directory holds."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise EventLogError(f"{path}: no such file or directory")
    found = [(_PART.fullmatch(p.name), p) for p in path.iterdir()]
    parts = sorted((int(m[1]), m[2] is not None, p) for m, p in found if m)
    if not parts:
        raise EventLogError(
            f"{path}: no file events_<n>_<application> in this directory; "
            "pass a log file, or the directory eventlog_v2_<application> of a rolling log"
        )
    # A compacted file stands for itself and all parts before it.
    compact = max((i for i, part in enumerate(parts) if part[1]), default=0)
    return [part[2] for part in parts[compact:]]


def _lines(path: Path, limit: int, may_be_cut: bool) -> Iterator[tuple[str, bytes, bool]]:
    """Lines with ``file:line`` and whether this one may be cut off by the end of the log."""
    number = 0
    with path.open("rb") as raw, _decompressed(raw, path) as stream:
        while True:
            number += 1
            where = f"{path.name}:{number}"
            try:
                line = stream.readline(limit + 1)
            except (OSError, EOFError, zlib.error) as error:
                cut = isinstance(error, EOFError) or "Truncated" in str(error)
                if cut and may_be_cut and number > 1:
                    log.warning("%s: the compressed log is cut off here; left out the rest", where)
                    return
                raise EventLogError(f"{where}: cannot decompress: {error}") from error
            if not line:
                return
            if len(line) > limit:
                raise EventLogError(f"{where}: the line is longer than {limit} bytes")
            yield where, line, may_be_cut and not line.endswith(b"\n")


@contextlib.contextmanager
def _decompressed(raw: IO[bytes], path: Path) -> Iterator[IO[bytes]]:
    head = raw.read(8)
    raw.seek(0)
    codec = next((name for magic, name in _CODECS.items() if head.startswith(magic)), "")
    if codec == "gzip":
        with gzip.GzipFile(fileobj=raw) as stream:
            yield stream
    elif codec == "zstd":
        import pyarrow as pa

        with pa.CompressedInputStream(raw, "zstd") as stream:
            yield io.BufferedReader(stream)
    elif codec or (head and not head.lstrip().startswith(b"{")):
        raise EventLogError(
            f"{path.name}: {codec or 'unknown'} compression cannot be read here; allowed are plain "
            "text, gzip and zstd (write the log with spark.eventLog.compression.codec=zstd)"
        )
    else:
        yield raw


def _parse(where: str, line: bytes, tolerate: bool) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError) as error:
        if tolerate:
            log.warning("%s: the last line is cut off; left out", where)
            return None
        raise EventLogError(f"{where}: not a JSON event: {error}") from error
    if not isinstance(event, dict) or not isinstance(event.get("Event"), str):
        raise EventLogError(f"{where}: not a Spark event: expected an object with key 'Event'")
    return event


def _check_version(where: str, event: dict[str, Any]) -> None:
    version = event.get("Spark Version")
    if event["Event"] != "SparkListenerLogStart" or not isinstance(version, str):
        raise EventLogError(
            f"{where}: a Spark event log begins with SparkListenerLogStart and its Spark Version; "
            f"this one begins with {event['Event'][:80]!r} (supported: Spark 3.x and 4.x)"
        )
    if version.split(".")[0] not in SUPPORTED:
        raise EventLogError(
            f"{where}: written by Spark {version[:40]!r}; supported are Spark 3.x and 4.x"
        )
