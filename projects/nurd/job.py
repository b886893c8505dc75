"""Job: the tasks of one parallel job, their usage records and their latencies."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)
MIN_TASKS = 20
Overlaps = Literal["error", "drop", "keep"]


class NotEnoughData(ValueError):
    """Nothing can be predicted yet: no task has finished, or none is running."""


@dataclass(frozen=True)
class Job:
    """A job with ``n`` tasks and ``R`` usage records of ``d`` features.

    Attributes
    ----------
    name, dataset : str
        Identity.
    tasks : ndarray, shape (n,)
        Task ids.
    latency : ndarray, shape (n,)
        Running time of each task in seconds; NaN for a task that has not finished.
    first : ndarray, shape (n + 1,)
        Records ``first[i]:first[i + 1]`` belong to task ``i``, in time order.
    start, end : ndarray, shape (R,)
        Begin and end of each record in seconds since the job's start.
    usage : ndarray, shape (R, d)
        Features of each record.
    features : tuple of str
        Names of the ``d`` columns.
    """

    name: str
    dataset: str
    tasks: np.ndarray
    latency: np.ndarray
    first: np.ndarray
    start: np.ndarray
    end: np.ndarray
    usage: np.ndarray
    features: tuple[str, ...]

    @classmethod
    def from_records(
        cls,
        frame: pd.DataFrame,
        *,
        name: str,
        dataset: str = "",
        features: tuple[str, ...],
        task: str = "task",
        start: str = "start",
        end: str = "end",
        overlaps: Overlaps = "error",
    ) -> Job:
        """Build a job from usage records, one row each.

        Parameters
        ----------
        frame : DataFrame
            Rows with the task's id, start and end [s], and the feature columns.
        overlaps : {"error", "drop", "keep"}
            What to do with a record that begins before the task's previous one ends. ``keep``
            counts both durations, as a plain sum of end minus start does, and orders a task's
            records by their end: that is when they become known.

        Raises
        ------
        ValueError
            Naming job, task and row for an end before a start, a NaN, or overlapping records;
            naming n for a job with fewer than 20 tasks.
        """
        _require_columns(frame, (task, start, end, *features), name)
        frame = frame.reset_index(drop=True)
        _check_rows(frame[task].isna(), frame, task, name, "no task id")
        _check_finite(frame, (start, end, *features), task, name)
        _check_rows(frame[end] < frame[start], frame, task, name, f"{end} is before {start}")
        frame = _in_time_order(frame, task, start, end, name)
        frame = _without_overlaps(frame, task, start, end, name, overlaps)
        ids, counts = np.unique(frame[task].to_numpy(), return_counts=True)
        _check_size(len(ids), name)
        first = np.concatenate([[0], np.cumsum(counts)])
        origin = frame[start].min()
        begin, finish = (frame[c].to_numpy(float) - origin for c in (start, end))
        latency = running_sums(finish - begin, first)[first[1:] - 1]
        usage = frame[list(features)].to_numpy(float)
        job = cls(name, dataset, ids, latency, first, begin, finish, usage, tuple(features))
        if not (latency > 0).all():
            worst = ids[np.argmin(latency)]
            raise ValueError(f"job {name}, task {worst}: latency {latency.min()} s is not positive")
        return job

    @classmethod
    def from_tasks(
        cls,
        frame: pd.DataFrame,
        *,
        name: str,
        dataset: str = "",
        features: tuple[str, ...],
        task: str = "task",
        latency: str = "latency",
    ) -> Job:
        """Build a job from one row per task whose features do not change over time.

        Every task starts at 0 and its features are known from the start; that end-of-task
        totals are known so early is a look-ahead of the data, not of the protocol.
        """
        _require_columns(frame, (task, latency, *features), name)
        frame = frame.reset_index(drop=True)
        _check_rows(frame[task].isna(), frame, task, name, "no task id")
        _check_finite(frame, (latency, *features), task, name)
        _check_rows(frame[latency] <= 0, frame, task, name, f"{latency} is not positive")
        _check_rows(frame[task].duplicated(), frame, task, name, "duplicate task id")
        _check_size(len(frame), name)
        frame = frame.sort_values(task, kind="stable")
        n = len(frame)
        # The one record has no extent in time: it is visible from the start on.
        return cls(
            name,
            dataset,
            frame[task].to_numpy(),
            frame[latency].to_numpy(float),
            np.arange(n + 1),
            np.zeros(n),
            np.zeros(n),
            frame[list(features)].to_numpy(float),
            tuple(features),
        )

    @property
    def n(self) -> int:
        """Number of tasks."""
        return len(self.tasks)

    @property
    def static(self) -> bool:
        """Whether the features do not change over time."""
        return len(self.end) == self.n and not self.end.any()

    def records(self) -> np.ndarray:
        """Number of records of each task, shape (n,)."""
        return np.diff(self.first)

    def threshold(self, quantile: float = 0.9) -> float:
        """Straggler threshold tau [s]: the ``int(q n)``-th smallest latency (section 2, step 1).

        It looks at the whole job; in production a service objective takes its place.

        Raises
        ------
        NotEnoughData
            If a task has not finished: there is no hindsight yet.
        """
        unfinished = int((~np.isfinite(self.latency)).sum())
        if unfinished:
            raise NotEnoughData(
                f"job {self.name}: {unfinished} of {self.n} tasks have not finished, so its "
                "percentiles are unknown; pass a threshold"
            )
        return float(np.sort(self.latency)[int(quantile * self.n)])

    def stragglers(self, quantile: float = 0.9) -> np.ndarray:
        """Mask of the tasks whose latency reaches the threshold, shape (n,)."""
        return self.latency >= self.threshold(quantile)

    def truncated(self, keep: np.ndarray, finished: np.ndarray) -> Job:
        """Forget records (``keep``, shape (R,)) and the latency of unfinished tasks."""
        owner = np.repeat(np.arange(self.n), self.records())[keep]
        first = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=self.n))])
        return replace(
            self,
            latency=np.where(finished, self.latency, np.nan),
            first=first,
            start=self.start[keep],
            end=self.end[keep],
            usage=self.usage[keep],
        )


def running_sums(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Sums of the rows so far, begun anew with every task, shape of ``values``.

    ``first`` is that of :class:`Job`. What other tasks do changes nothing, not even a rounding:
    a difference of sums over all tasks would.

    Examples
    --------
    >>> running_sums(np.array([1.0, 2.0, 3.0]), np.array([0, 2, 3])).tolist()
    [1.0, 3.0, 3.0]
    """
    sums = np.empty_like(values, dtype=float)
    for a, b in pairwise(first.tolist()):
        np.cumsum(values[a:b], axis=0, out=sums[a:b])
    return sums


