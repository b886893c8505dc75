"""What flags are worth: replay a job with flagged tasks started anew on another machine.

The clock is that of :func:`projects.nurd.protocol.completion_times`. A flagged task i that gets a
machine at ``s_i`` takes ``y_i`` there, drawn from the latencies of the job's non-stragglers; the
draw belongs to the task, so that all methods compared on a job get the same.

* ``policy="copy"``: the original goes on, the first to end wins and the other one is stopped. The
  task is complete at ``min(finish_i, s_i + y_i)``.
* ``policy="restart"``: the original is killed when its replacement starts, not before. The task is
  complete at ``s_i + y_i``.

With ``machines=None`` every flag gets a machine at once. Else that many spare machines exist beside
those which run the job; flagged tasks wait for one in order of their flags, and a task that ends
while it waits leaves the queue. A copy's machine returns when the task is complete. Whether
machines on which tasks of the job itself have ended serve copies too is left open by the paper's
description: ``freed="copies"`` says no (they go to other jobs, and no spare machine means no copy),
``freed="all"`` says yes (then copies run even without a spare machine, late in the job).
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Literal

import numpy as np

Policy = Literal["copy", "restart"]
Freed = Literal["copies", "all"]


@dataclass(frozen=True)
class Completion:
    """A job replayed with copies.

    Attributes
    ----------
    completion : ndarray, shape (n,)
        When each task is complete [s].
    start : ndarray, shape (n,)
        When its copy started [s]; infinite without one.
    copy_seconds : float
        Machine time of all copies.
    wasted_seconds : float
        Machine time of the copies that ended no earlier than their originals would have, or whose
        task needed none.
    """

    completion: np.ndarray
    start: np.ndarray
    copy_seconds: float
    wasted_seconds: float

    @property
    def job_time(self) -> float:
        """Job completion time: when the last task is complete [s]."""
        return float(self.completion.max())

    @property
    def copies(self) -> int:
        """Number of copies started."""
        return int(np.isfinite(self.start).sum())


def simulate(
    finish: np.ndarray,
    flag_time: np.ndarray,
    pool: np.ndarray,
    *,
    machines: int | None = None,
    policy: Policy = "copy",
    freed: Freed = "copies",
    needed: np.ndarray | None = None,
    seed: int = 42,
) -> Completion:
    """Replay a job whose flagged tasks are started anew.

    Parameters
    ----------
    finish : ndarray, shape (n,)
        When each task finishes by itself [s], :func:`projects.nurd.protocol.completion_times`.
    flag_time : ndarray, shape (n,)
        When each task is flagged [s]; infinite for never. Flags of ended tasks do nothing.
    pool : ndarray, shape (m,)
        Latencies to draw from: those of the job's non-stragglers.
    machines : int, optional
        Spare machines; by default as many as it takes.
    policy : {"copy", "restart"}
        Whether the original goes on.
    freed : {"copies", "all"}
        Which machines serve copies again.
    needed : ndarray of bool, shape (n,), optional
        Tasks that a copy is meant for, the stragglers; copies of others count as wasted even when
        they win. By default every task.
    seed : int
        Of the draws.

    Returns
    -------
    Completion

    Raises
    ------
    ValueError
        For times that are not finite, latencies that are not positive, or an unknown option.

    Examples
    --------
    >>> finish, flags = np.array([10.0, 50.0]), np.array([np.inf, 12.0])
    >>> run = simulate(finish, flags, np.array([9.0]))
    >>> run.job_time, reduction(50.0, run.job_time), run.copy_seconds
    (21.0, 58.0, 9.0)
    """
    finish, flag_time = np.asarray(finish, dtype=float), np.asarray(flag_time, dtype=float)
    pool = np.asarray(pool, dtype=float)
    _check(finish, flag_time, pool, machines, policy, freed)
    draw = np.random.default_rng(seed).choice(pool, size=len(finish))
    if machines is None:
        start = np.where(flag_time < finish, flag_time, np.inf)
    else:
        start = _queue(finish, flag_time, draw, machines, policy, freed)
    copied = np.isfinite(start)
    anew = np.where(copied, start + draw, np.inf)
    completion = np.minimum(finish, anew) if policy == "copy" else np.where(copied, anew, finish)
    seconds = np.where(copied, completion - np.where(copied, start, 0.0), 0.0)
    wasted = anew >= finish
    if needed is not None:
        wasted |= ~np.asarray(needed, dtype=bool)
    return Completion(completion, start, float(seconds.sum()), float(seconds[wasted].sum()))


def reduction(before: float, after: float) -> float:
    """Return by how much a job's completion time fell, ``100 (before - after) / before`` [%]."""
    return 100.0 * (before - after) / before


def oracle_flags(straggler: np.ndarray, first_checkpoint: float | np.ndarray) -> np.ndarray:
    """Flag all stragglers, and nothing else, at the first checkpoint; shape (n,).

    With policy ``copy`` and enough machines no predictor completes a straggler earlier. A job may
    still complete earlier under a predictor that copies non-stragglers too: no predictor beats
    ``oracle_flags(np.ones(n, bool), ...)``, which copies every task.
    """
    return np.where(straggler, first_checkpoint, np.inf)


def _queue(
    finish: np.ndarray,
    flag_time: np.ndarray,
    draw: np.ndarray,
    machines: int,
    policy: Policy,
    freed: Freed,
) -> np.ndarray:
    """Serve flags first come, first served; return when each copy starts."""
    start = np.full(len(finish), np.inf)
    # When a machine is free, and whose machine it is: -1 for a spare one.
    free = [(0.0, -1)] * machines
    if freed == "all":
        free += [(time, task) for task, time in enumerate(finish.tolist())]
    heapq.heapify(free)
    order = np.lexsort((np.arange(len(finish)), flag_time))
    for task in order[: np.isfinite(flag_time).sum()].tolist():
        # A copied task has given its own machine back earlier than its finish says.
        while free and free[0][1] >= 0 and np.isfinite(start[free[0][1]]):
            heapq.heappop(free)
        if not free:
            break
        begin = max(free[0][0], float(flag_time[task]))
        if begin >= finish[task]:
            continue
        heapq.heappop(free)
        start[task] = begin
        end = begin + float(draw[task])
        if policy == "copy":
            end = min(end, float(finish[task]))
        heapq.heappush(free, (end, -1))
        if freed == "all":
            heapq.heappush(free, (end if policy == "copy" else begin, -1))
    return start


def _check(
    finish: np.ndarray,
    flag_time: np.ndarray,
    pool: np.ndarray,
    machines: int | None,
    policy: str,
    freed: str,
) -> None:
    if finish.ndim != 1 or finish.shape != flag_time.shape or not len(finish):
        raise ValueError(
            f"finish and flag_time need one value per task, got {finish.shape}, {flag_time.shape}"
        )
    if not np.isfinite(finish).all():
        raise ValueError("finish has tasks that never finish: replay a finished job")
    if np.isnan(flag_time).any():
        raise ValueError("flag_time holds NaN: use inf for a task that is never flagged")
    if not len(pool) or not (np.isfinite(pool) & (pool > 0)).all():
        raise ValueError(f"pool needs positive latencies, got {len(pool)} values")
    if machines is not None and machines < 0:
        raise ValueError(f"machines={machines}: allowed is None (no limit), 0 and above")
    if policy not in ("copy", "restart"):
        raise ValueError(f"policy={policy!r}: allowed are 'copy', 'restart'")
    if freed not in ("copies", "all"):
        raise ValueError(f"freed={freed!r}: allowed are 'copies', 'all'")
