"""Rules that schedulers use today: elapsed time, Spark's speculation, LATE."""

from __future__ import annotations

import numpy as np

from projects.nurd.guarded import Degenerate, as_score
from projects.nurd.job import Job, running_sums
from projects.nurd.protocol import Checkpoint


class UsageSoFar:
    """What a job's tasks have used by a checkpoint, unscaled and the same under every protocol.

    Parameters
    ----------
    job : Job
        Of a running task's records those are read that the checkpoint shows, and no others.

    Attributes
    ----------
    mean : ndarray, shape (R, d)
        Time-weighted mean of a task's usage up to and with each record.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        length = (job.end - job.start)[:, None]
        age = running_sums(length, job.first)
        weighted = running_sums(length * job.usage, job.first)
        self.mean = np.divide(weighted, age, out=job.usage.copy(), where=age > 0)

    def running(self, checkpoint: Checkpoint) -> np.ndarray:
        """Return the mean usage so far of the running tasks, shape (n_R, d)."""
        tasks, first = checkpoint.running, self.job.first
        if (checkpoint.moment == checkpoint.time).all():
            ended = np.concatenate([[0], np.cumsum(self.job.end <= checkpoint.time)])
            seen = ended[first[tasks + 1]] - ended[first[tasks]]
            return self.mean[first[tasks] + np.maximum(seen, 1) - 1]
        # The protocols in records give the number of the record instead of a time.
        return self.mean[first[tasks] + int(checkpoint.time)]

    def final(self) -> np.ndarray:
        """Return the mean usage over the whole run of every task, shape (n, d)."""
        return self.mean[self.job.first[1:] - 1]


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
        work = self.usage.running(checkpoint)[:, self.work] * elapsed
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
