"""The monitor on a stream of events gives the advice of a replay, and refuses broken streams."""

import dataclasses
import itertools

import numpy as np
import pytest

from projects.nurd.estimator import NURDClassifier
from projects.nurd.evaluation import run_method
from projects.nurd.generator import generate_job
from projects.nurd.job import running_sums
from projects.nurd.methods import NURD
from projects.nurd.monitor import StragglerMonitor
from projects.nurd.protocol import Protocol


def event(kind, time, task, features=None, **more):
    values = {} if features is None else {"features": features}
    return {"type": kind, "time": time, "job": "j", "task": task, **values, **more}


def in_time(events):
    """Sorted by time; at equal times what stood first comes first."""
    return sorted(events, key=lambda item: item["time"])


def stream(job):
    """A job's records as events: a record is known when it ends, the last one with its task."""
    events = []
    for i, task in enumerate(job.tasks.tolist()):
        rows = range(job.first[i], job.first[i + 1])
        events.append(event("task_start", float(job.start[rows[0]]), task))
        for r in rows:
            kind = "task_end" if r == rows[-1] else "task_progress"
            values = dict(zip(job.features, job.usage[r].tolist(), strict=True))
            events.append(event(kind, float(job.end[r]), task, values))
    return in_time(events)


def with_sorted_features(job):
    """The monitor sorts features by name; draws between equal splits depend on their order."""
    order = np.argsort(job.features)
    features = tuple(job.features[i] for i in order)
    return dataclasses.replace(job, features=features, usage=job.usage[:, order])


def with_ties(job):
    """Times on a coarse grid: more tasks end at once than a checkpoint waits for."""
    grid = np.median(job.latency) / 30
    start, end = (grid * np.ceil(times / grid) for times in (job.start, job.end))
    latency = running_sums(end - start, job.first)[job.first[1:] - 1]
    return dataclasses.replace(job, start=start, end=end, latency=latency)


JOBS = {
    "far": lambda make_series: generate_job(np.random.default_rng(5), "far-tail", 90),
    "near": lambda make_series: generate_job(np.random.default_rng(6), "near-tail", 90),
    "starts apart": lambda make_series: make_series(n=80),
    "ties": lambda make_series: with_ties(generate_job(np.random.default_rng(5), "far-tail", 120)),
}


@pytest.fixture(scope="module", params=JOBS)
def job(request, make_series):
    return with_sorted_features(JOBS[request.param](make_series))


@pytest.fixture(scope="module")
def advice(job):
    """What the monitor says of the whole stream at once."""
    return monitor(job).update(stream(job))


def monitor(job, **options):
    return StragglerMonitor(job.threshold(), n_tasks={"j": job.n}, **options)


def flag_times(advice):
    assert len({item.task for item in advice}) == len(advice), "a task was named twice"
    return {item.task: item.time for item in advice}


def replayed(job, **options):
    outcome = run_method(job, NURD(**options), Protocol())
    where = np.flatnonzero(outcome.flagged)
    return dict(zip(job.tasks[where].tolist(), outcome.flag_time[where].tolist(), strict=True))


# -- streams of whole jobs -----------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.0, 0.2])
def test_the_stream_flags_what_the_replay_flags(job, alpha):
    expected = replayed(job, alpha=alpha)
    assert len(expected) > 5
    # Event times are summed in another order than lengths of records.
    times = flag_times(monitor(job, alpha=alpha).update(stream(job)))
    assert times == pytest.approx(expected, rel=1e-12)


def test_it_predicts_when_the_replay_does(job, monkeypatch):
    sizes, fit = [], NURDClassifier.partial_fit

    def counting(self, X, y, running):
        sizes.append((len(X), len(running)))
        return fit(self, X, y, running)

    monkeypatch.setattr(NURDClassifier, "partial_fit", counting)
    monitor(job).update(stream(job))
    streamed = sizes.copy()
    sizes.clear()
    replayed(job)
    assert streamed == sizes


@pytest.mark.data
def test_a_real_job_as_a_stream(google):
    """Its records leave no gaps, so that event times say all that the records do."""
    job = with_sorted_features(google("6308689702"))
    expected = replayed(job)
    assert len(expected) > 20
    assert flag_times(monitor(job).update(stream(job))) == pytest.approx(expected)


