"""Replay of a finished job, checkpoint by checkpoint.

Three protocols, from sound to released:

``leak_free``
    Checkpoints in time. At time t it shows what a monitor of the job knew at t, nothing else.
``warm_start``
    Checkpoints in records: at checkpoint k every running task shows its first k + 1 records,
    whenever they happened, and the fastest 4 % of tasks count as finished from the start, whether
    they had finished by then or not. Features and scaling do not look ahead.
``authors``
    As ``warm_start``, but running features are divided by the task's final duration and scaled
    by the whole job's final features, as in the released code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from common.errors import did_you_mean
from projects.nurd.job import Job, running_sums
from projects.nurd.scaling import SeenScaler

Name = Literal["leak_free", "warm_start", "authors"]
NAMES = ("leak_free", "warm_start", "authors")
FIRST_CHECKPOINT = 2


@dataclass(frozen=True)
class Protocol:
    """How a job is replayed.

    Attributes
    ----------
    name : {"leak_free", "warm_start", "authors"}
        Which information a checkpoint shows.
    clean : bool
        Not under ``leak_free``: remove stragglers with unusually few records and other tasks with
        unusually many from the test set. It uses the labels and lifts F1.
    every : int
        Use every so-many-th checkpoint.
    warm_fraction : float
        Share of tasks that have finished at the first checkpoint.
    step_fraction : float
        ``leak_free``: a checkpoint whenever this share of tasks has newly finished.
    quantile : float
        Of the threshold.
    """

    name: Name = "leak_free"
    clean: bool = False
    every: int = 1
    warm_fraction: float = 0.04
    step_fraction: float = 0.02
    quantile: float = 0.9

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ValueError(f"protocol {self.name!r}{did_you_mean(self.name, NAMES)}")
        if self.clean and self.name == "leak_free":
            raise ValueError("clean=True reads the labels: it is no part of protocol 'leak_free'")


@dataclass(frozen=True)
class Checkpoint:
    """What a predictor sees at one moment.

    Attributes
    ----------
    index : int
        Number of the checkpoint, from 0.
    time : float
        ``leak_free``: seconds since the job's start. Else the number of records k.
    finished, running : ndarray of int
        Positions of the tasks in the job. Of the running tasks only those of the test set are
        listed, and in time only those with a record so far that have run for less than tau.
    X_finished, X_running : ndarray, shapes (n_F, d) and (n_R, d)
        Scaled features; columns that have been constant so far are 0.
    y_finished : ndarray, shape (n_F,)
        Latencies [s].
    elapsed : ndarray, shape (n_R,)
        Seconds that the running tasks have run: in time until now, as if each had gone on since
        its last record; else until the end of record k.
    moment : ndarray, shape (n_R,)
        Seconds at which each running task is looked at, on the clock of :func:`completion_times`.
    n, threshold : int and float
        Number of tasks of the job and straggler threshold [s].
    """

    index: int
    time: float
    finished: np.ndarray
    running: np.ndarray
    X_finished: np.ndarray
    y_finished: np.ndarray
    X_running: np.ndarray
    elapsed: np.ndarray
    n: int
    threshold: float
    moment: np.ndarray


@dataclass(frozen=True)
class Split:
    """Which tasks are trained on from the start, which are tested, how many were dropped."""

    initial: np.ndarray
    test: np.ndarray
    dropped: int


def replay(job: Job, protocol: Protocol, threshold: float | None = None) -> Iterator[Checkpoint]:
    """Yield the checkpoints of a job.

    Parameters
    ----------
    job : Job
        With its latencies; under ``leak_free`` unfinished tasks may have NaN.
    protocol : Protocol
        What each checkpoint shows.
    threshold : float, optional
        Straggler threshold [s]; by default the job's own percentile, known in hindsight.
    """
    threshold = job.threshold(protocol.quantile) if threshold is None else threshold
    if _in_time(job, protocol):
        return _replay_in_time(job, protocol, threshold)
    return _replay_in_records(job, protocol, threshold)


def split(job: Job, protocol: Protocol) -> Split:
    """Divide the tasks of a job into the first training set and the test set."""
    if _in_time(job, protocol):
        # Ties finish together, so the first checkpoint may hold a few tasks more.
        done_at = finish_times(job)
        initial = done_at <= checkpoint_times(done_at, job.n, protocol)[0]
    else:
        count = max(2, int(protocol.warm_fraction * job.n))
        initial = job.latency < np.sort(job.latency)[count]
    test = ~initial
    if not protocol.clean or job.static:
        return Split(initial, test, 0)
    slow, records = job.stragglers(protocol.quantile), job.records()
    few = slow & (records < records[test & slow].mean() - 1)
    many = ~slow & (records > records[test & ~slow].mean() + 1)
    return Split(initial, test & ~few & ~many, int((test & (few | many)).sum()))


def completion_times(job: Job, protocol: Protocol) -> np.ndarray:
    """When each task finished on the replay's clock [s], shape (n,).

    In time that is seconds since the job's start. In records all tasks start together and
    finish after their latency.
    """
    return finish_times(job) if _in_time(job, protocol) else job.latency


def _in_time(job: Job, protocol: Protocol) -> bool:
    # Without a time series there are no records to count.
    return protocol.name == "leak_free" or job.static


def _warm_count(n: int, protocol: Protocol) -> int:
    return max(2, int(np.ceil(protocol.warm_fraction * n)))


# -- in time -------------------------------------------------------------------------------


def _replay_in_time(job: Job, protocol: Protocol, threshold: float) -> Iterator[Checkpoint]:
    done_at = finish_times(job)
    means, age = _running_means(job), _record_ages(job)
    scaler = SeenScaler()
    times = checkpoint_times(done_at, job.n, protocol)
    for index, time in enumerate(times[:: protocol.every]):
        finished = np.flatnonzero(done_at <= time)
        latest = _latest_record(job, time)
        running = np.flatnonzero(~(done_at <= time) & (latest >= 0))
        # The clock goes on after the last record, and a monitor can read it.
        elapsed = age[latest[running]] + (time - job.end[latest[running]])
        # A task that has run for tau is a straggler by definition: nothing is left to predict.
        running, elapsed = running[elapsed < threshold], elapsed[elapsed < threshold]
        if not len(running):
            continue
        X_finished, X_running = means[latest[finished]], means[latest[running]]
        scaler.see(X_finished, X_running)
        yield Checkpoint(
            index,
            float(time),
            finished,
            running,
            scaler.transform(X_finished),
            job.latency[finished],
            scaler.transform(X_running),
            elapsed,
            job.n,
            threshold,
            np.full(len(running), time),
        )


def checkpoint_times(done_at: np.ndarray, n: int, protocol: Protocol) -> np.ndarray:
    """Moments at which 4 %, 6 %, 8 % ... of the ``n`` tasks have finished.

    A count that is reached by time t is reached whatever happens later, so the times do not
    look ahead.
    """
    ordered = np.sort(done_at[np.isfinite(done_at)])
    step = max(1, round(protocol.step_fraction * n))
    counts = np.arange(_warm_count(n, protocol), len(ordered) + 1, step)
    return np.unique(ordered[counts - 1])


def finish_times(job: Job) -> np.ndarray:
    """When each task finished, in seconds since the job's start, shape (n,); infinite if not."""
    done_at = job.latency.copy()
    if not job.static:
        has = job.records() > 0
        done_at[has] = np.maximum.reduceat(job.end, job.first[:-1][has])
    return np.where(np.isfinite(job.latency), done_at, np.inf)


