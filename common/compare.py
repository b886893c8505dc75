"""Set results trees side by side: papers, machines, commits, and the papers' own numbers."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.claims import Verdict, judge_claims, read_verdicts
from common.errors import DataError, did_you_mean
from common.papers import slugs
from common.results import VERDICTS, Folder, find, paper_folder

log = logging.getLogger(__name__)


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
        commit = self.commit if " " in self.commit else self.commit[:9]
        return f"{self.root} {self.size}/{self.target}\n{self.machine}\n{commit}"


def columns(roots: Sequence[Path], paper: str | None = None) -> list[Column]:
    """List what the trees hold.

    Raises
    ------
    DataError
        If a tree holds no results.
    """
    found: dict[tuple[Path, str, str], list[Folder]] = {}
    for root in map(Path, roots):
        folders = find(root, paper=paper)
        if not folders:
            there = {folder.paper for folder in find(root)}
            hint = f" of {paper!r}{did_you_mean(paper, there)}" if paper and there else ""
            raise DataError(f"{root} holds no results{hint}")
        for folder in folders:
            found.setdefault((root, folder.size, folder.target), []).append(folder)
    return [_column(*place, folders) for place, folders in found.items()]


def _column(root: Path, size: str, target: str, folders: list[Folder]) -> Column:
    records = [folder.record() for folder in folders]
    machine = _only((r.machine.get("label", "unknown machine") for r in records), "machines")
    commit = _only((r.git.get("commit", "no commit") for r in records), "commits")
    return Column(root, size, target, machine, commit)


def _only(values: Iterable[str], many: str) -> str:
    distinct = sorted(set(values))
    return distinct[0] if len(distinct) == 1 else f"{len(distinct)} {many}"


def compare(roots: Sequence[Path], paper: str | None = None) -> list[dict[str, Any]]:
    """One row per claim: the paper's value and every tree's verdict on it.

    A tree without ``verdicts.json``, such as a recorded one, is judged in memory.
    """
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for column in columns(roots, paper):
        folders = find(column.root, paper=paper, size=column.size, target=column.target)
        for slug in sorted({folder.paper for folder in folders}):
            for verdict in _verdicts(column, slug):
                row = rows.setdefault((verdict.paper, verdict.claim), _row(verdict))
                row["columns"].append({**_where(column), **_result(verdict)})
    return list(rows.values())


def _verdicts(column: Column, slug: str) -> list[Verdict]:
    path = paper_folder(column.root, column.size, column.target, slug) / VERDICTS
    if path.exists():
        return read_verdicts(path)
    if slug in slugs():
        return judge_claims(column.root, column.size, column.target, slug)
    log.warning("%s: no verdicts, and %r is no paper of this checkout", path.parent, slug)
    return []


def _row(verdict: Verdict) -> dict[str, Any]:
    names = ("paper", "claim", "title", "paper_value", "paper_unit", "unit")
    return {**{name: getattr(verdict, name) for name in names}, "columns": []}


def _where(column: Column) -> dict[str, Any]:
    return {**asdict(column), "root": str(column.root), "name": column.name}


def _result(verdict: Verdict) -> dict[str, Any]:
    names = ("verdict", "estimate", "low", "high", "n", "data", "measurement", "reason")
    return {name: getattr(verdict, name) for name in names}
