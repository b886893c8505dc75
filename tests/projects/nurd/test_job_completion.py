"""Invariants of the replay with copies, and cases worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projects.nurd.job_completion import oracle_flags, reduction, simulate

NEVER = np.inf
SETTINGS = settings(max_examples=60, deadline=None)


@st.composite
def flagged_jobs(draw):
    """Finish times, flags (some never, some too late), pool and seed."""
    n = draw(st.integers(1, 8))
    # Few distinct times, so that ties and simultaneous events are common.
    times = st.integers(1, 20).map(float)
    finish = np.array(draw(st.lists(times, min_size=n, max_size=n)))
    flag = np.array(draw(st.lists(st.one_of(st.just(NEVER), times), min_size=n, max_size=n)))
    pool = np.array(draw(st.lists(times, min_size=1, max_size=4)))
    return finish, flag, pool, draw(st.integers(0, 99))


@SETTINGS
@given(flagged_jobs(), st.sampled_from([None, 0, 2]), st.sampled_from(["copy", "restart"]))
def test_no_flags_no_change(job, machines, policy):
    finish, flag, pool, seed = job
    run = simulate(finish, flag * NEVER, pool, machines=machines, policy=policy, seed=seed)
    assert run.job_time == finish.max()
    assert (run.copies, run.copy_seconds, run.wasted_seconds) == (0, 0, 0)


@SETTINGS
@given(flagged_jobs(), st.booleans())
def test_no_predictor_beats_its_oracle(job, everything):
    """Free copies: earliest flags of all tasks win outright, of all stragglers among stragglers."""
    finish, flag, pool, seed = job
    flag = np.maximum(flag, 3.0)  # the first checkpoint
    straggler = finish >= np.sort(finish)[int(0.9 * len(finish))]
    meant = np.ones(len(finish), dtype=bool) if everything else straggler
    run = simulate(finish, flag, pool, seed=seed)
    oracle = simulate(finish, oracle_flags(meant, 3.0), pool, seed=seed)
    assert (oracle.completion[meant] <= run.completion[meant]).all()
    assert oracle.job_time <= max(run.job_time, finish[~meant].max(initial=0.0))


@SETTINGS
@given(flagged_jobs(), st.sampled_from(["copies", "all"]))
def test_more_machines_never_hurt(job, freed):
    finish, flag, pool, seed = job

    def run(machines):
        return simulate(finish, flag, pool, machines=machines, freed=freed, seed=seed)

    before = run(0)
    assert before.job_time <= finish.max()
    for machines in range(1, len(finish) + 1):
        now = run(machines)
        assert (now.completion <= before.completion).all()
        assert (now.start <= before.start).all()
        before = now
    np.testing.assert_array_equal(before.completion, run(None).completion)


@SETTINGS
@given(flagged_jobs(), st.sampled_from(["copy", "restart"]))
def test_no_spare_machine_no_copy(job, policy):
    finish, flag, pool, seed = job
    run = simulate(finish, flag, pool, machines=0, policy=policy, seed=seed)
    assert reduction(finish.max(), run.job_time) == 0.0
    assert run.copies == 0


@SETTINGS
@given(flagged_jobs(), st.sampled_from(["copies", "all"]), st.sampled_from(["copy", "restart"]))
def test_machines_are_never_overbooked(job, freed, policy):
    finish, flag, pool, seed = job
    machines = 2
    run = simulate(finish, flag, pool, machines=machines, freed=freed, policy=policy, seed=seed)
    copied = np.isfinite(run.start)
    assert (run.start[copied] >= flag[copied]).all()
    assert (run.start[copied] < finish[copied]).all()
    original_ends = run.completion if policy == "copy" else np.minimum(run.completion, finish)
    if policy == "restart":
        original_ends = np.where(copied, run.start, finish)
    for now in run.start[copied]:
        busy = (copied & (run.start <= now) & (run.completion > now)).sum()
        if freed == "all":
            busy += (original_ends > now).sum()
        assert busy <= machines + (len(finish) if freed == "all" else 0)


@SETTINGS
@given(flagged_jobs(), st.sampled_from([None, 1, 3]))
def test_waste_is_part_of_the_copies_time(job, machines):
    finish, flag, pool, seed = job
    run = simulate(finish, flag, pool, machines=machines, seed=seed)
    strict = simulate(
        finish, flag, pool, machines=machines, needed=np.zeros(len(finish), dtype=bool), seed=seed
    )
    assert 0 <= run.wasted_seconds <= run.copy_seconds
    assert strict.wasted_seconds == strict.copy_seconds == run.copy_seconds


def test_the_same_task_gets_the_same_draw():
    finish, pool = np.full(50, 100.0), np.arange(1.0, 40.0)
    every, some = np.full(50, 10.0), np.where(np.arange(50) % 3 == 0, 10.0, NEVER)
    a, b = simulate(finish, every, pool), simulate(finish, some, pool)
    np.testing.assert_array_equal(a.completion[::3], b.completion[::3])
    assert len(np.unique(a.completion)) > 5


def test_copy_and_restart_by_hand():
    finish, flag = np.array([10.0, 30.0, 40.0]), np.array([5.0, 12.0, 35.0])
    copy = simulate(finish, flag, np.array([9.0]))
    assert copy.completion.tolist() == [10.0, 21.0, 40.0]
    assert copy.copy_seconds == 5 + 9 + 5
    assert copy.wasted_seconds == 5 + 5  # the copies of the first and the last task lose
    needed = np.array([False, False, True])
    assert simulate(finish, flag, np.array([9.0]), needed=needed).wasted_seconds == 5 + 9 + 5
    restart = simulate(finish, flag, np.array([9.0]), policy="restart")
    assert restart.completion.tolist() == [14.0, 21.0, 44.0]
    assert restart.wasted_seconds == 9 + 9
    assert reduction(40.0, restart.job_time) == pytest.approx(-10.0)


def test_the_queue_by_hand():
    # One spare machine; tasks 1, 2, 3 are flagged at 10, 11, 12 and a new run takes 10.
    finish = np.array([12.0, 100.0, 100.0, 25.0, 100.0])
    flag = np.array([NEVER, 10.0, 11.0, 12.0, 13.0])
    run = simulate(finish, flag, np.array([10.0]), machines=1)
    # Task 3 ends at 25 while it waits for the machine, which task 4 then gets at 30.
    assert run.start.tolist() == [NEVER, 10.0, 20.0, NEVER, 30.0]
    assert run.job_time == 40.0
    # With the job's own machines: task 0's frees at 12, both of task 1 at 20.
    run = simulate(finish, flag, np.array([10.0]), machines=1, freed="all")
    assert run.start.tolist() == [NEVER, 10.0, 12.0, 20.0, 20.0]
    assert run.completion.tolist() == [12.0, 20.0, 22.0, 25.0, 30.0]


def test_flags_of_ended_tasks_do_nothing():
    finish = np.array([10.0, 20.0])
    for machines in (None, 1):
        run = simulate(finish, np.array([10.0, 25.0]), np.array([1.0]), machines=machines)
        assert run.copies == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"finish": np.array([1.0, np.inf])}, "never finish"),
        ({"finish": np.array([1.0])}, "one value per task"),
        ({"flag_time": np.array([1.0, np.nan])}, "NaN"),
        ({"pool": np.array([])}, "positive latencies"),
        ({"pool": np.array([0.0])}, "positive latencies"),
        ({"machines": -1}, "machines=-1"),
        ({"policy": "kill"}, "'copy', 'restart'"),
        ({"freed": "none"}, "'copies', 'all'"),
    ],
)
def test_bad_input(change, message):
    good = {"finish": np.ones(2), "flag_time": np.ones(2), "pool": np.ones(3)}
    with pytest.raises(ValueError, match=message):
        simulate(**{**good, **change})
