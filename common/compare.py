"""Set results trees side by side: papers, machines, commits, and the papers' own numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.claims import Verdict, read_verdicts
from common.errors import DataError
from common.results import VERDICTS, find


@dataclass(frozen=True)
class Column:
    """One results tree at one size and target: where its numbers were made."""

    root: Path
    size: str
    target: str
    machine: str
    commit: str

    @property
    def name(self) -> str:
        """Short name for a table head."""
        return f"{self.root} {self.size}/{self.target}\n{self.machine}\n{self.commit[:9]}"


def columns(roots: Sequence[Path], paper: str | None = None) -> list[Column]:
    """List what the trees hold.

    Raises
    ------
    DataError
        If a tree holds no results.
    """
    found: dict[tuple[Path, str, str], Column] = {}
    for root in roots:
        folders = find(root, paper=paper)
        if not folders:
            raise DataError(f"{root} holds no results{f' of {paper}' if paper else ''}")
        for folder in folders:
            record = folder.record()
            machine = record.machine.get("label", "unknown machine")
            commit = record.git.get("commit", "no commit")
            key = (root, folder.size, folder.target)
            found.setdefault(key, Column(root, folder.size, folder.target, machine, commit))
    return list(found.values())


def compare(roots: Sequence[Path], paper: str | None = None) -> list[dict[str, Any]]:
    """One row per claim: the paper's value and every tree's verdict on it."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for column in columns(roots, paper):
        pattern = f"{paper or '*'}/{VERDICTS}"
        for path in sorted((column.root / column.size / column.target).glob(pattern)):
            for verdict in read_verdicts(path):
                row = rows.setdefault((verdict.paper, verdict.claim), _row(verdict))
                row["columns"].append({**_where(column), **_result(verdict)})
    return list(rows.values())


def _row(verdict: Verdict) -> dict[str, Any]:
    names = ("paper", "claim", "title", "paper_value", "paper_unit", "unit")
    return {**{name: getattr(verdict, name) for name in names}, "columns": []}


def _where(column: Column) -> dict[str, Any]:
    return {**asdict(column), "root": str(column.root), "name": column.name}


def _result(verdict: Verdict) -> dict[str, Any]:
    names = ("verdict", "estimate", "low", "high", "n", "data", "measurement", "reason")
    return {name: getattr(verdict, name) for name in names}
