"""Record real Spark stages with stragglers: usage records per task, and one event log.

``python -m projects.nurd.record_spark --out DIR`` runs PySpark in local mode on loopback.
"""

from __future__ import annotations

import datetime
import json
import logging
import platform
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from common.errors import ConfigError, DataError, RepriseError, did_you_mean, require
from common.hardware.machine import fingerprint
from projects.nurd.spark_live import SparkTaskFeed
from projects.nurd.spark_log import read_event_log
from projects.nurd.spark_stages import STAGES, BusyProcesses, session, skewed_group_by
from projects.nurd.spark_usage import FEATURES, usage_table
from projects.nurd.usage_csv import write_bytes, write_usage_records

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import SparkSession

log = logging.getLogger("projects.nurd.record_spark")
HEARTBEAT = "500ms"
LOG_STAGE = "groupby-zipf"
LOG_NAME = "event-log.json.gz"
USAGE_NAME = "usage.csv.gz"
_SPARK = "SparkListener"
# What a trimmed event log keeps of each kind of event: nothing that names a machine, a user or a
# path. Spark's environment, job properties, plans and call sites are left out altogether.
_KEPT = {
    "LogStart": ("Spark Version",),
    "ApplicationStart": ("App Name", "App ID", "Timestamp"),
    "StageSubmitted": ("Stage Info",),
    "TaskStart": ("Stage ID", "Stage Attempt ID", "Task Info"),
    "TaskEnd": (
        *("Stage ID", "Stage Attempt ID", "Task Type", "Task End Reason"),
        *("Task Info", "Task Executor Metrics", "Task Metrics"),
    ),
    "ExecutorMetricsUpdate": ("Executor ID", "Metrics Updated"),
    "StageCompleted": ("Stage Info",),
    "ApplicationEnd": ("Timestamp",),
}
_STAGE_INFO = ("Stage ID", "Stage Attempt ID", "Number of Tasks", "Parent IDs")
_STAGE_INFO += ("Submission Time", "Completion Time", "Accumulables")


def record(
    out: Annotated[Path, typer.Option(help="Folder to write; made if need be.")],
    stages: Annotated[
        str, typer.Option(help=f"Comma-separated; of: {', '.join(STAGES)}.")
    ] = ",".join(STAGES),
    seed: Annotated[int, typer.Option(help="Seed of keys, file sizes and work per row.")] = 7,
) -> None:
    """Record usage records of Spark stages, a trimmed event log and a README."""
    import pandas as pd

    names = [name.strip() for name in stages.split(",") if name.strip()]
    for name in names:
        if name not in STAGES:
            raise ConfigError(f"stage {name!r} is not known{did_you_mean(name, STAGES)}")
    require("pyspark", "spark")
    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    facts: dict[str, Any] = {
        "recipe": f"python -m projects.nurd.record_spark --out DIR --stages {','.join(names)} "
        f"--seed {seed}",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "heartbeat": HEARTBEAT,
        "machine": fingerprint(),
    }
    with tempfile.TemporaryDirectory(prefix="nurd-spark-") as scratch:
        recorded = list(_record_all(names, Path(scratch), out, seed, facts))
    facts["jobs"] = [job for job, _ in recorded]
    write_usage_records(pd.concat([table for _, table in recorded]), out / USAGE_NAME)
    facts["seconds"] = round(time.monotonic() - began)
    write_bytes(out / "recording.json", json.dumps(facts, indent=1).encode() + b"\n")
    write_bytes(out / "README.md", readme(facts).encode())


def trimmed_log(path: Path, stage: str) -> bytes:
    """The events of one stage as JSON lines, without anything that names a machine or a user.

    Parameters
    ----------
    path : Path
        An event log.
    stage : str
        Stage and attempt: ``"stage-3.0"``.

    Raises
    ------
    DataError
        If the host's name or a path of this machine is in what is left.
    """
    ids = tuple(int(part) for part in stage.removeprefix("stage-").split("."))
    lines = []
    for event in read_event_log(path):
        kept = _trimmed(event, ids)
        if kept is not None:
            lines.append(json.dumps(kept, separators=(",", ":")))
    text = "\n".join(lines) + "\n"
    for word in (platform.node(), str(path.parent), str(Path.home()), str(Path.cwd())):
        if len(word) > 3 and word != "localhost" and word in text:
            raise DataError(f"the trimmed event log still has {word!r} in it; not written")
    return text.encode()


def readme(facts: dict[str, Any]) -> str:
    """What a recording is, for the reader of its folder."""
    machine, jobs = facts["machine"], facts["jobs"]
    rows = "\n".join(
        f"| {j['job']} | {j['title']} | {j['slots']} | {j['tasks']} | {j['records']} | "
        f"{j['min']:.2f} / {j['p50']:.2f} / {j['p90']:.2f} / {j['max']:.2f} | "
        f"{j['p90'] / j['max']:.2f} |"
        for j in jobs
    )
    columns = "\n".join(f"| {name} | {text} |" for name, text in FEATURES.items())
    return _README.format(
        **{k: facts[k] for k in ("recipe", "date", "seconds", "heartbeat", "spark", "java")},
        label=machine["label"],
        system=f"{machine['os']}, Python {machine['python']}",
        rows=rows,
        columns=columns,
        usage_name=USAGE_NAME,
        log_name=LOG_NAME,
        log_stage=LOG_STAGE,
    )


