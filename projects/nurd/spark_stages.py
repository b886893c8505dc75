"""Spark stages with real skew, whose tasks compete for the same cores."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

KEYS = 2000
ROWS = 16_000  # per task, on average
_SPIN = """
import os, sys, time
parent, stop = os.getppid(), time.monotonic() + float(sys.argv[1])
while time.monotonic() < stop and os.getppid() == parent:
    sum(range(20000))
"""


@dataclass(frozen=True)
class Stage:
    """A stage to record.

    Attributes
    ----------
    title : str
        What is skewed, for the reader.
    slots : int
        Tasks that run at the same time: ``local[slots]``.
    tasks : int
        Number of tasks.
    run : callable
        ``run(spark, folder, tasks, seed)``; the last stage that it causes is the recorded one.
    load : int
        Busy processes that start when half of the tasks have ended.
    """

    title: str
    slots: int
    tasks: int
    run: Callable[[SparkSession, Path, int, int], None]
    load: int = 0


def skewed_group_by(spark: SparkSession, folder: Path, tasks: int, seed: int) -> None:
    """Aggregate by a key of Zipf's law with exponent 1: one in eight rows has the first key."""
    rows = spark.range(0, ROWS * tasks, 1, 8).selectExpr(
        f"cast(pow({KEYS}, rand({seed})) as int) as key", "repeat(cast(id as string), 3) as text"
    )
    hashed = rows.repartition(tasks, "key").selectExpr("key", _hashes(20))
    _consume(hashed.groupBy("key").agg({"hash": "max"}))


def hot_sort(spark: SparkSession, folder: Path, tasks: int, seed: int) -> None:
    """Sort by a key that one row in twelve shares; the range partition of that key is hot."""
    rows = spark.range(0, ROWS * tasks, 1, 8).selectExpr(
        f"if(rand({seed}) < 1 / 12, 0.5, rand({seed + 1})) as key",
        "repeat(cast(id as string), 3) as text",
    )
    spark.conf.set("spark.sql.shuffle.partitions", tasks)
    _consume(rows.orderBy("key").selectExpr("key", _hashes(20)))


def scan(spark: SparkSession, folder: Path, tasks: int, seed: int) -> None:
    """Read one CSV file per task; sizes are heavy-tailed and so is the work that a row asks for."""
    source = folder / f"scan-{tasks}-{seed}"
    if not source.exists():
        write_files(source, tasks, seed)
    rows = spark.read.csv(str(source), schema="rounds int, text string")
    _consume(rows.selectExpr(_hashes("rounds")))


def write_files(folder: Path, tasks: int, seed: int) -> None:
    """Files for :func:`scan`: log-normal sizes, and a twelfth of them with costlier rows."""
    random = np.random.default_rng(seed)
    sizes = (ROWS * random.lognormal(0.0, 0.35, tasks)).astype(int)
    rounds = 20 * random.lognormal(0.0, 0.2, tasks)
    rounds *= np.where(random.random(tasks) < 1 / 12, random.uniform(2.0, 6.0, tasks), 1.0)
    folder.mkdir(parents=True)
    for i, (size, mean) in enumerate(zip(sizes, rounds, strict=True)):
        asked = random.poisson(mean, size)
        lines = (f"{r},{j:012d}{j:012d}\n" for j, r in enumerate(asked))
        (folder / f"part-{i:03d}.csv").write_text("".join(lines))


STAGES = {
    "groupby-zipf": Stage("groupBy over Zipf-distributed keys", 16, 128, skewed_group_by),
    "sort-hot": Stage("sort where one row in twelve has the same key", 16, 128, hot_sort),
    "scan-tail": Stage("scan of files with heavy-tailed size and cost per row", 16, 144, scan),
    "scan-tail-load": Stage(
        "the same scan, with 16 busy processes beside it from the middle on", 16, 144, scan, 16
    ),
    "groupby-zipf-wide": Stage(
        "groupBy over Zipf-distributed keys, half of the tasks at once", 64, 128, skewed_group_by
    ),
    "scan-tail-wide": Stage("the same scan, half of the tasks at once", 72, 144, scan),
}


class BusyProcesses:
    """Processes that only burn CPU; they end with the block, with this process, or in time.

    Parameters
    ----------
    count : int
        How many.
    limit_s : float
        Longest life of each in seconds.
    """

    def __init__(self, count: int, limit_s: float = 120.0) -> None:
        self._count, self._limit = count, limit_s
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start them, once."""
        if not self._running:
            command = [sys.executable, "-I", "-S", "-c", _SPIN, str(self._limit)]
            self._running = [subprocess.Popen(command) for _ in range(self._count)]

    def __enter__(self) -> BusyProcesses:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            process.kill()
        for process in self._running:
            process.wait()


def session(slots: int, folder: Path, heartbeat: str) -> SparkSession:
    """A local-mode Spark on loopback that logs its events below ``folder``."""
    from common.errors import require

    # Spark takes the address from here, and writes the user's name into its log.
    os.environ.update(SPARK_LOCAL_IP="127.0.0.1", SPARK_LOCAL_HOSTNAME="localhost")
    os.environ.update(HADOOP_USER_NAME="reprise", SPARK_USER="reprise")
    (folder / "events").mkdir(parents=True, exist_ok=True)
    whole_file = str(2**30)
    options = {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.memory": "2g",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.executor.heartbeatInterval": heartbeat,
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": (folder / "events").resolve().as_uri(),
        "spark.eventLog.logStageExecutorMetrics": "true",
        "spark.local.dir": str(folder.resolve()),
        "spark.sql.warehouse.dir": str(folder.resolve()),
        # What is skewed must stay skewed: no coalescing or splitting of partitions, one file a task
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.files.maxPartitionBytes": whole_file,
        "spark.sql.files.openCostInBytes": whole_file,
    }
    builder = require("pyspark.sql", "spark").SparkSession.builder
    builder = builder.master(f"local[{slots}]").appName("nurd")
    for key, value in options.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def _hashes(rounds: int | str) -> str:
    """SQL for a chain of hashes: CPU work that the optimiser cannot remove."""
    return f"aggregate(sequence(1, {rounds}), text, (a, i) -> sha2(a, 256)) as hash"


def _consume(frame: DataFrame) -> None:
    frame.write.format("noop").mode("overwrite").save()
