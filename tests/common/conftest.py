"""Toy papers in a folder of their own, and observations made by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from common import papers
from common.papers import Claim, Paper
from common.results import COLUMNS, Folder, atomic, write_json

EXPERIMENTS = {
    "speed": {
        "title": "Speed",
        "targets": ["cpu", "gpu"],
        "params": {"n": 4, "seeds": 2},
        "sizes": {"smoke": {"n": 2}, "quick": None, "full": {"n": 8}},
    },
    "later": {"title": "Later", "sizes": {"full": None}},
}


class Shelf:
    """A ``projects`` folder of toy papers that the code under test takes for its own."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, slug: str = "toy", claims: Any = (), **fields: Any) -> Path:
        content = {
            "slug": slug,
            "title": f"The {slug} paper",
            "authors": ["A. Author"],
            "venue": "TOYCONF",
            "year": 2020,
            "url": "https://example.org/toy",
            "group": "Toys",
            "summary": "It does little.",
            "experiments": EXPERIMENTS,
            **fields,
        }
        folder = self.root / slug
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "paper.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        (folder / "claims.yaml").write_text(yaml.safe_dump({"claims": list(claims)}))
        papers.load_paper.cache_clear()
        papers.load_claims.cache_clear()
        return folder

    def add(self, slug: str = "toy", claims: Any = (), **fields: Any) -> Paper:
        self.write(slug, claims, **fields)
        return papers.load_paper(slug)


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    root = tmp_path / "checkout" / "projects"
    root.mkdir(parents=True)
    for module in ("papers", "provenance", "reports.pages", "sources"):
        monkeypatch.setattr(f"common.{module}.projects_root", lambda: root)
    yield Shelf(root)
    papers.load_paper.cache_clear()
    papers.load_claims.cache_clear()


def claim_entry(**changes: Any) -> dict[str, Any]:
    """Entry of ``claims.yaml``, by default the mean of ``score``."""
    return {
        "id": "a-claim",
        "title": "A claim",
        "source": "section 1",
        "statement": "It holds.",
        "kind": "value",
        "experiment": "speed",
        "metric": "score",
        "paper": {"value": None},
        "accept": {"low": 1},
        **changes,
    }


@pytest.fixture
def entry() -> Callable[..., dict[str, Any]]:
    return claim_entry


@pytest.fixture
def claim() -> Callable[..., Claim]:
    return lambda **changes: Claim.model_validate(claim_entry(**changes))


def observations(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Long table from rows that say only what differs from the usual."""
    usual = {
        "variant": "ours",
        "dataset": "d",
        "item": "i0",
        "seed": 0,
        "metric": "score",
        "value": 0.0,
        "unit": "",
        "data": "original",
        "measurement": "measured",
        "meter": "",
    }
    frame = pd.DataFrame([{**usual, **row} for row in rows])
    return frame if rows else pd.DataFrame(columns=list(COLUMNS))


@pytest.fixture
def table() -> Callable[..., pd.DataFrame]:
    """Return a builder of tables: ``table({"ours": [1, 2], "base": [3, 4]}, data="synthetic")``."""

    def build(values: dict[str, list[float]], **common: Any) -> pd.DataFrame:
        return observations(
            [
                {"variant": variant, "item": f"i{i}", "value": float(value), **common}
                for variant, column in values.items()
                for i, value in enumerate(column)
            ]
        )

    return build


@pytest.fixture
def rows() -> Callable[[list[dict[str, Any]]], pd.DataFrame]:
    return observations


def record(folder: Folder, **changes: Any) -> dict[str, Any]:
    """Content of a ``run.json``."""
    return {
        "schema": 1,
        "paper": folder.paper,
        "experiment": folder.experiment,
        "size": folder.size,
        "target": folder.target,
        "status": "done",
        "config": {},
        "digest": "0123456789abcdef",
        "data_mode": "auto",
        "started": "2020-01-01T00:00:00+00:00",
        "finished": "2020-01-01T00:00:01+00:00",
        "seconds": 1.0,
        "cpu_seconds": 1.0,
        "peak_memory_mb": 1.0,
        "git": {"commit": "c" * 40, "dirty": False},
        "machine": {"label": "a machine"},
        **changes,
    }


@pytest.fixture
def lay() -> Callable[..., Folder]:
    """Lay one experiment's results into a tree, without running anything."""

    def write(
        root: Path,
        frame: pd.DataFrame,
        size: str = "quick",
        target: str = "cpu",
        paper: str = "toy",
        experiment: str = "speed",
        **changes: Any,
    ) -> Folder:
        folder = Folder(root, size, target, paper, experiment)
        with atomic(folder.path / "observations.parquet") as temporary:
            frame.to_parquet(temporary, index=False)
        write_json(folder.path / "run.json", record(folder, rows=len(frame), **changes))
        return folder

    return write
