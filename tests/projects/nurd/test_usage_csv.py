"""Usage records in CSV files, and the events that they replay as."""

from __future__ import annotations

import gzip
import logging

import pytest

from projects.nurd.usage_csv import (
    UsageRecordError,
    csv_events,
    usage_records,
    write_usage_records,
)

TEXT = """job,task,start,end,cpu,mem
j,2,0.5,1.0,0.3,7
j,1,0.0,1.0,0.1,5
j,1,1.0,3.0,0.2,6
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "usage.csv"
    path.write_text(TEXT)
    return path


def test_records_are_sorted_and_typed(file):
    table = usage_records(file)
    assert table["task"].tolist() == [1, 1, 2]
    assert table["end"].tolist() == [1.0, 3.0, 1.0]
    assert list(table.columns) == ["job", "task", "start", "end", "cpu", "mem"]
    assert table["cpu"].dtype == float


def test_gzip_is_told_from_the_content(file, tmp_path):
    (tmp_path / "packed").write_bytes(gzip.compress(TEXT.encode()))
    assert usage_records(tmp_path / "packed").equals(usage_records(file))


def test_task_ids_may_be_words(file):
    file.write_text(TEXT.replace("j,2,", "j,007b,"))
    assert usage_records(file)["task"].tolist() == ["007b", "1", "1"]


def test_round_trip_gives_equal_bytes(file, tmp_path):
    table = usage_records(file)
    for name in ("a.csv.gz", "b.csv.gz"):
        write_usage_records(table, tmp_path / name)
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
    assert usage_records(tmp_path / "a.csv.gz").equals(table)
    assert not list(tmp_path.glob("*.partial"))


def test_events_by_hand(file):
    events = [
        (e["time"], e["type"], e["task"], e["features"].get("cpu"), e.get("status"))
        for e in csv_events(file)
    ]
    assert events == [
        (0.0, "task_start", 1, None, None),
        (0.5, "task_start", 2, None, None),
        (1.0, "task_progress", 1, 0.1, None),
        (1.0, "task_end", 2, 0.3, "success"),
        (3.0, "task_end", 1, 0.2, "success"),
    ]


def test_header_where_none_is_expected(file):
    with pytest.raises(UsageRecordError, match=r"a header line where none is expected.*job,task"):
        usage_records(file, columns=["job", "task", "start", "end", "cpu", "mem"])


def test_no_header_where_one_is_expected(file):
    file.write_text(TEXT.split("\n", 1)[1])
    with pytest.raises(UsageRecordError, match=r"no header line; the first line is 'j,2,0\.5"):
        usage_records(file)
    table = usage_records(file, columns=["job", "task", "start", "end", "cpu", "mem"])
    assert len(table) == 3


def test_the_same_for_a_gzip(tmp_path):
    path = tmp_path / "usage.csv.gz"
    path.write_bytes(gzip.compress(TEXT.encode()))
    with pytest.raises(UsageRecordError, match="a header line where none is expected"):
        usage_records(path, columns=["job", "task", "start", "end", "cpu", "mem"])


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("j,1,1.0,3.0", "j,1,1.0,0.5", "job j, task 1, row 2: the end is before the start"),
        ("j,1,1.0,3.0", "j,1,0.5,3.0", "job j, task 1, row 2: the record .* overlaps"),
        ("j,1,1.0,3.0", "j,1,0.0,1.0", "job j, task 1, row 2: the record stands twice"),
        ("j,1,1.0,3.0,0.2", "j,1,1.0,3.0,nan", "task 1, row 2: cpu is not a finite number"),
        ("j,1,1.0,3.0,0.2", "j,1,1.0,3.0,", "task 1, row 2: cpu is not a finite number"),
        ("j,1,1.0,3.0,0.2", "j,1,1.0,inf,0.2", r"row 2: end is not a finite number \('inf'\)"),
        ("j,1,1.0,3.0,0.2", "j,1,1.0,3.0,=1+1", r"cpu is not a finite number \('=1\+1'\)"),
        ("0.2,6", "0.2,6,9", "cannot read the rows"),
        ("start,end", "start,stop", r"columns missing \['end'\]"),
        ("cpu,mem", "cpu,cpu", r"twice \['cpu'\]"),
    ],
)
def test_wrong_records_name_job_task_and_row(file, old, new, what):
    file.write_text(TEXT.replace(old, new))
    with pytest.raises(UsageRecordError, match=what):
        usage_records(file)


def test_error_is_a_value_error(file):
    file.write_text(TEXT.replace("3.0", "x"))
    with pytest.raises(ValueError, match="row 2"):
        list(csv_events(file))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "the file is empty"),
        (b"job,task,start,end\n", "no record below it"),
        (b"\x1f\x8b\x08\x00garbage", "not a CSV file, plain or gzip"),
        (b"\x89PNG\r\n\x1a\n\x00\xff", "not a CSV file"),
    ],
)
def test_files_that_are_no_records(tmp_path, content, what):
    path = tmp_path / "usage.csv"
    path.write_bytes(content)
    with pytest.raises(UsageRecordError, match=what):
        usage_records(path)


def test_gzip_cut_off_in_the_rows(tmp_path):
    path = tmp_path / "usage.csv.gz"
    rows = "".join(f"j,{i},0,{i * 7919 % 1013 + 1},{i * 104729 % 997}\n" for i in range(3000))
    path.write_bytes(gzip.compress(b"job,task,start,end,x\n" + rows.encode())[:-200])
    with pytest.raises(UsageRecordError, match="cannot read the rows"):
        usage_records(path)


def test_missing_file(tmp_path):
    with pytest.raises(UsageRecordError, match="no such file"):
        usage_records(tmp_path / "none.csv")


def test_unsorted_records_are_sorted_with_a_word(file, caplog):
    lines = TEXT.splitlines()
    file.write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    with caplog.at_level(logging.WARNING):
        table = usage_records(file)
    assert table["start"].tolist() == [0.0, 1.0, 0.5]
    assert caplog.text.count("not in time order") == 1
