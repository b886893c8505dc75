"""Rules that schedulers use today: elapsed time, Spark's speculation, LATE."""

from __future__ import annotations

import numpy as np

from projects.nurd.guarded import Degenerate, as_score
from projects.nurd.job import Job
from projects.nurd.protocol import Checkpoint


class UsageSoFar:
    """What a job's tasks have used by a given age, whatever the protocol shows of it.

    Parameters
    ----------
    job : Job
        Its records are read up to the age that is asked for and no further.

    Attributes
    ----------
    age : ndarray, shape (R,)
        Running time of its task at the end of each record [s].
    mean : ndarray, shape (R, d)
        Time-weighted mean of the usage up to and with each record.
    """

    def __init__(self, job: Job) -> None:
        self.first = job.first
        length = job.end - job.start
        self.age = self._within_task(length[:, None])[:, 0]
        weighted, age = self._within_task(length[:, None] * job.usage), self.age[:, None]
        self.mean = np.divide(weighted, age, out=job.usage.copy(), where=age > 0)

    def at(self, tasks: np.ndarray, elapsed: np.ndarray) -> np.ndarray:
        """Return the mean usage of ``tasks`` at the ages ``elapsed``, shape (len(tasks), d)."""
        rows = np.empty(len(tasks), dtype=int)
        for i, (task, age) in enumerate(zip(tasks, elapsed, strict=True)):
            low, high = self.first[task], self.first[task + 1]
            # An age is a sum of lengths, so it is only equal up to rounding.
            seen = np.searchsorted(self.age[low:high], age * (1 + 1e-9), side="right")
            rows[i] = low + max(seen, 1) - 1
        return self.mean[rows]

    def final(self) -> np.ndarray:
        """Return the mean usage over the whole run of every task, shape (n, d)."""
        return self.mean[self.first[1:] - 1]

    def _within_task(self, values: np.ndarray) -> np.ndarray:
        total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
        return total[1:] - np.repeat(total[self.first[:-1]], np.diff(self.first), axis=0)


class ElapsedRule:
    """Flag a task that has run for ``share`` of the threshold.

    Parameters
    ----------
    share : float
        Above 0. At 1 and above nothing is flagged under ``leak_free``, which drops tasks at tau.
    """

    def __init__(self, share: float) -> None:
        if not share > 0:
            raise ValueError(f"share={share}: must be above 0")
        self.share = share

    def __call__(self, checkpoint: Checkpoint) -> np.ndarray:
        """Return elapsed time over ``share * tau``."""
        return checkpoint.elapsed / (self.share * checkpoint.threshold)


class SparkRule:
    """Spark's speculation: longer than a multiple of the median, once enough tasks are done.

    Parameters
    ----------
    multiplier, quantile : float
        ``spark.speculation.multiplier`` and ``spark.speculation.quantile``: 1.5 and 0.75 before
        Spark 4, 3 and 0.9 since (apache/spark, pull request 45858).
    min_runtime : float
        ``spark.speculation.minTaskRuntime`` [s].
    """

    def __init__(self, multiplier: float, quantile: float, min_runtime: float = 0.1) -> None:
        self.multiplier = multiplier
        self.quantile = quantile
        self.min_runtime = min_runtime

    def __call__(self, checkpoint: Checkpoint) -> np.ndarray:
        """Return elapsed time over the limit; zero until the quantile has finished."""
        if len(checkpoint.finished) < max(int(self.quantile * checkpoint.n), 1):
            return np.zeros(len(checkpoint.running))
        limit = max(self.multiplier * float(np.median(checkpoint.y_finished)), self.min_runtime)
        return as_score(checkpoint.elapsed / limit, checkpoint.elapsed > limit)


class LATE:
    """Longest approximate time to end: copy the slow tasks that will end last.

    A task's progress score is what Hadoop reports; traces have none. Here it is the work done so
    far (mean usage of one column times elapsed time) over the median work of the finished tasks,
    at most 0.99. That takes a column that measures work per second, such as CPU usage, and tasks
    of equal work.

    Parameters
    ----------
    job : Job
        For the usage so far.
    work : int
        Position of the column that measures work per second.
    cap : float
        SpeculativeCap: at most this share of the job's tasks is flagged and running at a time.
    slow : float
        SlowTaskThreshold: only tasks whose progress rate lies below this quantile are flagged.

    References
    ----------
    M. Zaharia et al., Improving MapReduce performance in heterogeneous environments, OSDI 2008,
    section 4.
    """

    def __init__(self, job: Job, work: int = 0, cap: float = 0.1, slow: float = 0.25) -> None:
        self.usage = UsageSoFar(job)
        self.work = work
        self.cap = cap
        self.slow = slow
        self.flagged = np.zeros(job.n, dtype=bool)

    def __call__(self, checkpoint: Checkpoint) -> np.ndarray:
        """Return the estimated latency over tau, at least 1 where flagged and below elsewhere."""
        done = self.usage.final()[checkpoint.finished, self.work] * checkpoint.y_finished
        total = float(np.median(done)) if len(done) else 0.0
        if not total > 0:
            raise Degenerate("finished tasks have done no measurable work")
        elapsed = checkpoint.elapsed
        work = self.usage.at(checkpoint.running, elapsed)[:, self.work] * elapsed
        progress = np.clip(work / total, 1e-6, 0.99)
        rate = progress / np.maximum(elapsed, 1e-9)
        left = (1.0 - progress) / rate
        limit = np.quantile(np.concatenate([1.0 / checkpoint.y_finished, rate]), self.slow)
        self._flag(checkpoint, left, rate < limit)
        return as_score((elapsed + left) / checkpoint.threshold, self.flagged[checkpoint.running])

    def _flag(self, checkpoint: Checkpoint, left: np.ndarray, slow: np.ndarray) -> None:
        free = int(np.ceil(self.cap * checkpoint.n)) - self.flagged[checkpoint.running].sum()
        candidates = np.flatnonzero(slow & ~self.flagged[checkpoint.running])
        longest = candidates[np.argsort(-left[candidates], kind="stable")]
        self.flagged[checkpoint.running[longest[: max(free, 0)]]] = True
