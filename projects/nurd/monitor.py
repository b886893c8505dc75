"""StragglerMonitor: NURD on a live stream of task events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from projects.nurd.estimator import NURDClassifier
from projects.nurd.thresholds import check_threshold, kaplan_meier_quantile
from projects.nurd.weighting import check_calibration

Event = Mapping[str, Any]
EVENT_TYPES = ("task_start", "task_progress", "task_end")
EVENT_KEYS = ("type", "time", "job", "task")
STATUSES = ("success", "failed", "killed")


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
        90th percentile. That is infinite until nine tenths have finished or outlived it, so it
        gives advice only on tasks that started later than those: none where all start together.
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

    Notes
    -----
    A task's latency and running time are counted from its start event, pauses included, and a
    record reaches back to the event before it. On tasks without pauses between their records,
    the advice is that of a replay under ``leak_free`` of the same features in alphabetical order
    (draws between equally good splits depend on the order of the columns).

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
    >>> advice = StragglerMonitor(threshold=2.5).update(events)
    >>> sorted(item.task for item in advice)
    [36, 37, 38, 39]
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
        if isinstance(threshold, Mapping):
            for value in threshold.values():
                check_threshold(value)
        elif not isinstance(threshold, str):
            check_threshold(threshold)
        elif threshold != "kaplan_meier":
            raise ValueError(f"threshold={threshold!r}: a number, a mapping or 'kaplan_meier'")
        check_calibration(alpha, eps)
        self.threshold = threshold
        self.n_tasks = dict(n_tasks or {})
        self.aggregate = aggregate
        self.alpha, self.eps = alpha, eps
        self.warm_fraction, self.step_fraction = warm_fraction, step_fraction
        self._jobs: dict[str, _Job] = {}
        # Kept here, so that an event that raises takes no advice with it.
        self._due: dict[str, float] = {}
        self._advice: list[Speculation] = []

    def update(self, events: Iterable[Event]) -> list[Speculation]:
        """Take events in time order and return new advice; each task is named once.

        A prediction waits for the other events of its moment, but not beyond the end of the call:
        pass what happened at one time in one call.

        Parameters
        ----------
        events : iterable of mapping
            ``type`` (``task_start``, ``task_progress``, ``task_end``), ``time`` [s], ``job``,
            ``task``, ``features`` (name to number; none at the start) and, at the end,
            ``status``: ``failed`` and ``killed`` tasks leave without a latency.

        Raises
        ------
        ValueError
            For an unknown type or status, a task id that starts twice, an event of an unknown
            task, time running backwards, features that change their names or are no numbers.
            Events before the one at fault have been taken; the next call returns their advice.
        """
        for event in events:
            if missing := [key for key in EVENT_KEYS if key not in event]:
                raise ValueError(f"event without {missing}: {dict(event)}")
            job = self._job(str(event["job"]))
            for name in [name for name, time in self._due.items() if time < event["time"]]:
                self._predict(name)
            job.take(event)
            if event["type"] == "task_end" and len(job.latencies) >= self._next_count(job):
                self._due[job.name] = float(event["time"])
        for name in list(self._due):
            self._predict(name)
        advice, self._advice = self._advice, []
        return advice

    def _job(self, name: str) -> _Job:
        if name not in self._jobs:
            if isinstance(self.threshold, Mapping) and name not in self.threshold:
                raise ValueError(f"no threshold for job {name!r}; known: {[*self.threshold]}")
            self._jobs[name] = _Job(name, self.aggregate)
        return self._jobs[name]

    def _next_count(self, job: _Job) -> int:
        n = self.n_tasks.get(job.name, len(job.tasks))
        first = max(2, int(np.ceil(self.warm_fraction * n)))
        step = max(1, round(self.step_fraction * n))
        return first if job.checked == 0 else job.checked + step - (job.checked - first) % step

    def _predict(self, name: str) -> None:
        job, time = self._jobs[name], self._due.pop(name)
        job.checked = len(job.latencies)
        tau = self._threshold(job, time)
        # A task that has run for tau is a straggler by definition: nothing is left to predict.
        running = [task for task in job.running() if time - task.begun < tau]
        running = [task for task in running if task.features is not None]
        if not running or not np.isfinite(tau):
            return
        model = job.model = job.model or NURDClassifier(alpha=self.alpha, eps=self.eps)
        model.set_params(threshold=tau)
        rows = np.array([task.features for task in running])
        model.partial_fit(np.array(job.finished), np.array(job.latencies), rows)
        scores = model.decision_function(rows, np.array([time - task.begun for task in running]))
        for task, score in zip(running, scores.tolist(), strict=True):
            if score >= 1 and not task.flagged:
                task.flagged = True
                self._advice.append(_advise(name, task, time, score, tau))

    def _threshold(self, job: _Job, time: float) -> float:
        if isinstance(self.threshold, Mapping):
            return float(self.threshold[job.name])
        if isinstance(self.threshold, str):
            elapsed = np.array([time - task.begun for task in job.running()])
            return kaplan_meier_quantile(np.array(job.latencies), elapsed)
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

    def running(self) -> list[_Task]:
        return [task for task in self.tasks.values() if task.runs]

    def take(self, event: Event) -> None:
        """Check an event, then take it: one that raises leaves the job as it was."""
        kind, time, name = event["type"], float(event["time"]), event["task"]
        where = f"job {self.name}, task {name!r}"
        if kind not in EVENT_TYPES:
            raise ValueError(f"{where}: event type {kind!r}: allowed are {EVENT_TYPES}")
        if not (time >= self.now and np.isfinite(time)):
            raise ValueError(f"{where}: time goes from {self.now} s to {time} s")
        task = self.tasks.get(name)
        if kind == "task_start":
            if task is not None:
                raise ValueError(f"{where}: duplicate task id, it has started before")
            self.now, self.tasks[name] = time, _Task(name, time, time)
            return
        if task is None or not task.runs:
            raise ValueError(f"{where}: {kind} of a task that is not running")
        status = event.get("status", "success")
        if status not in STATUSES:
            raise ValueError(f"{where}: status {status!r}: allowed are {STATUSES}")
        values = self._values(event["features"], where) if event.get("features") else None
        self.now = time
        if values is not None:
            task.observe(time, values, self.aggregate)
        if kind == "task_end":
            task.runs = False
            if status == "success" and task.features is not None:
                self.latencies.append(time - task.begun)
                self.finished.append(task.features)

    def _values(self, features: Mapping[str, float], where: str) -> np.ndarray:
        names = tuple(sorted(features))
        if self.columns and names != self.columns:
            missing, extra = set(self.columns) - set(names), set(names) - set(self.columns)
            raise ValueError(
                f"{where}: features changed (missing {sorted(missing)}, new {sorted(extra)})"
            )
        values = np.array([features[name] for name in names], dtype=float)
        if not np.isfinite(values).all():
            bad = [names[i] for i in np.flatnonzero(~np.isfinite(values))]
            raise ValueError(f"{where}: features {bad} are not finite numbers")
        self.columns = names
        return values


def _advise(job: str, task: _Task, time: float, score: float, tau: float) -> Speculation:
    elapsed = time - task.begun
    reason = (
        f"task {task.name} of {job}: adjusted latency {score * tau:.4g} s reaches the threshold "
        f"{tau:.4g} s after {elapsed:.4g} s of running"
    )
    return Speculation(job, task.name, time, score, elapsed, tau - elapsed, reason)
