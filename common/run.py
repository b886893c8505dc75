"""Run: the context of one experiment, from resolved configuration to written results.

An experiment is a plain function ``f(run)``. It asks the run for parameters, random generators
and data, loops over ``run.cells(...)``, and reports numbers through ``run.observe`` and
``run.measure``. Everything else (progress, resume, provenance, atomic writing) happens here.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import itertools
import json
import logging
import math
import traceback
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from common.errors import ConfigError, DataError, MissingExtra, RepriseError, did_you_mean
from common.journal import Journal, Notes
from common.papers import Paper
from common.provenance import Execution, without_folders
from common.results import (
    COLUMNS,
    DATA_LABELS,
    MEASUREMENT_LABELS,
    OBSERVATIONS,
    RECORD,
    SCHEMA,
    Folder,
    atomic,
    metered_totals,
    write_json,
)
from common.run_data import RunData
from common.sources import experiment_code

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

log = logging.getLogger(__name__)
C = TypeVar("C", bound=Hashable)
PARTIAL = "observations.partial.jsonl"


class Run(RunData):
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
    language_model : str, optional
        Folder of weights, or another reference model, instead of the declared one.

    Attributes
    ----------
    params : dict
        Resolved parameters.
    folder : Folder
        Where the results go.
    language_model : str
        What :func:`common.llm.load` takes; empty for an experiment without one.
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
        language_model: str = "",
    ) -> None:
        super().__init__(paper, data_mode)
        declared = paper.experiment(experiment)
        if target not in declared.targets:
            raise ConfigError(
                f"{paper.slug} {experiment} has no target {target!r}"
                f"{did_you_mean(target, declared.targets)}"
            )
        self.declared = declared
        self.size = size
        self.target = target
        if language_model and not declared.language_model:
            raise ConfigError(f"{paper.slug} {experiment} uses no language model; leave it away")
        self.language_model = language_model or declared.language_model
        self.params = declared.resolve(size, dict(overrides or {}))
        self.folder = Folder(Path(results), size, target, paper.slug, experiment)
        self._begin()

    def _begin(self, journal: Journal | None = None) -> None:
        self._notes = Notes()
        self._rows: list[dict[str, Any]] = []
        self._cell_rows: list[dict[str, Any]] | None = None
        self._journal = journal
        self._loops = itertools.count()

    @property
    def seeds(self) -> range:
        """The seeds of this run: ``range(params["seeds"])``, one seed when none is declared."""
        return range(int(self.params.get("seeds", 1)))

    def rng(self, *key: Hashable) -> np.random.Generator:
        """Random generator that depends on the key alone, not on the order of calls."""
        import numpy as np

        text = json.dumps([self.paper.slug, self.folder.experiment, *map(str, key)])
        return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]))

    # -- work ------------------------------------------------------------------------------

    def cells(self, keys: Iterable[C], *, total: int | None = None) -> Iterator[C]:
        """Iterate over the cells of an experiment with progress and resume.

        A cell is finished when the loop asks for the next one; its observations are then on
        disk. Cells that an earlier, interrupted run finished are not yielded again.

        Raises
        ------
        ValueError
            If a key stands twice, or the loop is inside another loop over cells.
        """
        from tqdm import tqdm

        if self._cell_rows is not None:
            raise ValueError("a loop over cells inside another: loop once, over pairs of keys")
        journal, loop, seen = self._journal, next(self._loops), set()
        keys = list(keys) if total is None else keys
        progress = tqdm(
            keys, total=total, desc=f"{self.paper.slug} {self.folder.experiment}", disable=None
        )
        for key in progress:
            name = json.dumps([loop, key], default=str)
            if name in seen:
                raise ValueError(f"cell {key!r} stands twice in one loop")
            seen.add(name)
            if journal is not None and name in journal.finished:
                self._rows.extend(journal.finished[name]["rows"])
                self._notes.add(journal.finished[name]["notes"])
                continue
            finished = self._cell_rows = []
            try:
                yield key
            finally:  # also when the loop is left by `break`: what was observed counts
                self._cell_rows = None
                self._rows.extend(finished)
            if journal is not None:
                journal.append(name, finished, self._notes)

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
            Further columns, such as ``alpha=0.2``: strings, numbers, booleans or None.

        Raises
        ------
        ValueError
            If a value is infinite, a label unknown, no label of the dataset is known, or a
            parameter is something else than the above.
        """
        label = data or self._notes.datasets.get(dataset, {}).get("label")
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
        params = {name: _plain(name, value) for name, value in params.items()}
        rows = self._rows if self._cell_rows is None else self._cell_rows
        for metric, value in metrics.items():
            value = float(value)
            if math.isinf(value):
                raise ValueError(f"{variant} {dataset} {item}: metric {metric!r} is infinite")
            identity = (str(variant), str(dataset), str(item), int(seed), metric)
            values = (*identity, value, unit, label, measurement, meter)
            rows.append({**dict(zip(COLUMNS, values, strict=True)), **params})

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
        self._notes.skipped[json.dumps(entry)] = entry

    # -- life cycle ------------------------------------------------------------------------

    def digest(self) -> str:
        """Digest of the configuration and the code; an unfinished run resumes only under it."""
        state = {
            "params": self.params,
            "size": self.size,
            "target": self.target,
            "data_mode": self.data_mode,
            "function": self.declared.function,
            "measurement": self.declared.measurement,
            "code": experiment_code(self.paper, self.folder.experiment),
        }
        if self.language_model:
            state["language_model"] = self.language_model
        return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[:16]

    def is_done(self) -> bool:
        """Whether the folder holds a finished run of the same configuration and code.

        A run with stand-ins for data that has become available since is not done.
        """
        path = self.folder.path
        if not ((path / RECORD).exists() and (path / OBSERVATIONS).exists()):
            return False
        try:
            record = self.folder.record()
        except (ConfigError, DataError) as error:
            log.warning("%s", error)
            return False
        same = record.status == "done" and record.digest == self.digest()
        return same and not self._overtaken(record.stand_ins)

    def _overtaken(self, stand_ins: Iterable[str]) -> list[str]:
        """Datasets among those replaced by stand-ins that are on this machine now."""
        from common.data.inspection import presence

        if self.data_mode != "auto":
            return []
        return [name for name in stand_ins if presence(name) in ("mirror", "cache")]

    def execute(self, function: Callable[[Run], None]) -> Folder:
        """Run the experiment and write its folder.

        A missing extra ends as ``skipped`` with the reason. Any other error is written as
        ``failed`` and raised again. Ctrl-C keeps the finished cells for the next time.
        """
        try:
            self.folder.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"results cannot be written: {error}") from error
        execution, digest, config = Execution(), self.digest(), copy.deepcopy(self.params)
        journal = self._resumable(digest)
        self._begin(journal)
        status, reason, failure = "done", "", None
        try:
            function(self)
            if not self._rows:
                raise RepriseError(f"{function.__name__} observed nothing")
            rows = self._write_observations(self._rows)
        except MissingExtra as error:
            status, reason = "skipped", str(error)
            log.warning("skipped: %s", error)
        except Exception as error:
            status, failure = "failed", error
            reason = "".join(traceback.format_exception_only(error)).strip()
        if status != "done":
            rows = self._write_observations([])
        self._write_record(
            status=status,
            reason=without_folders(reason),
            config=config,
            digest=digest,
            measurements=metered_totals(rows),
            rows=len(rows),
            **execution.facts(),
        )
        if failure is not None:
            raise failure
        journal.discard()
        return self.folder

    def _resumable(self, digest: str) -> Journal:
        journal = Journal(self.folder.path / PARTIAL, digest)
        noted = (done["notes"].get("stand_ins", {}) for done in journal.finished.values())
        if arrived := self._overtaken(itertools.chain.from_iterable(noted)):
            log.warning("%s has become available: unfinished run starts anew", ", ".join(arrived))
            journal.start_anew()
        return journal

    def _write_observations(self, rows: list[dict[str, Any]]) -> pd.DataFrame:
        import pandas as pd

        frame = pd.DataFrame(rows, columns=None if rows else list(COLUMNS))
        with atomic(self.folder.path / OBSERVATIONS) as temporary:
            frame.to_parquet(temporary, index=False)
            # No record beside observations that are not its own, should this end here.
            (self.folder.path / RECORD).unlink(missing_ok=True)
        return frame

    def _write_record(self, **facts: Any) -> None:
        record = {
            "schema": SCHEMA,
            "paper": self.paper.slug,
            "experiment": self.folder.experiment,
            "size": self.size,
            "target": self.target,
            "data_mode": self.data_mode,
            "language_model": self.language_model,
            "datasets": self._notes.datasets,
            "stand_ins": self._notes.stand_ins,
            "skipped": list(self._notes.skipped.values()),
            **facts,
        }
        write_json(self.folder.path / RECORD, record)


def _plain(name: str, value: Any) -> str | int | float | bool | None:
    """Scalar of the standard library, which the journal and the table give back as it was."""
    if getattr(value, "ndim", None) == 0:
        value = value.item()
    if value is not None and not isinstance(value, str | int | float | bool):
        raise ValueError(
            f"parameter {name}={value!r:.80} is a {type(value).__name__}; "
            "pass a string, a number, a boolean or None"
        )
    return value
