"""Fill a tracking store with copies of a results tree under other commits and machines.

To look at the results browser, and time it, on as many runs as a lab has after some months::

    python tests/dashboard/many_runs.py results sqlite:////tmp/many/mlflow.db --runs 200
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

from common.results import RECORD, Folder, find, read_json, write_json
from common.tracking import sync


def relabel(folder: Folder, number: int) -> None:
    """Make a copy's run that of an earlier commit, every other one that of another machine."""
    path = folder.path / RECORD
    record = read_json(path)
    record["git"] = {"commit": hashlib.sha1(str(number).encode()).hexdigest(), "dirty": False}
    if number % 2:
        label = f"copy of {record['machine'].get('label', 'a machine')}"
        record["machine"] |= {"id": "copy", "label": label}
    for moment in ("started", "finished"):
        earlier = datetime.fromisoformat(record[moment]) - timedelta(days=number)
        record[moment] = earlier.isoformat()
    write_json(path, record)


def fill(results: Path, uri: str, runs: int) -> int:
    """Sync copies of a tree until the store holds so many runs; return how many it holds."""
    held = number = 0
    while held < runs:
        with tempfile.TemporaryDirectory() as copy:
            tree = Path(copy, "results")
            shutil.copytree(results, tree)
            for folder in find(tree):
                if number:
                    relabel(folder, number)
            report = sync(tree, uri)
        if not report.added:
            return held
        held, number = held + report.added, number + 1
    return held


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("uri")
    parser.add_argument("--runs", type=int, default=200)
    chosen = parser.parse_args()
    sys.exit(fill(chosen.results, chosen.uri, chosen.runs) < chosen.runs)
