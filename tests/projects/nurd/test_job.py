"""Jobs: what is refused, what is put in order, and what truncation leaves."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projects.nurd.job import Job, NotEnoughData, running_sums


def records(frame, **options):
    return Job.from_records(frame, name="j7", features=("u",), **options)


def tasks(frame):
    return Job.from_tasks(frame, name="j7", features=("u",))


@pytest.fixture
def frame():
    """Twenty tasks of two touching records: 10 s at u = 1, then 20 s at u = 4."""
    first = pd.DataFrame({"task": range(20), "start": 5.0, "end": 15.0, "u": 1.0})
    second = first.assign(start=15.0, end=35.0, u=4.0)
    return pd.concat([first, second]).sort_values(["task", "start"], ignore_index=True)


@pytest.fixture
def table():
    return pd.DataFrame({"task": range(20), "latency": 10.0 + np.arange(20), "u": 0.5})


# -- records -------------------------------------------------------------------------------


def test_records_become_a_job(frame):
    job = records(frame, dataset="d")
    assert (job.name, job.dataset, job.n, job.static) == ("j7", "d", 20, False)
    assert job.tasks.tolist() == list(range(20))
    assert job.first.tolist() == list(range(0, 41, 2))
    assert job.start[:2].tolist() == [0.0, 10.0]  # time counts from the job's start
    assert job.end[:2].tolist() == [10.0, 30.0]
    assert (job.latency == 30.0).all()
    assert (job.records() == 2).all()
    assert job.usage[:2, 0].tolist() == [1.0, 4.0]


def test_latency_is_the_sum_of_the_records_without_the_gaps(frame):
    frame.loc[1, ["start", "end"]] += 100
    assert records(frame).latency[0] == 30.0


@pytest.mark.parametrize(
    ("row", "column", "value", "message"),
    [
        (7, "end", 1.0, "job j7, task 3, row 7: end is before start"),
        (4, "start", np.nan, "job j7, task 2, row 4: start is not a finite number"),
        (5, "end", np.inf, "job j7, task 2, row 5: end is not a finite number"),
        (9, "u", np.nan, "job j7, task 4, row 9: u is not a finite number"),
        (9, "task", np.nan, "row 9: no task id"),
        (9, "start", 14.0, "job j7, task 4, row 9: record overlaps"),
    ],
)
def test_a_bad_record_is_named(frame, row, column, value, message):
    frame[column] = frame[column].astype(float)
    frame.loc[row, column] = value
    with pytest.raises(ValueError, match=message):
        records(frame)


def test_the_row_is_the_one_passed_even_if_unsorted(frame):
    frame.loc[9, "start"] = 14.0
    turned = frame[::-1].reset_index(drop=True)
    with pytest.raises(ValueError, match="task 4, row 30: record overlaps"):
        records(turned)


def test_a_task_without_extent_is_refused(frame):
    frame.loc[[6, 7], ["start", "end"]] = 5.0
    with pytest.raises(ValueError, match=r"job j7, task 3: latency 0\.0 s is not positive"):
        records(frame)


@pytest.mark.parametrize("column", ["task", "start", "end", "u"])
def test_a_missing_column_is_named(frame, column):
    with pytest.raises(ValueError, match=rf"job j7: missing columns \['{column}'\]; there are"):
        records(frame.drop(columns=column))


@pytest.mark.parametrize("build", ["records", "tasks"])
def test_too_small(frame, table, build):
    with pytest.raises(ValueError, match=r"job too small \(n=19\): need >= 20"):
        if build == "records":
            records(frame[frame["task"] < 19])
        else:
            tasks(table[:19])


def test_unsorted_records_are_sorted_with_one_warning(frame, caplog):
    mixed = frame.sample(frac=1, random_state=1)
    job = records(mixed)
    assert [message for message in caplog.messages if "sorted" in message] == [
        "job j7: records are not in time order; sorted"
    ]
    expected = records(frame)
    for field in ("tasks", "latency", "first", "start", "end", "usage"):
        assert np.array_equal(getattr(job, field), getattr(expected, field))


def test_tasks_in_any_order_are_no_reason_to_warn(frame, caplog):
    records(frame.sort_values(["start", "task"], ascending=[True, False]))
    assert not caplog.messages


@pytest.fixture
def overlapping(frame):
    """Task 0 gets (0, 30), (20, 50) and (40, 60): only the middle one overlaps a kept one."""
    own = pd.DataFrame({"task": 0, "start": [0.0, 20, 40], "end": [30.0, 50, 60], "u": [1.0, 2, 3]})
    return pd.concat([own, frame[frame["task"] > 0]], ignore_index=True)


def test_overlapping_records_are_an_error_by_default(overlapping):
    with pytest.raises(ValueError, match="task 0, row 1: record overlaps the previous one"):
        records(overlapping)


def test_dropped_overlaps_are_counted_and_take_no_good_record_along(overlapping, caplog):
    job = records(overlapping, overlaps="drop")
    assert job.usage[: job.first[1], 0].tolist() == [1.0, 3.0]
    assert job.latency[0] == 50.0
    assert "job j7: dropped 1 overlapping records" in caplog.messages


def test_kept_overlaps_count_twice(overlapping):
    assert records(overlapping, overlaps="keep").latency[0] == 80.0


def test_kept_records_come_in_the_order_in_which_they_end(overlapping):
    overlapping.loc[1, "end"] = 25.0  # inside the first
    job = records(overlapping, overlaps="keep")
    assert job.end[: job.first[1]].tolist() == [25.0, 30.0, 60.0]
    assert job.usage[: job.first[1], 0].tolist() == [2.0, 1.0, 3.0]


def test_a_record_that_stands_twice_is_an_overlap(frame):
    with pytest.raises(ValueError, match=r"task 6, .*overlaps"):
        records(pd.concat([frame, frame[12:13]], ignore_index=True))


def test_unknown_way_with_overlaps(frame):
    with pytest.raises(ValueError, match="overlaps='ignore': allowed are"):
        records(frame, overlaps="ignore")


def test_an_all_zero_record_is_a_record(frame):
    """Padding with zeros once doubled as "finished" (trap 9 of the brief)."""
    frame.loc[0, "u"] = 0.0
    job = records(frame)
    assert job.records()[0] == 2
    assert job.usage[0, 0] == 0.0
    assert job.latency[0] == 30.0


# -- tasks ---------------------------------------------------------------------------------


def test_tasks_become_a_static_job(table):
    job = tasks(table.sample(frac=1, random_state=0))
    assert job.static
    assert job.tasks.tolist() == list(range(20))
    assert job.latency.tolist() == table["latency"].tolist()
    assert (job.records() == 1).all()


@pytest.mark.parametrize(
    ("row", "column", "value", "message"),
    [
        (3, "latency", -1.0, "job j7, task 3, row 3: latency is not positive"),
        (4, "latency", np.nan, "job j7, task 4, row 4: latency is not a finite number"),
        (5, "u", np.inf, "job j7, task 5, row 5: u is not a finite number"),
        (6, "task", 2, "job j7, task 2, row 6: duplicate task id"),
    ],
)
def test_a_bad_task_is_named(table, row, column, value, message):
    table.loc[row, column] = value
    with pytest.raises(ValueError, match=message):
        tasks(table)


def test_missing_latency_column(table):
    with pytest.raises(ValueError, match=r"missing columns \['latency'\]"):
        tasks(table.drop(columns="latency"))


# -- threshold and truncation --------------------------------------------------------------


@pytest.mark.parametrize(("n", "expected"), [(20, 18), (25, 22), (100, 90), (151, 135)])
def test_threshold_is_the_order_statistic_of_the_brief(n, expected):
    frame = pd.DataFrame({"task": range(n), "latency": 1.0 + np.arange(n)[::-1], "u": 0.0})
    job = tasks(frame)
    assert job.threshold() == 1.0 + expected
    assert job.stragglers().sum() == n - expected


def test_truncation_forgets_records_and_latencies(make_series):
    job = make_series()
    time = float(np.median(job.end))
    finished = np.array([job.end[a:b].max() <= time for a, b in zip(job.first, job.first[1:])])  # noqa: B905
    cut = job.truncated(job.end <= time, finished)
    assert cut.n == job.n
    assert (cut.end <= time).all()
    assert cut.records().sum() == (job.end <= time).sum()
    assert np.array_equal(np.isnan(cut.latency), ~finished)
    for i in range(job.n):
        rows = slice(job.first[i], job.first[i + 1])
        own = job.usage[rows][job.end[rows] <= time]
        assert np.array_equal(cut.usage[cut.first[i] : cut.first[i + 1]], own)


def test_an_unfinished_job_has_no_percentile(make_static):
    job = make_static()
    cut = job.truncated(np.ones(job.n, dtype=bool), job.latency < np.median(job.latency))
    with pytest.raises(NotEnoughData, match="job static: 30 of 60 tasks have not finished"):
        cut.threshold()


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.integers(0, 2**32 - 1))
def test_running_sums_are_those_of_each_task_alone(counts, seed):
    values = np.random.default_rng(seed).normal(size=(sum(counts), 2))
    first = np.concatenate([[0], np.cumsum(counts)])
    sums = running_sums(values, first)
    for a, b in itertools.pairwise(first):
        assert np.array_equal(sums[a:b], np.cumsum(values[a:b], axis=0))
