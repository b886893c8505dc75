"""PyOD's outlier detectors as straggler predictors: fitted on finished tasks, asked about running.

Parameters follow the authors' comparison: contamination 0.1, so that a tenth of the finished
tasks lie beyond each detector's own threshold.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from common.errors import require
from projects.nurd.guarded import Degenerate, Guarded, as_score, trainable
from projects.nurd.job import Job
from projects.nurd.protocol import Checkpoint

CONTAMINATION = 0.1
# No bandwidth gives five equal neighbours a perplexity of 4.5, and SOS would search for one long.
SOS_PERPLEXITY, SOS_EQUAL_ROWS = 4.5, 5

# Name: class in pyod.models.<name>, parameters, whether it takes a seed.
DETECTORS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "abod": ("ABOD", {}, False),
    "cblof": ("CBLOF", {"check_estimator": False}, True),
    "cof": ("COF", {"n_neighbors": 15}, False),
    "hbos": ("HBOS", {}, False),
    "iforest": ("IForest", {}, True),
    "knn": ("KNN", {}, False),
    "lof": ("LOF", {"n_neighbors": 15}, False),
    "lscp": ("LSCP", {}, True),
    "mcd": ("MCD", {}, True),
    "ocsvm": ("OCSVM", {}, False),
    "pca": ("PCA", {}, True),
    "sod": ("SOD", {}, False),
    "sos": ("SOS", {"perplexity": SOS_PERPLEXITY}, False),
}


class Detector:
    """One unsupervised detector over the checkpoints of one job.

    Parameters
    ----------
    build : callable
        Returns a fresh PyOD detector.
    equal_rows : float
        More equal rows than this and the detector is not defined.
    """

    def __init__(self, build: Callable[[], Any], equal_rows: float = np.inf) -> None:
        self.build = build
        self.equal_rows = equal_rows
        self.fitted_on = np.empty((0, 0))
        self.model: Any = None

    def __call__(self, checkpoint: Checkpoint) -> np.ndarray:
        """Return 1 plus the distance from the detector's threshold, in training deviations."""
        seen = trainable(checkpoint, among_finished=True)
        for rows in (seen.X_finished, seen.X_running):
            self._require_distinct(rows)
        if self.model is None or not np.array_equal(self.fitted_on, seen.X_finished):
            self.model, self.fitted_on = None, seen.X_finished
            self.model = self.build().fit(seen.X_finished)
        raw = np.asarray(self.model.decision_function(seen.X_running), dtype=float)
        margin = raw - self.model.threshold_
        spread = float(np.std(self.model.decision_scores_))
        scores = as_score(1.0 + margin / (spread if spread > 0 else 1.0), margin > 0)
        return np.where(np.isnan(raw), np.nan, scores)

    def _require_distinct(self, rows: np.ndarray) -> None:
        if self.equal_rows < len(rows):
            _, counts = np.unique(rows, axis=0, return_counts=True)
            if counts.max() > self.equal_rows:
                raise Degenerate(f"more than {self.equal_rows:g} tasks with the same features")


class Supervised:
    """XGBOD: it needs labelled stragglers, of which a running job has none to begin with."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, checkpoint: Checkpoint) -> np.ndarray:
        """Return twice the predicted probability of straggling."""
        labels = (checkpoint.y_finished > checkpoint.threshold).astype(int)
        if not labels.any():
            raise Degenerate("no finished task is a straggler: all labels are 0")
        seen = trainable(checkpoint, among_finished=True)
        model = require("pyod.models.xgbod", extra="nurd").XGBOD(random_state=self.seed, n_jobs=1)
        model.fit(seen.X_finished, labels)
        flags = model.predict(seen.X_running) == 1
        return as_score(2.0 * np.asarray(model.decision_function(seen.X_running)), flags)


def make_detector(name: str) -> Callable[[Job, int], Guarded]:
    """Return the factory of a detector of :data:`DETECTORS`."""
    kind, params, seeded = DETECTORS[name]

    def make(job: Job, seed: int) -> Guarded:
        require("pyod", extra="nurd")
        cls = getattr(importlib.import_module(f"pyod.models.{name}"), kind)
        extra = {"random_state": seed} if seeded else {}

        def build() -> Any:
            parts = _local_outlier_factors() if name == "lscp" else ()
            return cls(*parts, contamination=CONTAMINATION, **params, **extra)

        return Guarded(Detector(build, SOS_EQUAL_ROWS if name == "sos" else np.inf))

    return make


def make_xgbod(job: Job, seed: int) -> Guarded:
    """Return XGBOD for one job."""
    require("pyod", extra="nurd")
    return Guarded(Supervised(seed))


def _local_outlier_factors() -> tuple[list[Any]]:
    from pyod.models.lof import LOF

    return ([LOF(n_neighbors=5), LOF(n_neighbors=10)],)
