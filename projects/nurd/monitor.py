"""StragglerMonitor: NURD on a live stream of task events."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from projects.nurd.estimator import NURDClassifier
from projects.nurd.thresholds import kaplan_meier_quantile

log = logging.getLogger(__name__)
Event = Mapping[str, Any]
EVENT_TYPES = ("task_start", "task_progress", "task_end")


@dataclass(frozen=True)
class Speculation:
    """Advice to run a copy of one task.

    Attributes
    ----------
    job, task : str and hashable
        Which task.
    time : float
        When the advice was given, on the events' clock [s].
    score : float
        Adjusted latency over the threshold, 1 or more.
    elapsed : float
        How long the task had run [s].
    lead : float
        Seconds until it would have been a straggler by definition.
    reason : str
        One sentence for a log.
    """

    job: str
    task: Any
    time: float
    score: float
    elapsed: float
    lead: float
    reason: str


class StragglerMonitor:
    """Watch jobs through their task events and say which tasks to speculate on.

    Parameters
    ----------
    threshold : float, mapping or "kaplan_meier"
        Straggler threshold in seconds: one for all jobs (a service objective), one per job name
        (such as the 90th percentile of earlier runs), or the censored estimate of the job's own
        90th percentile, which is infinite until nine tenths have finished or outlived it.
    n_tasks : mapping, optional
        Number of tasks of each job, where it is known before all have started.
    aggregate : {"mean", "last"}
        What a task's features are: the time-weighted mean of its records (usage rates), or the
        latest values (counters).
    alpha, eps : float
        As in :class:`~projects.nurd.estimator.NURDClassifier`.
    warm_fraction, step_fraction : float
        First prediction once this share of a job's tasks has finished, then one whenever this
        share has newly finished.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> load = np.where(np.arange(40) < 36, rng.uniform(1, 2, 40), 6.0)
    >>> events = [dict(type="task_start", time=0.0, job="j", task=i) for i in range(40)]
    >>> for i in np.argsort(load):
    ...     seen = {"bytes": load[i], "noise": rng.normal()}
    ...     events.append(dict(type="task_progress", time=0.5, job="j", task=i, features=seen))
    ...     events.append(dict(type="task_end", time=load[i], job="j", task=i, features=seen))
    >>> events.sort(key=lambda event: event["time"])
    >>> advice = StragglerMonitor(threshold=3.0).update(events)
    >>> {38, 39} <= {item.task for item in advice}
    True
    """

    def __init__(
        self,
        threshold: float | Mapping[str, float] | Literal["kaplan_meier"],
        *,
        n_tasks: Mapping[str, int] | None = None,
        aggregate: Literal["mean", "last"] = "mean",
        alpha: float = 0.2,
        eps: float = 0.05,
        warm_fraction: float = 0.04,
        step_fraction: float = 0.02,
    ) -> None:
        if aggregate not in ("mean", "last"):
            raise ValueError(f"aggregate={aggregate!r}: allowed are 'mean' and 'last'")
        if isinstance(threshold, str) and threshold != "kaplan_meier":
            raise ValueError(f"threshold={threshold!r}: a number, a mapping or 'kaplan_meier'")
        if isinstance(threshold, int | float) and not (np.isfinite(threshold) and threshold > 0):
            raise ValueError(f"threshold={threshold}: must be a finite number above 0")
        self.threshold = threshold
        self.n_tasks = dict(n_tasks or {})
        self.aggregate = aggregate
        self.alpha, self.eps = alpha, eps
        self.warm_fraction, self.step_fraction = warm_fraction, step_fraction
        self._jobs: dict[str, _Job] = {}

    def update(self, events: Iterable[Event]) -> list[Speculation]:
        """Take events in time order and return new advice; each task is named once.

        Parameters
        ----------
        events : iterable of mapping
            ``type`` (``task_start``, ``task_progress``, ``task_end``), ``time`` [s], ``job``,
            ``task``, ``features`` (name to number; none at the start) and, at the end,
            ``status``: ``failed`` and ``killed`` tasks leave without a latency.

        Raises
        ------
        ValueError
            For an unknown type, a task id that starts twice, an event of an unknown task, time
            running backwards, or features that change their names.
        """
        advice: list[Speculation] = []
        due: dict[str, float] = {}
        for event in events:
            job = self._jobs.setdefault(str(event["job"]), _Job(str(event["job"]), self.aggregate))
            # A prediction waits for all events of its moment.
            for name in [name for name, time in due.items() if time < event["time"]]:
                advice += self._predict(self._jobs[name], due.pop(name))
            job.take(event)
            if event["type"] == "task_end" and len(job.latencies) >= self._next_count(job):
                due[job.name] = event["time"]
        for name, time in due.items():
            advice += self._predict(self._jobs[name], time)
        return advice

    def _next_count(self, job: _Job) -> int:
        n = self.n_tasks.get(job.name, len(job.tasks))
        first = max(2, int(np.ceil(self.warm_fraction * n)))
        step = max(1, round(self.step_fraction * n))
        return first if job.checked == 0 else job.checked + step - (job.checked - first) % step

    def _predict(self, job: _Job, time: float) -> list[Speculation]:
        job.checked = len(job.latencies)
        running = [task for task in job.tasks.values() if task.runs and task.features is not None]
        latencies = np.array(job.latencies)
        elapsed = np.array([task.elapsed for task in running])
        tau = self._threshold(job, latencies, elapsed)
        inside = elapsed < tau
        running = [task for task, keep in zip(running, inside, strict=True) if keep]
        if not running or not np.isfinite(tau):
            return []
        model = job.model = job.model or NURDClassifier(alpha=self.alpha, eps=self.eps)
        model.set_params(threshold=tau)
        rows = np.array([task.features for task in running])
        model.partial_fit(np.array(job.finished), latencies, rows)
        scores = model.decision_function(rows, elapsed[inside])
        new = [(t, s) for t, s in zip(running, scores, strict=True) if s >= 1 and not t.flagged]
        return [_advise(job.name, task, time, float(score), tau) for task, score in new]

    def _threshold(self, job: _Job, finished: np.ndarray, elapsed: np.ndarray) -> float:
        if isinstance(self.threshold, Mapping):
            if job.name not in self.threshold:
                raise ValueError(f"no threshold for job {job.name!r}; known: {[*self.threshold]}")
            return float(self.threshold[job.name])
        if self.threshold == "kaplan_meier":
            return kaplan_meier_quantile(finished, elapsed)
        return float(self.threshold)


@dataclass
class _Task:
    name: Any
    begun: float
    seen: float
    elapsed: float = 0.0
    total: np.ndarray | None = None
    features: np.ndarray | None = None
    runs: bool = True
    flagged: bool = False

    def observe(self, time: float, values: np.ndarray, aggregate: str) -> None:
        length = time - self.seen
        self.seen, self.elapsed = time, self.elapsed + length
        if aggregate == "last":
            self.features = values
            return
        weighted = length * values
        self.total = weighted if self.total is None else self.total + weighted
        self.features = self.total / self.elapsed if self.elapsed > 0 else values


@dataclass
class _Job:
    name: str
    aggregate: str
    tasks: dict[Any, _Task] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    latencies: list[float] = field(default_factory=list)
    finished: list[np.ndarray] = field(default_factory=list)
    model: NURDClassifier | None = None
    checked: int = 0
    now: float = -np.inf

    def take(self, event: Event) -> None:
        kind, time, name = event["type"], float(event["time"]), event["task"]
        if kind not in EVENT_TYPES:
            raise ValueError(f"event type {kind!r}: allowed are {EVENT_TYPES}")
        if not time >= self.now:
            raise ValueError(f"job {self.name}, task {name}: time runs back to {time} s")
        self.now = time
        if kind == "task_start":
            if name in self.tasks:
                raise ValueError(f"job {self.name}: duplicate task id {name!r}")
            self.tasks[name] = _Task(name, time, time)
            return
        task = self.tasks.get(name)
        if task is None or not task.runs:
            raise ValueError(f"job {self.name}: {kind} of task {name!r}, which is not running")
        if event.get("features"):
            task.observe(time, self._values(event["features"], name), self.aggregate)
        if kind == "task_end":
            task.runs = False
            if event.get("status", "success") == "success" and task.features is not None:
                self.latencies.append(max(task.elapsed, time - task.begun))
                self.finished.append(task.features)

    def _values(self, features: Mapping[str, float], task: Any) -> np.ndarray:
        columns = tuple(sorted(features))
        self.columns = self.columns or columns
        if columns != self.columns:
            missing, extra = set(self.columns) - set(columns), set(columns) - set(self.columns)
            raise ValueError(
                f"job {self.name}, task {task}: features changed "
                f"(missing {sorted(missing)}, new {sorted(extra)})"
            )
        return np.array([features[name] for name in self.columns], dtype=float)


def _advise(job: str, task: _Task, time: float, score: float, tau: float) -> Speculation:
    task.flagged = True
    lead = tau - task.elapsed
    reason = (
        f"task {task.name} of {job}: adjusted latency {score * tau:.4g} s reaches the threshold "
        f"{tau:.4g} s after {task.elapsed:.4g} s of running"
    )
    return Speculation(job, task.name, time, score, task.elapsed, lead, reason)
