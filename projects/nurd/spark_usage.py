"""Usage records of the tasks of a live Spark stage: what each one used, heartbeat by heartbeat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from projects.nurd.spark_events import LIVE_METRICS

if TYPE_CHECKING:
    import pandas as pd

MIN_RECORD_S = 0.1
#: Columns of a usage record after job, task, start, end, with their unit and meaning.
FEATURES = {
    "cpu_cores": "cores; CPU time of the task's thread over the record's length",
    "alloc_mb_s": "MB/s; heap that the task's thread allocated",
    "gc_share": "share of the record in which the JVM collected garbage",
    "krecords_s": "thousand records/s read from files and shuffles",
    "read_mb": "MB read from files since the task's start",
    "read_krecords": "thousand records read from files since the task's start",
    "shuffle_read_mb": "MB fetched from shuffles since the task's start",
    "shuffle_read_krecords": "thousand records read from shuffles since the task's start",
    "shuffle_write_mb": "MB written to shuffles since the task's start",
    "shuffle_write_krecords": "thousand records written to shuffles since the task's start",
    "spill_mb": "MB spilled from memory and to disk since the task's start",
}


def usage_table(
    events: list[dict[str, Any]], samples: list[dict[str, Any]], stage: str, job: str
) -> pd.DataFrame:
    """Usage records of one stage: ``job, task, start, end`` and :data:`FEATURES`.

    Parameters
    ----------
    events, samples : list of dict
        What a :class:`~projects.nurd.spark_live.SparkTaskFeed` with ``threads=True`` gave.
    stage : str
        Which stage: ``"stage-3.0"``.
    job : str
        The name that the records get.

    Returns
    -------
    DataFrame
        One row per successful task and heartbeat, and one from the last heartbeat to the
        finish. Times in seconds since the stage's first launch.
    """
    import pandas as pd

    mine = [e for e in events if e["job"] == stage]
    launch = {e["task"]: e["time"] for e in mine if e["type"] == "task_start"}
    ends = [e for e in mine if e["type"] == "task_end" and e["status"] == "success"]
    series = _thread_series(samples)
    origin = min(launch.values())
    rows: list[dict[str, Any]] = []
    for number, end in enumerate(sorted(ends, key=lambda e: e["task"])):
        marks = _marks(mine, launch[end["task"]], end)
        use = series.get(end["task"])
        begin = {"time": launch[end["task"]], "features": dict.fromkeys(LIVE_METRICS, 0.0)}
        for before, after in zip([begin, *marks], [*marks, end], strict=True):
            span = {"start": before["time"] - origin, "end": after["time"] - origin}
            rows.append({"job": job, "task": number, **span, **_features(before, after, use)})
    table = pd.DataFrame(rows)
    return table.round(dict.fromkeys(("start", "end"), 3) | dict.fromkeys(FEATURES, 4))


def _marks(
    events: list[dict[str, Any]], launch: float, end: dict[str, Any]
) -> list[dict[str, Any]]:
    """Heartbeats of a task, without those that came too close to another boundary."""
    marks, last = [], launch
    for event in events:
        if event["type"] != "task_progress" or event["task"] != end["task"]:
            continue
        if last + MIN_RECORD_S <= event["time"] <= end["time"] - MIN_RECORD_S:
            marks.append(event)
            last = event["time"]
    return marks


def _thread_series(samples: list[dict[str, Any]]) -> dict[int, tuple[Any, Any, Any]]:
    """Times, CPU seconds and MB allocated of the thread that ran each task."""
    import numpy as np

    owner = {task: thread for sample in samples for task, thread in sample["tasks"].items()}
    series = {}
    for task, thread in owner.items():
        present = [thread in sample["threads"] for sample in samples]
        first, end = present.index(True), len(present) - present[::-1].index(True)
        # A thread that is not there yet has used nothing.
        use = [sample["threads"].get(thread, (0.0, 0.0)) for sample in samples[:end]]
        points = [(s["time"], *u) for s, u in zip(samples[:end], use, strict=True)]
        series[task] = tuple(np.array(points[max(0, first - 1) :]).T)
    return series


def _features(
    before: dict[str, Any], after: dict[str, Any], use: tuple[Any, Any, Any] | None
) -> dict[str, float]:
    import numpy as np

    length = after["time"] - before["time"]
    then, now = before["features"], after["features"]
    cpu, allocated = 0.0, 0.0
    if use is not None and length > 0:
        times = [before["time"], after["time"]]
        cpu, allocated = (float(np.diff(np.interp(times, use[0], u))[0]) for u in use[1:])
    read = [f["records_read"] + f["shuffle_records_read"] for f in (then, now)]
    rate = 1.0 / length if length > 0 else 0.0
    return {
        "cpu_cores": cpu * rate,
        "alloc_mb_s": allocated * rate,
        "gc_share": min(1.0, max(0.0, now["gc_time"] - then["gc_time"]) * rate),
        "krecords_s": max(0.0, read[1] - read[0]) * 1e-3 * rate,
        "read_mb": now["bytes_read"] * 1e-6,
        "read_krecords": now["records_read"] * 1e-3,
        "shuffle_read_mb": now["shuffle_bytes_read"] * 1e-6,
        "shuffle_read_krecords": now["shuffle_records_read"] * 1e-3,
        "shuffle_write_mb": now["shuffle_bytes_written"] * 1e-6,
        "shuffle_write_krecords": now["shuffle_records_written"] * 1e-3,
        "spill_mb": (now["memory_spilled"] + now["disk_spilled"]) * 1e-6,
    }