def _record_all(
    names: list[str], scratch: Path, out: Path, seed: int, facts: dict[str, Any]
) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Record the stages, those with equally many slots in the same session."""
    for slots in dict.fromkeys(STAGES[name].slots for name in names):
        folder = scratch / f"local-{slots}"
        spark = session(slots, folder, HEARTBEAT)
        recorded = []
        try:
            facts["spark"] = spark.version
            facts["java"] = spark.sparkContext._jvm.System.getProperty("java.version")
            # The first tasks of a JVM wait for its compiler: let that pass unrecorded.
            skewed_group_by(spark, folder, 2 * slots, seed)
            for name in (n for n in names if STAGES[n].slots == slots):
                recorded.append(_record_stage(spark, name, folder, seed))
        finally:
            spark.stop()
        for job, table in recorded:
            if job["job"] == LOG_STAGE:
                event_log = next((folder / "events").iterdir())
                write_bytes(out / LOG_NAME, trimmed_log(event_log, job["stage"]))
            yield job, table


def _record_stage(
    spark: SparkSession, name: str, folder: Path, seed: int
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Run one stage; return what the README says of it, and its usage records."""
    plan = STAGES[name]
    events: list[dict[str, Any]] = []
    with (
        BusyProcesses(plan.load) as load,
        SparkTaskFeed(spark.sparkContext, threads=True) as feed,
        ThreadPoolExecutor(1) as pool,
    ):
        job = pool.submit(plan.run, spark, folder, plan.tasks, seed)
        while not job.done():
            time.sleep(0.2)
            events += feed.poll()
            if plan.load and sum(e["type"] == "task_end" for e in events) >= plan.tasks // 2:
                load.start()
        job.result()
    events += feed.poll()
    stage = max({e["job"] for e in events}, key=lambda stage: float(stage[6:]))
    table = usage_table(events, feed.samples, stage, name)
    log.info("%s: %d records", name, len(table))
    facts = {"job": name, "title": plan.title, "slots": plan.slots, "stage": stage}
    return {**facts, **_size(table)}, table


def _size(table: pd.DataFrame) -> dict[str, Any]:
    latency = (table["end"] - table["start"]).groupby(table["task"]).sum()
    quantiles = {"min": 0.0, "p50": 0.5, "p90": 0.9, "max": 1.0}
    size = {"tasks": len(latency), "records": len(table)}
    return size | {name: round(float(latency.quantile(q)), 3) for name, q in quantiles.items()}


def _trimmed(event: dict[str, Any], stage: tuple[int, ...]) -> dict[str, Any] | None:
    """What is kept of an event; None if it is of another kind or stage."""
    kind = event["Event"].removeprefix(_SPARK)
    if kind not in _KEPT:
        return None
    kept = {key: event[key] for key in ("Event", *_KEPT[kind]) if key in event}
    owner = kept.get("Stage Info", kept)
    if "Stage ID" in owner and (owner["Stage ID"], owner["Stage Attempt ID"]) != stage:
        return None
    if "Stage Info" in kept:
        kept["Stage Info"] = {k: owner[k] for k in _STAGE_INFO if k in owner}
    for info in (kept.get("Task Info"), kept.get("Stage Info")):
        if info is not None:
            info["Accumulables"] = _internal(info.get("Accumulables", []))
    if "Task Info" in kept:
        kept["Task Info"]["Host"] = "localhost"
    if "Metrics Updated" in kept:
        updates = [u for u in kept["Metrics Updated"] if u["Stage ID"] == stage[0]]
        for update in updates:
            update["Accumulator Updates"] = _internal(update["Accumulator Updates"])
        kept["Metrics Updated"] = updates
        return kept if updates else None
    return kept


def _internal(accumulables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Spark's own counters, without those of the query plan."""
    return [a for a in accumulables if a.get("Metadata") != "sql"]


_README = """# Spark stages with stragglers, recorded by this project

- Recipe: `{recipe}` ({seconds} s)
- Machine: {label}; {system}; Java {java}; Apache Spark {spark} (PySpark), local mode on loopback
- Date: {date}
- Licence: Apache-2.0, like the project; all data in the stages is generated
- Label: `substitute` (real Spark tasks on one machine, not a cluster of the paper)

| job | what is skewed | slots | tasks | records | latency s: min / p50 / p90 / max | p90/max |
|---|---|---|---|---|---|---|
{rows}

`{usage_name}`: CSV with a header line, one row per usage record. A record ends at a heartbeat of
Spark (every {heartbeat}) or at the task's finish; records of a task do not overlap, and their
lengths add up to the task's latency (launch to finish).

| column | unit; meaning |
|---|---|
| job | name of the job |
| task | number of the task in the job, in the order of launch |
| start, end | s since the first launch of the stage |
{columns}

`{log_name}` is Spark's own event log of the stage recorded in `{log_stage}`, trimmed: events of
other stages, the environment, job properties, plans, call sites and the counters of the query
plan are left out. `recording.json` holds the same facts as this page for programs.

Choices:
- `slots` is the n of `local[n]`, far above the number of cores: Spark starts a task when a slot is
  free, so with one slot per core hardly any task would run beside another. Each task runs at a
  fraction of a core, and tasks start in waves unless slots come near the number of tasks.
- Spark sorts files by size before it assigns them, so in the scans large files start first.
- Heartbeats are taken from the listener bus. An event log keeps them in local mode only and without
  a time; the REST API shows running tasks' counters as zeros in local mode, because the counters of
  a heartbeat that never left the process bear no names.
- CPU time and allocation of a running task are those of its Java thread; Spark itself publishes CPU
  time at the end of a task alone. Peak execution memory is left out: most operators report it when
  they close, so it would tell finished tasks from running ones.
- `gc_share` is that of the whole JVM: in local mode all tasks share one.
- The machine was shared: other processes ran meanwhile, as they do in a cluster.
"""


def main() -> None:
    """Run from the command line."""
    logging.basicConfig(format="%(message)s")
    log.setLevel(logging.INFO)
    try:
        typer.run(record)
    except RepriseError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