def _require_columns(frame: pd.DataFrame, columns: tuple[str, ...], name: str) -> None:
    missing = [column for column in columns if column not in frame]
    if missing:
        raise ValueError(f"job {name}: missing columns {missing}; there are {list(frame.columns)}")


def _check_rows(bad: pd.Series, frame: pd.DataFrame, task: str, name: str, what: str) -> None:
    if bad.any():
        # The label, not the place: sorting has kept the labels of the rows as they were passed.
        row = bad.index[bad][0]
        raise ValueError(f"job {name}, task {frame[task][row]}, row {row}: {what}")


def _check_finite(frame: pd.DataFrame, columns: tuple[str, ...], task: str, name: str) -> None:
    for column in columns:
        bad = ~np.isfinite(frame[column].astype(float))
        _check_rows(bad, frame, task, name, f"{column} is not a finite number")


def _check_size(n: int, name: str) -> None:
    if n < MIN_TASKS:
        raise ValueError(f"job {name}: job too small (n={n}): need >= {MIN_TASKS}")


def _in_time_order(frame: pd.DataFrame, task: str, start: str, end: str, name: str) -> pd.DataFrame:
    if (frame.groupby(task, sort=False)[start].diff() < 0).any():
        log.warning("job %s: records are not in time order; sorted", name)
    return frame.sort_values([task, start, end], kind="stable")


def _without_overlaps(
    frame: pd.DataFrame, task: str, start: str, end: str, name: str, overlaps: Overlaps
) -> pd.DataFrame:
    if overlaps not in ("error", "drop", "keep"):
        raise ValueError(f"overlaps={overlaps!r}: allowed are 'error', 'drop', 'keep'")
    if overlaps == "keep":
        return frame.sort_values([task, end, start], kind="stable")
    bad = _overlapping(frame, task, start, end)
    if overlaps == "error":
        _check_rows(bad, frame, task, name, "record overlaps the previous one of its task")
    before = len(frame)
    while bad.any():
        # One per task at a time: what overlaps a dropped record alone may stay.
        frame = frame[~(bad & (bad.groupby(frame[task], sort=False).cumsum() == 1))]
        bad = _overlapping(frame, task, start, end)
    if len(frame) < before:
        log.warning("job %s: dropped %d overlapping records", name, before - len(frame))
    return frame


def _overlapping(frame: pd.DataFrame, task: str, start: str, end: str) -> pd.Series:
    reach = frame.groupby(task, sort=False)[end].cummax()
    return frame[start] < reach.groupby(frame[task], sort=False).shift()
