"""Set results trees side by side: papers, machines, commits, and the papers' own numbers."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.claims import Verdict, judge_claims, read_verdicts
from common.errors import DataError, did_you_mean
from common.papers import slugs
from common.results import VERDICTS, Folder, find, paper_folder, paper_observations
from common.scorecard import number
from common.stats import Estimate, bootstrap_means

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)
UNIT = ["dataset", "item"]
_SERIES = ["paper", "experiment", "metric", "variant"]


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


def ratios(roots: Sequence[Path], paper: str | None = None) -> list[dict[str, Any]]:
    """One row per metric and variant: each tree's mean as a ratio to that of the first tree.

    Returns
    -------
    list of dict
        ``paper, experiment, metric, variant`` and ``columns``: per tree ``mean``, ``ratio``, its
        95 % interval ``low`` and ``high``, and ``n``, the units that it shares with the first tree
        that holds the metric. The ratio is None where it has no finite value.
    """
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    first: dict[tuple[str, ...], pd.Series] = {}
    for column in columns(roots, paper):
        for series, units in _units(column, paper):
            names = dict(zip(_SERIES, series, strict=True))
            row = rows.setdefault(series, {**names, "columns": []})
            estimate = ratio(units, first.setdefault(series, units))
            row["columns"].append({**_where(column), "mean": units.mean(), **_as_ratio(estimate)})
    return list(rows.values())


def ratio(above: pd.Series, below: pd.Series) -> Estimate:
    """Ratio of two means, its interval from drawing the units that both have together.

    Parameters
    ----------
    above, below : Series
        A value for each natural unit, which the index names. Where they share no unit the ratio
        of the two means stands, without an interval and with ``n = 0``.

    Examples
    --------
    >>> import pandas as pd
    >>> below = pd.Series([1.0, 2.0, 4.0], index=["a", "b", "c"])
    >>> estimate = ratio(2 * below, below)
    >>> estimate.value, estimate.low, estimate.high, estimate.n
    (2.0, 2.0, 2.0, 3)
    """
    import numpy as np
    import pandas as pd

    pairs = pd.concat([above, below], axis=1, join="inner").to_numpy()
    if len(pairs):
        return bootstrap_means(pairs, lambda means: means[..., 0] / means[..., 1])
    with np.errstate(divide="ignore", invalid="ignore"):
        return Estimate(float(np.divide(above.mean(), below.mean())), None, None, 0)


def _units(column: Column, paper: str | None) -> Iterable[tuple[tuple[str, ...], pd.Series]]:
    """Value of each unit, averaged over seeds and parameters, by paper, experiment and so on."""
    folders = find(column.root, paper=paper, size=column.size, target=column.target)
    for slug in sorted({folder.paper for folder in folders}):
        frame = paper_observations(column.root, column.size, column.target, slug)
        frame = frame.dropna(subset=["value"]).assign(paper=slug)
        means = frame.groupby([*_SERIES, *UNIT])["value"].mean()
        for series, units in means.groupby(level=_SERIES):
            yield series, units.droplevel(_SERIES)


def _as_ratio(estimate: Estimate) -> dict[str, Any]:
    value = estimate.value if math.isfinite(estimate.value) else None
    return {"ratio": value, "low": estimate.low, "high": estimate.high, "n": estimate.n}


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


# -- tables --------------------------------------------------------------------------------


def claim_table(rows: list[dict[str, Any]], names: Sequence[str]) -> list[tuple[str, ...]]:
    """Lines of text of what :func:`compare` returns, one cell for each tree named."""
    lines = []
    for row in rows:
        value = row["paper_value"]
        ends = value if isinstance(value, list | tuple) else [value]
        paper_value = "not available" if value is None else " to ".join(map(number, ends))
        there = {c["name"]: f"{c['verdict']}\n{_interval(c, 'estimate')}" for c in row["columns"]}
        cells = (there.get(name, "–") for name in names)
        lines.append((row["paper"], row["title"], paper_value, *cells))
    return lines


def ratio_table(rows: list[dict[str, Any]], names: Sequence[str]) -> list[tuple[str, ...]]:
    """Lines of text of what :func:`ratios` returns, one cell for each tree named."""
    lines = []
    for row in rows:
        there = {
            c["name"]: f"{number(c['mean'])}\n× {_interval(c, 'ratio')}" for c in row["columns"]
        }
        cells = (there.get(name, "–") for name in names)
        lines.append((*(row[key] for key in _SERIES), *cells))
    return lines


def _interval(cell: dict[str, Any], key: str) -> str:
    ends = "" if cell["low"] is None else f" [{number(cell['low'])}, {number(cell['high'])}]"
    return f"{number(cell[key])}{ends}"
