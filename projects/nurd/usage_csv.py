"""Usage records of tasks in CSV files, plain or gzip: one row per task and record."""

from __future__ import annotations

import csv
import gzip
import logging
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from common.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)
KEYS = ("job", "task", "start", "end")
MAX_HEADER_BYTES = 2**16
_GZIP = b"\x1f\x8b"


class UsageRecordError(DataError, ValueError):
    """A file of usage records is not what it should be; the message names job, task and row."""


def usage_records(path: str | Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read usage records: when they began and ended, and the features measured meanwhile.

    Parameters
    ----------
    path : str or Path
        CSV, plain or gzip (told from the content), UTF-8, comma-separated.
    columns : sequence of str, optional
        Names of the columns of a file without a header line. By default the first line is
        the header.

    Returns
    -------
    DataFrame
        ``job`` (str), ``task`` (int, or str if any id is not a whole number), ``start``,
        ``end`` [s since the job's start], then the features (float); sorted by job, task and
        time. The latency of a task is the sum of its ``end - start``.

    Raises
    ------
    UsageRecordError
        For a header line where none is expected or the other way around, missing columns, and,
        naming job, task and row (the first row of data is 0): anything that is not a finite
        number, an end before its start, or records of one task that stand twice or overlap.
    """
    path = Path(path)
    names, skip = _columns(path, columns)
    table = _read(path, names, skip)
    _check_numbers(table, path)
    _check(table, table["end"] < table["start"], path, "the end is before the start")
    _name_tasks(table)
    ordered = table.sort_values(["job", "task", "start", "end"], kind="stable")
    if (table.groupby(["job", "task"], sort=False)["start"].diff() < 0).any():
        log.warning("%s: records are not in time order; sorted", path.name)
    reach = ordered.groupby(["job", "task"], sort=False)["end"].shift()
    twice = "the record stands twice or overlaps the previous one of its task"
    _check(table, ordered["start"] < reach, path, twice)
    return ordered.reset_index(drop=True)


def csv_events(path: str | Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Replay a file of usage records as the stream of task events that a monitor takes.

    A record is known when it ends. The last record of a task is its ``task_end``, with
    ``status`` ``success``; the features are those of the record, not cumulative.

    Yields
    ------
    dict
        ``type``, ``time`` [s since the job's start], ``job``, ``task``, ``features``; in time
        order. See :func:`projects.nurd.spark_log.task_events`.
    """
    table = usage_records(path, columns)
    features = [c for c in table.columns if c not in KEYS]
    group = table.groupby(["job", "task"], sort=False)
    rank, count = group.cumcount(), group["start"].transform("size")
    events: list[tuple[float, int, dict[str, Any]]] = []
    rows = zip(table.to_dict("records"), rank, count, strict=True)
    for row, k, n in rows:
        base = {"job": row["job"], "task": row["task"]}
        if k == 0:
            start = {"type": "task_start", "time": row["start"], **base, "features": {}}
            events.append((row["start"], 0, start))
        last = k == n - 1
        event = {"type": "task_end" if last else "task_progress", "time": row["end"], **base}
        event["features"] = {c: row[c] for c in features}
        if last:
            event["status"] = "success"
        events.append((row["end"], 2 if last else 1, event))
    events.sort(key=lambda e: e[:2])
    yield from (event for _, _, event in events)


def _columns(path: Path, columns: Sequence[str] | None) -> tuple[list[str], int]:
    """Names of the columns and the number of header lines, after a look at the first line."""
    first = _first_line(path)
    if columns is not None:
        names = list(columns)
        if {f.strip() for f in first} & set(KEYS):
            raise UsageRecordError(
                f"{path.name}: a header line where none is expected ({_shown(first)}); "
                "leave out columns="
            )
    else:
        names = [f.strip() for f in first]
        if not set(names) & set(KEYS):
            raise UsageRecordError(
                f"{path.name}: no header line; the first line is {_shown(first)}. "
                f"Expected {','.join(KEYS)},<features>, or pass columns="
            )
    missing = [k for k in KEYS if k not in names]
    twice = sorted({n for n in names if names.count(n) > 1})
    if missing or twice:
        raise UsageRecordError(
            f"{path.name}: columns missing {missing}, twice {twice}; there are {names[:40]}"
        )
    return names, 0 if columns is not None else 1


def _first_line(path: Path) -> list[str]:
    try:
        with path.open("rb") as raw, _decompressed(raw) as stream:
            line = stream.readline(MAX_HEADER_BYTES)
        fields = next(csv.reader([line.decode("utf-8-sig")]), [])
    except FileNotFoundError as error:
        raise UsageRecordError(f"{path}: no such file") from error
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise UsageRecordError(f"{path.name}: not a CSV file, plain or gzip: {error}") from error
    if not fields:
        raise UsageRecordError(f"{path.name}: the file is empty")
    return fields


def _decompressed(raw: IO[bytes]) -> IO[bytes]:
    packed = raw.read(2) == _GZIP
    raw.seek(0)
    return gzip.GzipFile(fileobj=raw) if packed else raw


def _read(path: Path, names: list[str], skip: int) -> pd.DataFrame:
    import pandas as pd

    try:
        with path.open("rb") as raw, _decompressed(raw) as stream, warnings.catch_warnings():
            # pandas would cut a row that is too long
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                stream,
                names=names,
                skiprows=skip,
                dtype=str,
                keep_default_na=False,
                index_col=False,
                encoding="utf-8-sig",
            )
    except (ValueError, Warning, OSError, EOFError, zlib.error) as error:
        raise UsageRecordError(f"{path.name}: cannot read the rows: {error}") from error
    if table.empty:
        raise UsageRecordError(f"{path.name}: a header line, and no record below it")
    return table[[*KEYS, *(n for n in names if n not in KEYS)]]


def _check_numbers(table: pd.DataFrame, path: Path) -> None:
    import numpy as np
    import pandas as pd

    for column in table.columns[2:]:
        values = pd.to_numeric(table[column], errors="coerce").astype(float)
        bad = ~np.isfinite(values)
        _check(table, bad, path, f"{column} is not a finite number", column)
        table[column] = values


def _check(
    table: pd.DataFrame, bad: pd.Series, path: Path, what: str, column: str | None = None
) -> None:
    if not bad.any():
        return
    row = bad.index[bad].min()
    job, task = table.loc[row, "job"], table.loc[row, "task"]
    shown = f" ({str(table.loc[row, column])[:40]!r})" if column else ""
    raise UsageRecordError(f"{path.name}: job {job}, task {task}, row {row}: {what}{shown}")


def _name_tasks(table: pd.DataFrame) -> None:
    if table["task"].str.fullmatch(r"\d{1,18}").all():
        table["task"] = table["task"].astype("int64")


def _shown(fields: list[str]) -> str:
    return repr(",".join(fields)[:80])


def write_usage_records(table: pd.DataFrame, path: Path) -> None:
    """Write usage records as CSV, or as gzip if the name ends so; equal records, equal bytes."""
    write_bytes(path, table.to_csv(index=False).encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file at once or not at all, packed if its name ends in ``.gz``."""
    if path.suffix == ".gz":
        content = gzip.compress(content, 9, mtime=0)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    partial.replace(path)
