"""Replay a method over a job, latch its flags, and measure them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from projects.nurd.job import Job, NotEnoughData
from projects.nurd.protocol import Checkpoint, Protocol, replay, split

# A method maps a checkpoint to one score per running task; 1 and above is a flag.
Method = Callable[[Checkpoint], np.ndarray]
TAIL_BINS = ((0.90, 0.95), (0.95, 0.99), (0.99, 1.0))


@dataclass(frozen=True)
class Outcome:
    """What a method did over a whole job.

    Attributes
    ----------
    flag_time : ndarray, shape (n,)
        When each task was first flagged [s], on the clock of
        :func:`~projects.nurd.protocol.completion_times`; infinite if never.
    score : ndarray, shape (n,)
        Largest score of each task over the checkpoints; -inf if it was never scored. A task that
        runs longer is scored more often: even scores without any information reach an AUC above
        one half.
    test, straggler : ndarray of bool, shape (n,)
        Which tasks count, and which of them are stragglers.
    dropped : int
        Test tasks removed by cleaning.
    checkpoints : int
        Number of checkpoints replayed.
    """

    flag_time: np.ndarray
    score: np.ndarray
    test: np.ndarray
    straggler: np.ndarray
    dropped: int
    checkpoints: int

    @property
    def flagged(self) -> np.ndarray:
        """Latched flags: once flagged, always flagged, shape (n,)."""
        return np.isfinite(self.flag_time)


def run_method(
    job: Job, method: Method, protocol: Protocol, threshold: float | None = None
) -> Outcome:
    """Replay a job under a protocol and latch the method's flags.

    Parameters
    ----------
    job : Job
        A finished job.
    method : callable
        Fresh for this job; it may keep state from one checkpoint to the next.
    protocol : Protocol
        What the method sees.
    threshold : float, optional
        What the method is told; the evaluation always uses the job's own percentile.

    Raises
    ------
    NotEnoughData
        If the job has no checkpoint at all.
    """
    flag_time = np.full(job.n, np.inf)
    score = np.full(job.n, -np.inf)
    count = 0
    for checkpoint in replay(job, protocol, threshold):
        count += 1
        values = np.asarray(method(checkpoint), dtype=float)
        if values.shape != checkpoint.running.shape:
            raise ValueError(
                f"method returned shape {values.shape} for {len(checkpoint.running)} running tasks"
            )
        tasks = checkpoint.running
        score[tasks] = np.fmax(score[tasks], values)
        first_flag = (values >= 1.0) & ~np.isfinite(flag_time[tasks])
        new = tasks[first_flag]
        flag_time[new] = checkpoint.moment[first_flag]
    if not count:
        done = int(np.isfinite(job.latency).sum())
        raise NotEnoughData(
            f"job {job.name}: no checkpoint with finished and running tasks "
            f"({done} of {job.n} tasks have a latency)"
        )
    parts = split(job, protocol)
    slow = job.stragglers(protocol.quantile)
    return Outcome(flag_time, score, parts.test, slow, parts.dropped, count)


def metrics(outcome: Outcome) -> dict[str, float]:
    """TPR, FPR, FNR, precision, F1 and AUC over the test tasks of one job.

    Examples
    --------
    >>> flags = np.array([1.0, np.inf, 2.0, np.inf])
    >>> slow = np.array([True, True, False, False])
    >>> everything = np.ones(4, dtype=bool)
    >>> outcome = Outcome(flags, np.array([2, 0.5, 1, 0.1]), everything, slow, 0, 3)
    >>> {name: round(value, 2) for name, value in metrics(outcome).items()}
    {'tpr': 0.5, 'fpr': 0.5, 'fnr': 0.5, 'precision': 0.5, 'f1': 0.5, 'auc': 0.75}
    """
    slow = outcome.straggler[outcome.test]
    flagged = outcome.flagged[outcome.test]
    hits, misses = (slow & flagged).sum(), (slow & ~flagged).sum()
    false = (~slow & flagged).sum()
    tpr = hits / max(hits + misses, 1)
    rates = {
        "tpr": tpr,
        "fpr": false / max((~slow).sum(), 1),
        "fnr": 1.0 - tpr,
        "precision": hits / max(hits + false, 1),
        "f1": 2 * hits / max(2 * hits + misses + false, 1),
        "auc": auc(slow, outcome.score[outcome.test]),
    }
    return {name: float(rate) for name, rate in rates.items()}


def auc(positive: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve by ranks, ties counted half; NaN if one class is empty."""
    from scipy.stats import rankdata

    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return float("nan")
    ranks = rankdata(score)
    return float(
        (ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / n_positive / n_negative
    )


def tail_recall(job: Job, outcome: Outcome) -> dict[str, float]:
    """TPR among the test stragglers of three latency bins; NaN for an empty bin."""
    edges = np.sort(job.latency)
    rates = {}
    for low, high in TAIL_BINS:
        top = edges[int(high * job.n)] if high < 1 else np.inf
        inside = outcome.test & (job.latency >= edges[int(low * job.n)]) & (job.latency < top)
        name = f"tpr_p{round(100 * low)}"
        rates[name] = float(outcome.flagged[inside].mean()) if inside.any() else float("nan")
    return rates
