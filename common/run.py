"""Run: the context of one experiment, from resolved configuration to written results.

An experiment is a plain function ``f(run)``. It asks the run for parameters, random generators
and data, loops over ``run.cells(...)``, and reports numbers through ``run.observe`` and
``run.measure``. Everything else (progress, resume, provenance, atomic writing) happens here.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import resource
import time
import traceback
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from common.errors import ConfigError, MissingExtra, RepriseError, did_you_mean
from common.journal import Journal
from common.papers import Paper
from common.provenance import git_state, loaded_versions, source_digest
from common.results import (
    COLUMNS,
    DATA_LABELS,
    MEASUREMENT_LABELS,
    OBSERVATIONS,
    RECORD,
    SCHEMA,
    Folder,
    atomic,
    write_json,
)

if TYPE_CHECKING:
    import numpy as np

    from common.data import Dataset

log = logging.getLogger(__name__)
C = TypeVar("C", bound=Hashable)
DATA_MODES = ("auto", "real", "synthetic")
PARTIAL = "observations.partial.jsonl"
QUANTITIES = ("wall_time", "cpu_time", "peak_memory", "energy")


class Run:
    """Context of one experiment.

    Parameters
    ----------
    paper : Paper
        Whose experiment it is.
    experiment : str
        Name in ``paper.yaml``.
    size, target : str
        ``smoke | quick | full`` and ``cpu | gpu | wearable``.
    results : Path
        Root of the results tree.
    data_mode : {"auto", "real", "synthetic"}
        ``auto`` falls back to recorded data and stand-ins, loudly; ``real`` makes that an error.
    overrides : mapping, optional
        Parameters that replace those of ``paper.yaml``.

    Attributes
    ----------
    params : dict
        Resolved parameters.
    folder : Folder
        Where the results go.
    """

    def __init__(
        self,
        paper: Paper,
        experiment: str,
        *,
        size: str,
        target: str = "cpu",
        results: Path,
        data_mode: str = "auto",
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        if data_mode not in DATA_MODES:
            raise ConfigError(
                f"unknown data mode {data_mode!r}{did_you_mean(data_mode, DATA_MODES)}"
            )
        declared = paper.experiment(experiment)
        if target not in declared.targets:
            raise ConfigError(
                f"{paper.slug} {experiment} has no target {target!r}"
                f"{did_you_mean(target, declared.targets)}"
            )
        self.paper = paper
        self.declared = declared
        self.size = size
        self.target = target
        self.data_mode = data_mode
        self.params = declared.resolve(size, dict(overrides or {}))
        self.folder = Folder(Path(results), size, target, paper.slug, experiment)
        self._labels: dict[str, str] = {}
        self._datasets: dict[str, dict[str, Any]] = {}
        self._stand_ins: dict[str, str] = {}
        self._skipped: list[dict[str, str]] = []
        self._rows: list[dict[str, Any]] = []
        self._cell_rows: list[dict[str, Any]] | None = None
        self._journal: Journal | None = None

    @property
    def seeds(self) -> range:
        """The seeds of this run: ``range(params["seeds"])``, one seed when none is declared."""
        return range(int(self.params.get("seeds", 1)))

    def rng(self, *key: Hashable) -> np.random.Generator:
        """Random generator that depends on the key alone, not on the order of calls."""
        import numpy as np

        text = json.dumps([self.paper.slug, self.folder.experiment, *map(str, key)])
        return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]))

    # -- data ------------------------------------------------------------------------------

    def dataset(self, name: str, *, label: str | None = None) -> Dataset | None:
        """Return a registered dataset, or None when a stand-in has to take its place.

        Parameters
        ----------
        name : str
            Dataset of the registry.
        label : str, optional
            Overrides the data's label, for a dataset that plays another one's part
            (``"substitute"``).

        Raises
        ------
        DataError
            If the data is corrupted, or missing while ``data_mode="real"``.
        """
        from common.data import DataUnavailable, resolve

        try:
            found = resolve(name, mode=self.data_mode)
        except DataUnavailable as error:
            if self.data_mode == "real":
                raise
            self._stand_ins[name] = error.reason
            log.warning("STAND-IN: %s is not available, going on without it (%s)", name, error)
            return None
        self._labels[name] = label or found.label
        self._datasets[name] = {**found.provenance(), "label": self._labels[name]}
        return found

    def recorded(self, relative: str, *, name: str) -> Path | None:
        """Return a file of the project's own recordings, labelled ``substitute``.

        Under ``--data synthetic`` nothing recorded is used either and the answer is None.
        """
        if self.data_mode == "synthetic":
            return None
        path = self.paper.path("recorded", relative)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self._labels[name] = "substitute"
        self._datasets[name] = {"label": "substitute", "source": "recorded", "sha256": digest}
        return path

    def synthetic(self, name: str, description: str) -> None:
        """Declare generated data, so that its label travels with every number made from it."""
        self._labels[name] = "synthetic"
        self._datasets[name] = {
            "label": "synthetic",
            "source": "generator",
            "description": description,
        }

    # -- work ------------------------------------------------------------------------------

    def cells(self, keys: Iterable[C], *, total: int | None = None) -> Iterator[C]:
        """Iterate over the cells of an experiment with progress and resume.

        A cell is finished when the loop asks for the next one; its observations are then on
        disk. Cells that an earlier, interrupted run finished are not yielded again.
        """
        from tqdm import tqdm

        journal = self._journal
        keys = list(keys) if total is None else keys
        progress = tqdm(
            keys, total=total, desc=f"{self.paper.slug} {self.folder.experiment}", disable=None
        )
        for key in progress:
            name = json.dumps(key, default=str)
            if journal is not None and name in journal.finished:
                self._rows.extend(journal.finished[name])
                continue
            self._cell_rows = []
            yield key
            finished, self._cell_rows = self._cell_rows, None
            self._rows.extend(finished)
            if journal is not None:
                journal.append(name, finished)

    def observe(
        self,
        metrics: Mapping[str, float],
        *,
        variant: str,
        dataset: str,
        item: str = "",
        seed: int = 0,
        unit: str = "",
        data: str | None = None,
        measurement: str | None = None,
        meter: str = "",
        **params: Any,
    ) -> None:
        """Record numbers.

        Parameters
        ----------
        metrics : mapping
            Metric name to value. NaN means "has no value" and is left out by the claims.
        variant, dataset, item, seed : str and int
            Method, data set, natural unit (job, graph, participant) and seed.
        unit : str
            Unit of all values of this call.
        data, measurement : str, optional
            Labels; by default the label of the dataset and the experiment's own.
        meter : str
            What measured the value.
        **params
            Further columns, such as ``alpha=0.2``.

        Raises
        ------
        ValueError
            If a value is infinite, a label unknown, or no label of the dataset is known.
        """
        label = data or self._labels.get(dataset)
        measurement = measurement or self.declared.measurement
        if label not in DATA_LABELS:
            raise ValueError(
                f"observation of dataset {dataset!r} has data label {label!r}; get the data "
                f"through run.dataset, run.recorded or run.synthetic, or pass data= {DATA_LABELS}"
            )
        if measurement not in MEASUREMENT_LABELS:
            raise ValueError(
                f"unknown measurement label {measurement!r}"
                f"{did_you_mean(measurement, MEASUREMENT_LABELS)}"
            )
        if taken := set(params) & set(COLUMNS):
            raise ValueError(f"parameter columns may not be called {sorted(taken)}")
        rows = self._rows if self._cell_rows is None else self._cell_rows
        for metric, value in metrics.items():
            value = float(value)
            if math.isinf(value):
                raise ValueError(f"{variant} {dataset} {item}: metric {metric!r} is infinite")
            values = (variant, dataset, item, int(seed), metric, value, unit, label, measurement)
            rows.append({**dict(zip(COLUMNS, (*values, meter), strict=True)), **params})

    @contextlib.contextmanager
    def measure(self, region: str, **labels: Any) -> Iterator[Any]:
        """Measure a region: time, CPU time, peak memory and energy where a meter exists.

        ``labels`` are those of :meth:`observe`. Every reading becomes an observation
        ``<region>_<quantity>`` that names its meter. Only this region is timed.
        """
        from common.hardware.meters import MeterSet

        with MeterSet(target=self.target) as meters:
            yield meters
        for reading in meters.readings:
            self.observe(
                {f"{region}_{reading.quantity}": reading.value},
                unit=reading.unit,
                measurement=reading.measurement,
                meter=reading.meter,
                **labels,
            )

    def skip(self, variant: str, reason: str) -> None:
        """Record that a variant was left out, and why."""
        log.warning("skipped %s: %s", variant, reason)
        entry = {"variant": variant, "reason": reason}
        if entry not in self._skipped:
            self._skipped.append(entry)

    # -- life cycle ------------------------------------------------------------------------

    def digest(self) -> str:
        """Digest of the configuration and the code; an unfinished run resumes only under it."""
        state = {
            "params": self.params,
            "size": self.size,
            "target": self.target,
            "data_mode": self.data_mode,
            "code": source_digest(self.paper.slug),
        }
        return hashlib.sha256(json.dumps(state, sort_keys=True, default=str).encode()).hexdigest()[
            :16
        ]

    def is_done(self) -> bool:
        """Whether the folder holds a finished run of the same configuration and code."""
        if not (self.folder.path / RECORD).exists():
            return False
        record = self.folder.record()
        return record.status == "done" and record.digest == self.digest()

    def execute(self, function: Callable[[Run], None]) -> Folder:
        """Run the experiment and write its folder.

        A missing extra ends as ``skipped`` with the reason. Any other error is written as
        ``failed`` and raised again. Ctrl-C keeps the finished cells for the next time.
        """
        started = datetime.now(UTC)
        clock, cpu = time.perf_counter(), _cpu_seconds()
        self._journal = Journal(self.folder.path / PARTIAL, self.digest())
        status, reason, failure = "done", "", None
        try:
            function(self)
            if not self._rows:
                raise RepriseError(f"{function.__name__} observed nothing")
        except MissingExtra as error:
            status, reason = "skipped", str(error)
            log.warning("skipped: %s", error)
        except Exception as error:
            status, failure = "failed", error
            reason = "".join(traceback.format_exception_only(error)).strip()
        self._write(status, reason, started, time.perf_counter() - clock, _cpu_seconds() - cpu)
        if failure is not None:
            raise failure
        self._journal.discard()
        return self.folder

    def _write(
        self, status: str, reason: str, started: datetime, seconds: float, cpu_seconds: float
    ) -> None:
        import pandas as pd

        path = self.folder.path
        rows = self._rows if status == "done" else []
        frame = pd.DataFrame(rows, columns=None if rows else list(COLUMNS))
        with atomic(path / OBSERVATIONS) as temporary:
            frame.to_parquet(temporary, index=False)
        record = {
            "schema": SCHEMA,
            "paper": self.paper.slug,
            "experiment": self.folder.experiment,
            "size": self.size,
            "target": self.target,
            "status": status,
            "reason": reason,
            "config": self.params,
            "digest": self.digest(),
            "data_mode": self.data_mode,
            "datasets": self._datasets,
            "stand_ins": self._stand_ins,
            "skipped": self._skipped,
            "measurements": _totals(frame),
            "started": started.isoformat(timespec="seconds"),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(seconds, 3),
            "cpu_seconds": round(cpu_seconds, 3),
            "peak_memory_mb": round(_peak_memory_mb(), 1),
            "rows": len(frame),
            **_circumstances(),
        }
        write_json(path / RECORD, record)


def _circumstances() -> dict[str, Any]:
    from common.hardware.machine import fingerprint

    return {"git": git_state(), "machine": fingerprint(), "versions": loaded_versions()}


def _totals(frame: Any) -> list[dict[str, Any]]:
    if "meter" not in frame or not len(frame):
        return []
    metered = frame[frame["meter"] != ""]
    groups = metered.groupby(["metric", "unit", "meter", "measurement"])["value"]
    totals = []
    for (metric, unit, meter, measurement), values in groups:
        quantity = next((q for q in QUANTITIES if metric.endswith(f"_{q}")), metric)
        region = metric.removesuffix(quantity).rstrip("_")
        totals.append(
            {
                "region": region,
                "quantity": quantity,
                "total": float(values.max() if quantity == "peak_memory" else values.sum()),
                "unit": unit,
                "count": len(values),
                "meter": meter,
                "measurement": measurement,
            }
        )
    return totals


def _cpu_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _peak_memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