def _latest_record(job: Job, time: float) -> np.ndarray:
    """Position of each task's last record that ended by ``time``, shape (n,); -1 for none."""
    seen = np.concatenate([[0], np.cumsum(job.end <= time)])
    counts = seen[job.first[1:]] - seen[job.first[:-1]]
    return np.where(counts > 0, job.first[:-1] + counts - 1, -1)


# -- in records ----------------------------------------------------------------------------


def _replay_in_records(job: Job, protocol: Protocol, threshold: float) -> Iterator[Checkpoint]:
    parts, records = split(job, protocol), job.records()
    age = _record_ages(job)
    usage, scaler = _running_means(job), SeenScaler(clip=protocol.name != "authors")
    if protocol.name == "authors":
        usage = usage * (age / np.repeat(job.latency, records))[:, None]
        scaler.see(usage[job.first[1:] - 1])
    slow = job.latency >= threshold
    last = int(records[parts.test & slow].max(initial=0)) - 1
    for index, k in enumerate(range(FIRST_CHECKPOINT, last, protocol.every)):
        # A test task whose last record lies before this checkpoint has joined the training set.
        finished = np.flatnonzero(parts.initial | (parts.test & (records <= k)))
        running = np.flatnonzero(parts.test & (records > k))
        if not len(finished):
            continue
        X_finished = usage[job.first[finished + 1] - 1]
        X_running = usage[job.first[running] + k]
        if protocol.name == "warm_start":
            scaler.see(X_finished, X_running)
        yield Checkpoint(
            index,
            float(k),
            finished,
            running,
            scaler.transform(X_finished),
            job.latency[finished],
            scaler.transform(X_running),
            age[job.first[running] + k],
            job.n,
            threshold,
            # Record k ends at another moment for every task: its own age is the clock.
            age[job.first[running] + k],
        )


# -- usage over time -----------------------------------------------------------------------


def _running_means(job: Job) -> np.ndarray:
    """Time-weighted mean of a task's usage up to and with each record, shape (R, d)."""
    if job.static:
        return job.usage
    length, age = (job.end - job.start)[:, None], _record_ages(job)[:, None]
    weighted = running_sums(length * job.usage, job.first)
    return np.divide(weighted, age, out=job.usage.copy(), where=age > 0)


def _record_ages(job: Job) -> np.ndarray:
    """Running time of its task at the end of each record, shape (R,)."""
    return running_sums(job.end - job.start, job.first)
