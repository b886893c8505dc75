"""What a checkpoint shows must not depend on what happens later; and two protocols where it does.

The future is forgotten (records dropped, latencies unknown) or falsified; flags and scores up to
the moment must stay the same to the last bit.
"""

from dataclasses import replace as changed

import numpy as np
import pytest

from projects.nurd.generator import generate_job
from projects.nurd.job import NotEnoughData
from projects.nurd.methods import NURD
from projects.nurd.protocol import Protocol, finish_times, replay

LEAK_FREE = Protocol()
SHARES = (0.1, 0.4, 0.8)


def generated(make_series, make_static):
    rng = np.random.default_rng(3)
    return {
        "far tail": generate_job(rng, "far-tail", 120),
        "near tail": generate_job(rng, "near-tail", 120),
        "starts apart": make_series(),
        "gaps": make_series(gaps=True),
        "nested": make_series(nested=True),
        "static": make_static(),
    }


NAMES = ("far tail", "near tail", "starts apart", "gaps", "nested", "static")


@pytest.fixture(params=NAMES)
def job(request, make_series, make_static):
    return generated(make_series, make_static)[request.param]


def trace(job, protocol, threshold, until=np.inf):
    """(time, tasks, scores) of every checkpoint up to a moment."""
    method, seen = NURD(), []
    for checkpoint in replay(job, protocol, threshold):
        if checkpoint.time > until:
            break
        scores = method(checkpoint)
        seen.append((checkpoint.time, checkpoint.running, checkpoint.elapsed, scores))
    return seen


def assert_same(ours, theirs):
    assert len(ours) == len(theirs) > 0
    for a, b in zip(ours, theirs, strict=True):
        assert a[0] == b[0]
        for x, y in zip(a[1:], b[1:], strict=True):
            assert np.array_equal(x, y)


def forgetting(job, time):
    return job.truncated(job.end <= time, finish_times(job) <= time)


def falsified(job, time, rng):
    """Other usage in every record that ends later, other latencies of all that finish later."""
    usage = job.usage.copy()
    later = job.end > time
    usage[later] = rng.normal(1e3, 1e3, usage[later].shape)
    open_ = finish_times(job) > time
    stretch = 1.0 + rng.uniform(1, 2, job.n)
    latency = np.where(open_, job.latency * stretch, job.latency)
    # Only what begins later is moved: the record under way has begun already.
    end = job.end.copy()
    last = job.first[1:] - 1
    if not job.static:
        end[last] = np.where(open_, end[last] + latency - job.latency, end[last])
    return changed(job, usage=usage, latency=latency, end=end)


def check(job, rng):
    threshold = job.threshold()
    whole = trace(job, LEAK_FREE, threshold)
    assert any((scores >= 1).any() for *_, scores in whole), "a trace without a flag proves little"
    for share in SHARES:
        time = whole[int(share * len(whole))][0]
        before = [row for row in whole if row[0] <= time]
        assert_same(before, trace(forgetting(job, time), LEAK_FREE, threshold))
        assert_same(before, trace(falsified(job, time, rng), LEAK_FREE, threshold, until=time))


def test_the_future_changes_nothing(job):
    check(job, np.random.default_rng(0))


@pytest.mark.data
@pytest.mark.parametrize("name", ["6308689702", "6343048076"])
def test_the_future_changes_nothing_on_real_jobs(google, name):
    check(google(name), np.random.default_rng(0))


def test_forgetting_between_two_checkpoints(make_series):
    """Not only at the moments at which something finishes."""
    job = make_series()
    whole = trace(job, LEAK_FREE, job.threshold())
    time = (whole[5][0] + whole[6][0]) / 2
    assert_same(whole[:6], trace(forgetting(job, time), LEAK_FREE, job.threshold()))


def test_every_shown_value_has_happened(job):
    done_at = finish_times(job)
    for checkpoint in replay(job, LEAK_FREE):
        assert (done_at[checkpoint.finished] <= checkpoint.time).all()
        assert (done_at[checkpoint.running] > checkpoint.time).all()
        assert (checkpoint.elapsed < checkpoint.threshold).all()


# -- the same checks find the look-ahead of the other protocols -----------------------------


def with_longer_last_records(job):
    """All stragglers run on for longer: nothing about their earlier records changes."""
    slow = job.stragglers()
    last = job.first[1:][slow] - 1
    end, latency = job.end.copy(), job.latency.copy()
    end[last] += 100.0
    latency[slow] += 100.0
    return changed(job, end=end, latency=latency)


def first_features(job, protocol, threshold):
    checkpoint = next(replay(job, protocol, threshold))
    # As scaled by the protocol: the scaling is part of what a method is shown.
    return checkpoint.X_running


def test_authors_show_the_final_latency_early(make_series):
    job = make_series()
    longer = with_longer_last_records(job)
    assert longer.threshold() == job.threshold() + 100.0
    threshold = job.threshold()
    for name, equal in (("authors", False), ("warm_start", True), ("leak_free", True)):
        ours, theirs = (first_features(j, Protocol(name), threshold) for j in (job, longer))
        assert np.array_equal(ours, theirs) is equal, name


def test_authors_scale_by_future_usage(make_series):
    """Ten times the usage after the first three records of every straggler."""
    job = make_series()
    order = np.arange(len(job.end)) - np.repeat(job.first[:-1], job.records())
    future = (order > 2) & np.repeat(job.stragglers(), job.records())
    other = changed(job, usage=np.where(future[:, None], 10 * job.usage, job.usage))
    for name, equal in (("authors", False), ("warm_start", True)):
        # A quarter of the tasks to train on: a model of two hardly looks at its features.
        protocol = Protocol(name, warm_fraction=0.25)
        ours, theirs = (trace(j, protocol, job.threshold())[0] for j in (job, other))
        assert np.array_equal(ours[1], theirs[1])
        assert np.array_equal(ours[3], theirs[3]) is equal, name


def test_warm_start_counts_tasks_as_finished_that_are_not(make_series):
    """At its first checkpoint the fastest tasks run on by the clock of the records."""
    job = make_series(length=5.0)
    checkpoint = next(replay(job, Protocol("warm_start")))
    # Record k = 2 of a running task ends 15 s after its start; nobody has finished by then.
    assert checkpoint.elapsed.max() <= 15.0 + 1e-9
    assert job.latency[checkpoint.finished].min() > 15.0 + 1e-9


@pytest.mark.parametrize("name", ["authors", "warm_start"])
def test_a_truncated_job_cannot_be_replayed_in_records(make_series, name):
    job = make_series()
    cut = forgetting(job, float(np.quantile(finish_times(job), 0.3)))
    whole = trace(job, Protocol(name), job.threshold())
    # They need every latency: without one, nothing is left of the stragglers' checkpoints.
    seen = trace(cut, Protocol(name), job.threshold())
    assert len(seen) < len(whole)
    with pytest.raises(NotEnoughData, match="have not finished"):
        next(replay(cut, Protocol(name)))
