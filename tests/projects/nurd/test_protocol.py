"""Replays: what a checkpoint shows, and that under ``leak_free`` it shows nothing of the future."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from projects.nurd.job import Job, NotEnoughData
from projects.nurd.methods import NURD
from projects.nurd.protocol import (
    Protocol,
    checkpoint_times,
    completion_times,
    finish_times,
    split,
)
from projects.nurd.protocol import replay as replay_job

FIELDS = ("finished", "running", "X_finished", "y_finished", "X_running", "elapsed", "moment")


def replay(job, protocol, threshold=None):
    return list(replay_job(job, protocol, threshold))


# -- one small job by hand -----------------------------------------------------------------


@pytest.fixture
def by_hand():
    """Task i starts at 0 and ends after 10 (i + 1) s; a record every 10 s holds its number k.

    The last task pauses from 190 s to 290 s.
    """
    rows = [
        (i, 10.0 * k + 100.0 * (k == 19), 10.0 * (k + 1) + 100.0 * (k == 19), float(k), 1.0)
        for i in range(20)
        for k in range(i + 1)
    ]
    frame = pd.DataFrame(rows, columns=["task", "start", "end", "u", "one"])
    return Job.from_records(frame, name="by hand", features=("u", "one"))


def test_checkpoints_in_time_by_hand(by_hand):
    # 4 % of 20 is less than the two tasks that are needed; 2 % is one task.
    seen = replay(by_hand, Protocol(), threshold=1000.0)
    assert [c.time for c in seen] == [10.0 * (i + 1) for i in range(1, 19)]
    second = seen[1]
    assert second.finished.tolist() == [0, 1, 2]
    assert second.running.tolist() == list(range(3, 20))
    assert second.y_finished.tolist() == [10.0, 20.0, 30.0]
    assert (second.elapsed == 30.0).all()
    assert (second.moment == 30.0).all()
    assert second.n == 20
    # Mean record numbers so far are 0, 0.5 and 1 s; the range seen is [0, 1], "one" is constant.
    assert second.X_finished.tolist() == [[0.0, 0.0], [0.5, 0.0], [1.0, 0.0]]
    assert (second.X_running == [1.0, 0.0]).all()


def test_a_straggler_by_definition_is_no_longer_predicted(by_hand):
    seen = replay(by_hand, Protocol(), threshold=95.0)
    assert max(c.time for c in seen) == 90.0
    assert all((c.elapsed < 95.0).all() for c in seen)


def test_elapsed_goes_on_after_the_last_record(by_hand):
    late = [replace(by_hand, end=by_hand.end + 5.0 * (np.arange(len(by_hand.end)) % 2))]
    for checkpoint in replay(late[0], Protocol(), threshold=1000.0):
        assert (checkpoint.elapsed >= checkpoint.time - 15.0).all()
    # The last task has run 190 s at 190 s, and nobody can know yet that it pauses.
    last = replay(by_hand, Protocol(), threshold=1000.0)[-1]
    assert (last.time, last.elapsed.tolist()) == (190.0, [190.0])


def test_elapsed_is_never_less_than_the_true_running_time(make_series):
    """Else a task flagged after tau would count as caught in time."""
    for job in (make_series(), make_series(gaps=True)):
        start, seen = job.start[job.first[:-1]], 0
        for checkpoint in replay(job, Protocol()):
            for task, elapsed in zip(checkpoint.running, checkpoint.elapsed, strict=True):
                rows = slice(job.first[task], job.first[task + 1])
                ran = np.clip(checkpoint.time - job.start[rows], 0, job.end[rows] - job.start[rows])
                assert elapsed >= ran.sum() - 1e-9
                assert elapsed <= checkpoint.time - start[task] + 1e-9
                seen += 1
        assert seen > 100


def test_a_task_without_a_record_is_not_shown(by_hand):
    """Task 19 has one long record: nothing is known of it before that ends."""
    keep = np.ones(len(by_hand.end), dtype=bool)
    keep[by_hand.first[19] : by_hand.first[20] - 1] = False
    job = by_hand.truncated(keep, np.ones(20, dtype=bool))
    assert not any(19 in c.running for c in replay(job, Protocol(), threshold=1000.0))
    assert split(job, Protocol()).test[19]


def test_records_by_hand(by_hand):
    """K = 20 records, so k = 2 .. 18; the two fastest count as finished from the start."""
    seen = replay(by_hand, Protocol("warm_start"))
    assert [c.time for c in seen] == list(range(2, 19))
    first = seen[0]
    assert first.finished.tolist() == [0, 1]
    assert first.running.tolist() == list(range(2, 20))
    assert (first.elapsed == 30.0).all()
    assert np.array_equal(first.elapsed, first.moment)
    # Task 2 has 3 records: it is looked at once, at k = 2, and then trained on.
    assert seen[1].finished.tolist() == [0, 1, 2]
    assert seen[1].running.tolist() == list(range(3, 20))


def test_authors_divide_by_the_final_duration(by_hand):
    """At k = 2 of task i: (0 + 1 + 2) 10 s over its final 10 (i + 1) s, scaled by the final means.

    The final mean of task i is i / 2, so the range of "u" is [0, 9.5]; "one" ends as 1 everywhere.
    """
    first = replay(by_hand, Protocol("authors"))[0]
    expected = np.array([3 / (i + 1) / 9.5 for i in range(2, 20)])
    assert first.X_running[:, 0] == pytest.approx(expected)
    assert (first.X_running[:, 1] == 0).all()
    assert first.X_finished[:, 0] == pytest.approx([0.0, 0.5 / 9.5])


@pytest.mark.parametrize("name", ["leak_free", "warm_start"])
def test_range_of_sound_scaling(name, make_series):
    for checkpoint in replay(make_series(), Protocol(name)):
        both = np.concatenate([checkpoint.X_finished, checkpoint.X_running])
        assert both.min() >= 0
        assert both.max() <= 1


def test_every_second_checkpoint(make_series):
    job = make_series()
    for name in ("leak_free", "warm_start"):
        times = [c.time for c in replay(job, Protocol(name))]
        assert [c.time for c in replay(job, Protocol(name, every=2))] == times[::2]


# -- checkpoint times and split ------------------------------------------------------------


def test_checkpoint_times_are_shares_of_all_tasks():
    done = np.arange(1.0, 101.0)[np.random.default_rng(0).permutation(100)]
    assert checkpoint_times(done, 100, Protocol()).tolist() == list(range(4, 101, 2))
    done[done > 10] = np.inf
    assert checkpoint_times(done, 100, Protocol()).tolist() == [4, 6, 8, 10]
    done[done > 3] = np.inf
    assert checkpoint_times(done, 100, Protocol()).tolist() == []


def test_ties_finish_together():
    done = np.repeat([1.0, 2.0, 3.0], [30, 30, 40])
    assert checkpoint_times(done, 100, Protocol()).tolist() == [1.0, 2.0, 3.0]


def test_first_checkpoint_divides_training_from_test(make_series, make_static):
    for job in (make_series(), make_static()):
        parts = split(job, Protocol())
        assert np.array_equal(parts.initial, ~parts.test)
        assert parts.initial.sum() == max(2, np.ceil(0.04 * job.n))
        assert parts.dropped == 0
        for checkpoint in replay(job, Protocol()):
            assert parts.test[checkpoint.running].all()


@pytest.mark.parametrize("name", ["warm_start", "authors"])
def test_a_small_job_has_two_tasks_to_start_from(name, make_series):
    parts = split(make_series(n=20), Protocol(name))
    assert parts.initial.sum() == 2
    assert replay(make_series(n=20), Protocol(name))


def test_cleaning_by_its_definition(make_series):
    job = make_series()
    raw, clean = (split(job, Protocol("authors", clean=value)) for value in (False, True))
    slow, count = job.stragglers(), job.records()
    few = slow & (count < count[raw.test & slow].mean() - 1)
    many = ~slow & (count > count[raw.test & ~slow].mean() + 1)
    assert np.array_equal(clean.test, raw.test & ~few & ~many)
    assert clean.dropped == (raw.test & (few | many)).sum() > 0


def test_static_jobs_are_replayed_in_time_under_any_name(make_static):
    job = make_static()
    expected = replay(job, Protocol())
    assert expected[0].elapsed[0] == expected[0].time == np.sort(job.latency)[2]
    for name in ("warm_start", "authors"):
        for ours, theirs in zip(expected, replay(job, Protocol(name)), strict=True):
            assert all(np.array_equal(getattr(ours, f), getattr(theirs, f)) for f in FIELDS)
        assert np.array_equal(completion_times(job, Protocol(name)), job.latency)


def test_clocks_of_completion(make_series):
    job = make_series(gaps=True)
    ends = [job.end[job.first[i] : job.first[i + 1]].max() for i in range(job.n)]
    assert completion_times(job, Protocol()).tolist() == ends
    assert np.array_equal(completion_times(job, Protocol("authors")), job.latency)
    for name in ("leak_free", "warm_start", "authors"):
        finish = completion_times(job, Protocol(name))
        for checkpoint in replay(job, Protocol(name)):
            assert (checkpoint.moment < finish[checkpoint.running] + 1e-9).all()


def test_unfinished_tasks_finish_never(make_series):
    job = make_series()
    finished = job.latency < np.median(job.latency)
    done = finish_times(job.truncated(np.ones(len(job.end), dtype=bool), finished))
    assert np.array_equal(np.isfinite(done), finished)


def test_nothing_to_see_before_anything_has_finished(make_series):
    job = make_series()
    early = job.truncated(job.end <= 20.0, np.zeros(job.n, dtype=bool))
    assert replay(early, Protocol(), threshold=100.0) == []
    with pytest.raises(NotEnoughData):
        replay(early, Protocol())


def test_a_threshold_that_none_reaches_leaves_no_record_to_count(make_series):
    assert replay(make_series(), Protocol("authors"), threshold=1e9) == []


@pytest.mark.parametrize("options", [{"name": "leek_free"}, {"name": "leak_free", "clean": True}])
def test_a_bad_protocol(options):
    with pytest.raises(ValueError, match=r"did you mean 'leak_free'|no part of protocol"):
        Protocol(**options)


# -- no look-ahead on the real jobs (test_leak.py has made ones) ---------------------------


def altered(job, time, seed=1):
    """The same job up to ``time``; later records hold other values and last longer."""
    rng = np.random.default_rng(seed)
    later = job.end > time
    usage, finished = job.usage.copy(), finish_times(job) <= time
    usage[later] = 3.0 + 7.0 * rng.permutation(usage[later])
    end = np.where(later, job.end + rng.exponential(50.0, len(job.end)), job.end)
    return replace(job, usage=usage, end=end, latency=np.where(finished, 1.0, 2.5) * job.latency)


def checkpoints_and_scores(job, threshold, every):
    method = NURD()
    return [(c, method(c)) for c in replay(job, Protocol(every=every), threshold)]


def assert_same(ours, theirs):
    for (one, score), (other, its_score) in zip(ours, theirs, strict=True):
        assert (one.index, one.time) == (other.index, other.time)
        for field in FIELDS:
            assert np.array_equal(getattr(one, field), getattr(other, field)), field
        assert np.array_equal(score, its_score)


def assert_no_look_ahead(job, every=1):
    """Truncating and altering the future change no bit of what is seen and scored before it."""
    threshold = job.threshold()
    full = checkpoints_and_scores(job, threshold, every)
    assert sum((score >= 1).sum() for _, score in full) > 0
    for share in (0.1, 0.4, 0.8):
        last = int(share * (len(full) - 1))
        time = full[last][0].time
        cut = job.truncated(job.end <= time, finish_times(job) <= time)
        assert np.isnan(cut.latency).any()
        assert_same(full[: last + 1], checkpoints_and_scores(cut, threshold, every))
        other = checkpoints_and_scores(altered(job, time), threshold, every)
        assert_same(full[: last + 1], other[: last + 1])


@pytest.mark.data
@pytest.mark.parametrize("name", ["6266469130", "6274140245", "6308689702", "6343048076"])
def test_no_look_ahead_with_a_real_job(name, google):
    assert_no_look_ahead(google(name), every=4)


@pytest.mark.data
def test_no_look_ahead_with_real_static_tasks(mirrored):
    from projects.nurd.data import WORKFLOWS, workflow_job

    assert_no_look_ahead(workflow_job(mirrored(WORKFLOWS)["blast-chameleon-large-001.json"]))


def decisions(job, protocol, threshold, until):
    """Scores by (task, checkpoint) of all that a task has shown ``until`` a time."""
    method, made = NURD(), {}
    for checkpoint in replay(job, protocol, threshold):
        shown = checkpoint.moment
        if protocol.name != "leak_free":
            shown = job.end[job.first[checkpoint.running] + int(checkpoint.time)]
        scores = method(checkpoint)
        for task, score, at in zip(checkpoint.running, scores, shown, strict=True):
            if at <= until:
                made[int(task), checkpoint.index] = float(score)
    return made


def looks_ahead(job, protocol):
    threshold, until = job.threshold(), float(np.quantile(job.end, 0.5))
    before = decisions(job, protocol, threshold, until)
    after = decisions(altered(job, until), protocol, threshold, until)
    shared = before.keys() & after.keys()
    assert len(shared) > 20
    return before.keys() != after.keys() or any(before[key] != after[key] for key in shared)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "expected"), [("leak_free", False), ("warm_start", True), ("authors", True)]
)
def test_the_other_protocols_look_ahead_on_a_real_job(name, expected, google):
    assert looks_ahead(google("6343048076"), Protocol(name)) == expected
