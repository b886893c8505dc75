"""The record schema, and reading and writing a results tree.

A results tree is ``<root>/<size>/<target>/<slug>/<experiment>/`` holding ``observations.parquet``
(long format, one row per measured number) and ``run.json`` (what produced it). The paper's folder
above holds ``verdicts.json`` and ``figures/``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, Field

from common.errors import ConfigError, DataError, known
from common.papers import SIZES, TARGETS
from common.schema import Model, validate

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
OBSERVATIONS = "observations.parquet"
RECORD = "run.json"
VERDICTS = "verdicts.json"
# Identity of an observation first, then its value; experiments add parameter columns behind.
COLUMNS = (
    "variant",
    "dataset",
    "item",
    "seed",
    "metric",
    "value",
    "unit",
    "data",
    "measurement",
    "meter",
)
DATA_LABELS = ("original", "substitute", "synthetic")
QUANTITIES = ("wall_time", "cpu_time", "peak_memory", "energy")
MEASUREMENT_LABELS = ("measured", "emulated", "simulated", "modelled")


class Measured(Model):
    """Total of one quantity over all passes through one timed region, with its meter."""

    region: str
    quantity: str
    total: float
    unit: str
    count: int
    meter: str
    measurement: str


class RunRecord(Model):
    """The content of ``run.json``: everything needed to trust, and to repeat, a run."""

    # A colleague's newer version may have written more keys: they are kept, not refused.
    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True)

    schema_version: int = Field(SCHEMA, alias="schema")
    paper: str
    experiment: str
    size: str
    target: str
    status: Literal["done", "skipped", "failed"]
    reason: str = ""
    config: dict[str, Any]
    digest: str
    data_mode: str
    datasets: dict[str, dict[str, Any]] = {}
    stand_ins: dict[str, str] = {}
    skipped: tuple[dict[str, str], ...] = ()
    git: dict[str, Any] = {}
    versions: dict[str, str] = {}
    machine: dict[str, Any] = {}
    measurements: tuple[Measured, ...] = ()
    started: str
    finished: str
    seconds: float
    cpu_seconds: float
    peak_memory_mb: float
    rows: int = 0

    @property
    def machine_id(self) -> str:
        """Id of the machine's fingerprint, fit for a folder's name; a digest where it has none."""
        told = str(self.machine.get("id", ""))
        if re.fullmatch(r"[\w-]+", told):
            return told
        text = json.dumps(self.machine, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, order=True)
class Folder:
    """One experiment's folder in a results tree."""

    root: Path
    size: str
    target: str
    paper: str
    experiment: str

    @property
    def path(self) -> Path:
        """The folder itself."""
        return paper_folder(self.root, self.size, self.target, self.paper) / self.experiment

    def record(self) -> RunRecord:
        """Read ``run.json``."""
        return validate(read_json(self.path / RECORD), RunRecord, str(self.path / RECORD))

    def observations(self) -> pd.DataFrame:
        """Read the observations; a failed or skipped run has none (empty frame)."""
        import pandas as pd

        path = self.path / OBSERVATIONS
        if not path.exists():
            return pd.DataFrame(columns=list(COLUMNS))
        try:
            return pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path}: not a readable parquet file ({error}); run it again"
            ) from error


def paper_folder(root: Path, size: str, target: str, paper: str) -> Path:
    """Folder of one paper at one size on one target; an unknown size or target is an error."""
    return Path(root) / known(size, SIZES, "size") / known(target, TARGETS, "target") / paper


def find(
    root: Path,
    *,
    paper: str | None = None,
    size: str | None = None,
    target: str | None = None,
) -> list[Folder]:
    """List the experiment folders of a results tree that hold a ``run.json``."""
    pattern = "/".join((size or "*", target or "*", paper or "*", "*", RECORD))
    folders = [
        Folder(Path(root), *path.relative_to(root).parts[:4]) for path in Path(root).glob(pattern)
    ]
    return sorted(f for f in folders if f.size in SIZES and f.target in TARGETS)


def paper_observations(root: Path, size: str, target: str, paper: str) -> pd.DataFrame:
    """Stack the observations of all of a paper's experiments, with an ``experiment`` column."""
    import pandas as pd

    frames = []
    for folder in find(root, paper=paper, size=size, target=target):
        frame = folder.observations()
        if len(frame):
            frames.append(frame.assign(experiment=folder.experiment))
    if not frames:
        return pd.DataFrame(columns=[*COLUMNS, "experiment"])
    return pd.concat(frames, ignore_index=True)


def metered_totals(observations: pd.DataFrame) -> list[dict[str, Any]]:
    """Totals of all readings that name a meter, by region and quantity; see :class:`Measured`."""
    if "meter" not in observations:
        return []
    readings = observations[(observations["meter"] != "") & observations["value"].notna()]
    groups = readings.groupby(["metric", "unit", "meter", "measurement"])["value"]
    totals = []
    for (metric, unit, meter, measurement), values in groups:
        quantity = next((q for q in QUANTITIES if metric.endswith(f"_{q}")), metric)
        totals.append(
            {
                "region": metric.removesuffix(quantity).rstrip("_"),
                "quantity": quantity,
                "total": float(values.max() if quantity == "peak_memory" else values.sum()),
                "unit": unit,
                "count": len(values),
                "meter": meter,
                "measurement": measurement,
            }
        )
    return totals


def merge(sources: Iterable[Path], into: Path) -> list[Folder]:
    """Gather the runs of several results trees, each machine's in a tree of its own.

    A run of ``source/<size>/...`` comes to ``into/<machine id>/<size>/...``, so that two machines'
    runs of the same experiment stand side by side. One that is there already is left alone.

    Returns
    -------
    list of Folder
        The runs that were copied.

    Raises
    ------
    ConfigError
        If a machine has different runs of the same experiment. Both stay; nothing is overwritten.
    DataError
        If a tree holds no runs.
    """
    copied = []
    for source in map(Path, sources):
        folders = find(source)
        if not folders:
            raise DataError(f"{source} holds no results; pass folders such as results/")
        for folder in folders:
            record = folder.record()
            goal = replace(folder, root=Path(into) / record.machine_id)
            if not (goal.path / RECORD).exists():
                _copy(folder.path, goal.path)
                copied.append(goal)
            elif goal.record() != record:
                raise ConfigError(
                    f"{folder.path} and {goal.path} are different runs of one machine; "
                    "merge each into a folder of its own"
                )
    return copied


def _copy(source: Path, goal: Path) -> None:
    # The record last: a folder without one is no run yet, should this end in between.
    for name in (OBSERVATIONS, RECORD):
        if (source / name).exists():
            write_bytes(goal / name, (source / name).read_bytes())


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces ``path`` only when the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    os.close(handle)
    temporary = Path(name)
    temporary.chmod(0o644)  # mkstemp makes private files; results are meant to be shared
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically; NaN and infinity are refused because JSON has no such numbers."""
    text = json.dumps(content, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    write_bytes(path, (text + "\n").encode())


def read_json(path: Path) -> Any:
    """Read JSON, naming the file in errors."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error})") from error