def test_pauses_count_as_running_time(make_series):
    """Events cannot tell them from running; a replay of records leaves them out."""
    job = make_series(gaps=True)
    watch = monitor(job)
    watch.update(stream(job))
    took = [job.end[a:b].max() - job.start[a] for a, b in itertools.pairwise(job.first)]
    assert np.sort(watch._jobs["j"].latencies) == pytest.approx(np.sort(took))
    assert (np.array(took) > job.latency + 1).any()


def test_small_updates_give_the_advice_of_a_large_one(job, advice):
    events = stream(job)
    watch, parts = monitor(job), []
    for _, moment in itertools.groupby(events, key=lambda item: item["time"]):
        parts += watch.update(moment)
    assert parts == advice
    assert advice


def test_jobs_do_not_disturb_each_other(job, advice):
    twins = [{**item, "job": name} for item in stream(job) for name in ("j", "k")]
    both = StragglerMonitor(job.threshold(), n_tasks={"j": job.n, "k": job.n}).update(twins)
    assert [item for item in both if item.job == "j"] == advice
    other = [dataclasses.replace(item, job="j", reason="") for item in both if item.job == "k"]
    assert other == [dataclasses.replace(item, reason="") for item in advice]


def test_advice_explains_itself(job, advice):
    tau = job.threshold()
    start = dict(zip(job.tasks.tolist(), job.start[job.first[:-1]], strict=True))
    for item in advice:
        assert item.score >= 1
        assert item.elapsed == pytest.approx(item.time - start[item.task])
        assert item.lead == pytest.approx(tau - item.elapsed)
        assert item.lead > 0
        assert f"task {item.task} of j" in item.reason


# -- a small job by hand -------------------------------------------------------------------

TAU = 2.3


def seen(load, i=0):
    return {"load": load, "noise": float(np.cos(7 * i))}


def small(more=()):
    """Forty tasks start at 0; 36 carry loads of 1 to 2 and end after as many seconds, 4 carry 6."""
    events = [event("task_start", 0.0, i) for i in range(40)]
    for i, load in enumerate([*np.linspace(1, 2, 36).tolist(), 6.0, 6.0, 6.0, 6.0]):
        events.append(event("task_progress", 0.5, i, seen(load, i)))
        if load < 6:
            events.append(event("task_end", load, i, seen(load, i)))
    return in_time([*events, *more])


def advise(events, threshold=TAU, n=40):
    return StragglerMonitor(threshold, n_tasks={"j": n}).update(events)


def test_the_small_job_has_four_stragglers():
    assert {item.task for item in advise(small())} == {36, 37, 38, 39}


def test_an_unknown_number_of_tasks_is_counted_as_they_start():
    assert StragglerMonitor(TAU).update(small()) == advise(small())


def test_failed_and_killed_tasks_leave_without_a_latency():
    # In the training set they would be fast ones of a high load.
    begin = [event("task_start", 0.0, name) for name in ("a", "b")]
    begin += [event("task_progress", 0.5, name, seen(6.0)) for name in ("a", "b")]
    ends = [event("task_end", 0.6, name, seen(6.0)) for name in ("a", "b")]
    lost = [{**ends[0], "status": "failed"}, {**ends[1], "status": "killed"}]
    assert advise(small([*begin, *lost])) == advise(small())
    assert advise(small([*begin, *ends])) != advise(small())


def test_features_are_time_weighted_means_or_the_latest_values():
    """One second at load 1, then three at load 5: mean 4, last 5."""
    events = [event("task_start", 0.0, i) for i in range(4)]
    events += [event("task_progress", 1.0, 3, {"load": 1.0})]
    events += [event("task_progress", 4.0, 3, {"load": 5.0})]
    events += [event("task_end", 4.0 + i, i, {"load": float(i)}) for i in range(3)]
    for aggregate, value in (("mean", 4.0), ("last", 5.0)):
        watch = StragglerMonitor(1e3, aggregate=aggregate)
        watch.update(events)
        finished, running = np.arange(2.0)[:, None], np.array([[value]])
        expected = NURDClassifier(1e3).fit(finished, [4.0, 5.0], running)
        assert watch._jobs["j"].model.rho_ == pytest.approx(expected.rho_)


def test_tasks_that_have_run_for_the_threshold_are_not_named():
    assert max(item.time for item in advise(small())) > 1.2
    assert all(item.time < 1.2 for item in advise(small(), 1.2))


