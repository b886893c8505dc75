import itertools
from dataclasses import replace

import numpy as np
import pytest

from projects.nurd.evaluation import run_method
from projects.nurd.generator import generate_job
from projects.nurd.methods import NURD
from projects.nurd.monitor import StragglerMonitor
from projects.nurd.protocol import Protocol


def events_of(job):
    """A job's records as a stream: a record is known when it ends."""
    events = []
    for i, task in enumerate(job.tasks.tolist()):
        rows = range(job.first[i], job.first[i + 1])
        base = {"job": job.name, "task": task}
        events.append({"type": "task_start", "time": job.start[rows[0]], **base})
        for row in rows:
            kind = "task_end" if row == rows[-1] else "task_progress"
            seen = dict(zip(job.features, job.usage[row], strict=True))
            events.append({"type": kind, "time": job.end[row], **base, "features": seen})
    order = {"task_start": 0, "task_progress": 1, "task_end": 2}
    return sorted(events, key=lambda event: (event["time"], order[event["type"]]))


@pytest.fixture(scope="module")
def job():
    """Records that follow one another without gaps, so that event times give their lengths."""
    job = generate_job(np.random.default_rng(5), "far-tail", n=150, name="made")
    # The monitor sorts features by name; draws between equal splits depend on their order.
    order = np.argsort(job.features)
    names = tuple(job.features[i] for i in order)
    return replace(job, features=names, usage=job.usage[:, order])


def watch(job, **options):
    return StragglerMonitor(job.threshold(), n_tasks={job.name: job.n}, **options)


def test_the_stream_flags_what_the_replay_flags(job):
    advice = watch(job).update(events_of(job))
    outcome = run_method(job, NURD(), Protocol())
    streamed = {item.task: item.time for item in advice}
    replayed = {job.tasks[i]: outcome.flag_time[i] for i in np.flatnonzero(outcome.flagged)}
    assert len(advice) == len(streamed) > 0
    # Both sum the same records in another order: a score within rounding of 1 may fall either way.
    assert streamed.keys() == replayed.keys()
    assert list(streamed.values()) == pytest.approx([replayed[task] for task in streamed])


def test_advice_explains_itself(job):
    for item in watch(job).update(events_of(job)):
        assert item.score >= 1 and item.lead > 0
        assert item.lead == pytest.approx(job.threshold() - item.elapsed)
        assert str(item.task) in item.reason and "threshold" in item.reason


def test_small_updates_equal_one_big_one(job):
    events = events_of(job)
    monitor, advice = watch(job), []
    times = [event["time"] for event in events]
    cuts = [0, *(i for i in range(1, len(events)) if times[i] > times[i - 1]), len(events)]
    for a, b in itertools.pairwise(cuts):
        advice += monitor.update(events[a:b])
    assert advice == watch(job).update(events)


def test_a_history_per_job_and_a_job_without_one(job):
    by_name = StragglerMonitor({"made": job.threshold()}, n_tasks={"made": job.n})
    assert by_name.update(events_of(job)) == watch(job).update(events_of(job))
    with pytest.raises(ValueError, match="no threshold for job 'made'; known: \\['other'\\]"):
        StragglerMonitor({"other": 1.0}).update(events_of(job))


def test_the_censored_threshold_flags_nothing_before_it_is_known(job):
    own = StragglerMonitor("kaplan_meier", n_tasks={job.name: job.n}).update(events_of(job))
    # Its 90th percentile is finite once nine tenths have finished or outlived it, not before.
    ordered = np.sort([event["time"] for event in events_of(job) if event["type"] == "task_end"])
    assert all(item.time >= ordered[int(0.85 * job.n)] for item in own)


def start(task, time=0.0):
    return {"type": "task_start", "time": time, "job": "j", "task": task}


def step(kind, task, time, **more):
    event = {"type": kind, "time": time, "job": "j", "task": task, "features": {"x": 1.0, "y": 2.0}}
    return {**event, **more}


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([start(1), start(1)], "task 1: duplicate task id"),
        ([step("task_progress", 7, 1.0)], "task 7: task_progress of a task that is not running"),
        ([start(1), step("task_end", 1, 1.0), step("task_end", 1, 2.0)], "not running"),
        ([start(1, 5.0), step("task_end", 1, 4.0)], "task 1: time goes from 5.0 s to 4.0 s"),
        ([start(1), step("task_progress", 1, float("nan"))], "time goes from 0.0 s to nan s"),
        ([start(1), step("task_crash", 1, 1.0)], "event type 'task_crash': allowed are"),
        (
            [
                start(1),
                step("task_progress", 1, 1.0),
                step("task_progress", 1, 2.0, features={"x": 1.0, "z": 1.0}),
            ],
            r"features changed \(missing \['y'\], new \['z'\]\)",
        ),
    ],
)
def test_bad_events(events, message):
    with pytest.raises(ValueError, match=message):
        StragglerMonitor(10.0).update(events)


@pytest.mark.parametrize("status", ["failed", "killed"])
def test_a_task_that_did_not_succeed_teaches_nothing(status):
    monitor = StragglerMonitor(10.0)
    events = [start(i) for i in range(30)]
    events += [step("task_end", i, 1.0 + i / 30, status=status) for i in range(29)]
    assert monitor.update(events) == []
    assert monitor._jobs["j"].latencies == []


@pytest.mark.parametrize("threshold", [0, -1.0, float("nan"), float("inf"), "median"])
def test_bad_thresholds(threshold):
    with pytest.raises(ValueError, match="threshold="):
        StragglerMonitor(threshold)