def test_each_task_is_named_once():
    watch = StragglerMonitor(TAU, n_tasks={"j": 40})
    events = small()
    named = [item.task for one in (events[:-9], events[-9:], []) for item in watch.update(one)]
    assert len(named) == len(set(named)) >= 4


def test_kaplan_meier_names_nobody_while_all_started_together():
    """Once nine tenths have finished, the others have outlived them."""
    assert not advise(small(), "kaplan_meier")


def test_kaplan_meier_names_tasks_that_started_later():
    late = [event("task_start", 0.9, f"late {i}") for i in range(3)]
    late += [event("task_progress", 1.0, f"late {i}", seen(6.0)) for i in range(3)]
    late += [event("task_end", t, i, seen(6.0)) for i, t in ((36, 2.01), (37, 2.02))]
    named = {item.task for item in advise(small(late), "kaplan_meier", n=43)}
    assert named == {"late 0", "late 1", "late 2"}


def test_one_threshold_per_job():
    with pytest.raises(ValueError, match=r"no threshold for job 'j'; known: \['other'\]"):
        advise(small(), {"other": TAU})
    assert advise(small(), {"j": TAU}) == advise(small())


# -- refused -------------------------------------------------------------------------------

BEGUN = [
    event("task_start", 0.0, 0),
    event("task_start", 1.0, 1),
    event("task_progress", 2.0, 0, {"cpu": 1.0, "io": 2.0}),
    event("task_end", 3.0, 1, {"cpu": 1.0, "io": 2.0}),
]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (event("task_start", 4.0, 0), "job j, task 0: duplicate task id"),
        (event("task_start", 4.0, 1), "job j, task 1: duplicate task id"),
        (event("task_progress", 4.0, 7, {}), "job j, task 7: task_progress of a task that is not"),
        (event("task_end", 4.0, 1), "job j, task 1: task_end of a task that is not running"),
        (event("task_end", 2.5, 0), r"task 0: time goes from 3\.0 s to 2\.5 s"),
        (event("task_end", np.nan, 0), "task 0: time goes from"),
        (event("task_end", np.inf, 0), "task 0: time goes from"),
        (event("task_lost", 4.0, 0), "event type 'task_lost': allowed are"),
        (event("task_end", 4.0, 0, status="bored"), "status 'bored': allowed are"),
        (
            event("task_progress", 4.0, 0, {"cpu": 1.0, "net": 1.0}),
            r"features changed \(missing \['io'\], new \['net'\]\)",
        ),
        (
            event("task_progress", 4.0, 0, {"cpu": np.nan, "io": 1.0}),
            r"features \['cpu'\] are not finite",
        ),
        ({"type": "task_end", "time": 4.0}, r"event without \['job', 'task'\]"),
    ],
)
def test_a_bad_event_is_named_and_changes_nothing(bad, message):
    watch = StragglerMonitor(5.0)
    with pytest.raises(ValueError, match=message):
        watch.update([*BEGUN, bad])
    # The job goes on as if the event had not been sent.
    watch.update([event("task_end", 3.0, 0, {"cpu": 1.0, "io": 2.0})])
    assert sorted(watch._jobs["j"].latencies) == [2.0, 3.0]


@pytest.mark.parametrize("end", [1.1, 1.2, 2.0])
def test_a_bad_event_takes_no_advice_with_it(end):
    """Not even that on the last moment, which was still waiting for its other events."""
    events = [item for item in small() if item["time"] <= end]
    watch = StragglerMonitor(TAU, n_tasks={"j": 40})
    with pytest.raises(ValueError, match="duplicate"):
        watch.update([*events, event("task_start", end, 0)])
    assert watch.update([]) == advise(events)


@pytest.mark.parametrize(
    ("threshold", "options"),
    [
        *((bad, {}) for bad in (0, -1.0, np.nan, np.inf, {"j": 0.0}, "median", np.int64(-2))),
        (1.0, {"alpha": 2.0}),
        (1.0, {"eps": 0.0}),
        (1.0, {"aggregate": "max"}),
    ],
)
def test_bad_settings(threshold, options):
    with pytest.raises(ValueError, match=r"threshold=|alpha=|eps=|aggregate="):
        StragglerMonitor(threshold, **options)
