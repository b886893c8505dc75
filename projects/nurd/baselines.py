"""NURD, its variants and its rivals in one table: name -> how to make it for a job.

Every entry makes a fresh method for one job (section 4 of the comparison): a callable from
checkpoint to scores, of which 1 and above is a flag. Rivals are :class:`~projects.nurd.guarded.
Guarded`: where they cannot be fitted they score zero and count the checkpoint as degenerate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from common.errors import did_you_mean, require
from projects.nurd import detectors
from projects.nurd.evaluation import Method, Outcome
from projects.nurd.guarded import Guarded, Rule, as_score, trainable
from projects.nurd.job import Job
from projects.nurd.protocol import Checkpoint
from projects.nurd.rules import LATE, ElapsedRule, SparkRule

Family = Literal["nurd", "regression", "detector", "pu", "survival", "rule", "privileged"]
Make = Callable[[Job, int], Method]

# Quadratic or worse in the number of finished tasks.
SLOW_DETECTORS = ("abod", "cof", "lscp", "sod", "sos")
MAX_TASKS = 1000


@dataclass(frozen=True)
class MethodSpec:
    """One entry of the table.

    Attributes
    ----------
    label : str
        For figures.
    family : str
        One of ``nurd, regression, detector, pu, survival, rule, privileged``.
    make : callable
        ``make(job, seed)`` returns a fresh method for that job.
    max_tasks : int or None
        Jobs with more tasks than this take too long.
    """

    label: str
    family: Family
    make: Make
    max_tasks: int | None = None

    @property
    def privileged(self) -> bool:
        """Whether it has read true labels; see :func:`held_out`."""
        return self.family == "privileged"


def method(name: str) -> MethodSpec:
    """Return an entry of :data:`METHODS`.

    Raises
    ------
    ValueError
        For an unknown name, with the closest one.
    """
    if name not in METHODS:
        raise ValueError(f"no method {name!r}{did_you_mean(name, METHODS)}")
    return METHODS[name]


def held_out(outcome: Outcome, made: Method) -> Outcome:
    """Leave the tasks whose labels a privileged method has read out of its test set."""
    trained_on = getattr(made, "trained_on", None)
    return outcome if trained_on is None else replace(outcome, test=outcome.test & ~trained_on)


# -- factories -----------------------------------------------------------------------------


def make_nurd(alpha: float = 0.2, eps: float = 0.05, calibrate: bool = True) -> Make:
    """Return the factory of NURD with these parameters; ``calibrate=False`` is NURD-NC."""

    def make(job: Job, seed: int) -> Method:
        require("numba", extra="nurd")
        from projects.nurd.methods import NURD

        return NURD(alpha=alpha, eps=eps, calibrate=calibrate)

    return make


def make_elapsed(share: float) -> Make:
    """Return the factory of the rule ``elapsed >= share * tau``."""
    return lambda job, seed: Guarded(ElapsedRule(share))


def make_spark(multiplier: float, quantile: float) -> Make:
    """Return the factory of Spark's speculation rule."""
    return lambda job, seed: Guarded(SparkRule(multiplier, quantile))


def _make_late(job: Job, seed: int) -> Method:
    return Guarded(LATE(job))


def _make_rule(rule: Rule, package: str) -> Make:
    def make(job: Job, seed: int) -> Method:
        require(package, extra="nurd")
        return Guarded(rule)

    return make


def _make_pu_en(job: Job, seed: int) -> Method:
    from projects.nurd.classifiers import ElkanNotoPU

    return Guarded(ElkanNotoPU(seed))


def _make_pu_bg(job: Job, seed: int) -> Method:
    from projects.nurd.classifiers import BaggingPU

    return Guarded(BaggingPU(seed))


def _make_wrangler(job: Job, seed: int) -> Method:
    from projects.nurd.classifiers import Wrangler

    return Guarded(Wrangler(job, seed))


# -- regression and survival ---------------------------------------------------------------


def _boosted_trees(checkpoint: Checkpoint) -> np.ndarray:
    """GBTR: NURD's latency model without the weight."""
    from projects.nurd.boosting import BoostedTrees

    seen = trainable(checkpoint)
    model = BoostedTrees().fit(seen.X_finished, seen.y_finished)
    return model.predict(seen.X_running) / seen.threshold


def _quantile_trees(checkpoint: Checkpoint) -> np.ndarray:
    """Boosted trees for the 0.9 quantile of the latency: a pessimist's GBTR."""
    from lightgbm import LGBMRegressor

    seen = trainable(checkpoint)
    model = LGBMRegressor(
        objective="quantile",
        alpha=0.9,
        num_leaves=8,
        max_depth=3,
        # The default of 20 makes every tree of the first checkpoints a constant.
        min_child_samples=max(1, min(5, len(seen.finished) // 4)),
        n_jobs=1,
        random_state=42,
        verbose=-1,
    )
    return model.fit(seen.X_finished, seen.y_finished).predict(seen.X_running) / seen.threshold


def _tobit(checkpoint: Checkpoint) -> np.ndarray:
    from projects.nurd.tobit import Tobit

    seen = trainable(checkpoint)
    return Tobit().fit(*_censored(seen)).predict(seen.X_running) / seen.threshold


def _grabit(checkpoint: Checkpoint) -> np.ndarray:
    from projects.nurd.tobit import Grabit

    seen = trainable(checkpoint)
    return Grabit().fit(*_censored(seen)).predict(seen.X_running) / seen.threshold


def _cox(checkpoint: Checkpoint) -> np.ndarray:
    """Flag where the predicted median survival reaches tau, or lies beyond what was observed.

    The median reaches tau where survival just before tau is above one half. A ridge of 0.01 keeps
    the partial likelihood bounded while few tasks have finished.
    """
    from sksurv.linear_model import CoxPHSurvivalAnalysis
    from sksurv.util import Surv

    seen = trainable(checkpoint)
    X, time, censored = _censored(seen)
    model = CoxPHSurvivalAnalysis(alpha=0.01).fit(X, Surv.from_arrays(~censored, time))
    before = np.searchsorted(model.unique_times_, seen.threshold, side="left") - 1
    if before < 0:
        return np.ones(len(seen.running))
    survival = model.predict_survival_function(seen.X_running, return_array=True)[:, before]
    return as_score(2.0 * survival, survival > 0.5)


def _censored(seen: Checkpoint) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All tasks, with the running ones censored at the time they have run."""
    X = np.concatenate([seen.X_finished, seen.X_running])
    time = np.concatenate([seen.y_finished, seen.elapsed])
    return X, time, np.repeat([False, True], [len(seen.finished), len(seen.running)])


# -- the table -----------------------------------------------------------------------------


def _detector(name: str, label: str) -> MethodSpec:
    cap = MAX_TASKS if name in SLOW_DETECTORS else None
    return MethodSpec(label, "detector", detectors.make_detector(name), cap)


def _regression(label: str, family: Family, rule: Rule, package: str) -> MethodSpec:
    return MethodSpec(label, family, _make_rule(rule, package))


METHODS: dict[str, MethodSpec] = {
    "nurd": MethodSpec("NURD", "nurd", make_nurd()),
    "nurd-nc": MethodSpec("NURD-NC", "nurd", make_nurd(calibrate=False)),
    "gbtr": _regression("GBTR", "regression", _boosted_trees, "numba"),
    "quantile": _regression("Quantile GBM", "regression", _quantile_trees, "lightgbm"),
    "abod": _detector("abod", "ABOD"),
    "cblof": _detector("cblof", "CBLOF"),
    "cof": _detector("cof", "COF"),
    "hbos": _detector("hbos", "HBOS"),
    "iforest": _detector("iforest", "Isolation forest"),
    "knn": _detector("knn", "kNN"),
    "lof": _detector("lof", "LOF"),
    "lscp": _detector("lscp", "LSCP"),
    "mcd": _detector("mcd", "MCD"),
    "ocsvm": _detector("ocsvm", "OCSVM"),
    "pca": _detector("pca", "PCA"),
    "sod": _detector("sod", "SOD"),
    "sos": _detector("sos", "SOS"),
    "xgbod": MethodSpec("XGBOD", "detector", detectors.make_xgbod),
    "pu-en": MethodSpec("PU-EN", "pu", _make_pu_en),
    "pu-bg": MethodSpec("PU-BG", "pu", _make_pu_bg),
    "tobit": MethodSpec("Tobit", "survival", _make_rule(_tobit, "scipy")),
    "grabit": _regression("Grabit", "survival", _grabit, "xgboost"),
    "coxph": _regression("CoxPH", "survival", _cox, "sksurv"),
    "wrangler": MethodSpec("Wrangler", "privileged", _make_wrangler),
    "spark-3": MethodSpec("Spark 3 rule", "rule", make_spark(1.5, 0.75)),
    "spark-4": MethodSpec("Spark 4 rule", "rule", make_spark(3.0, 0.9)),
    "late": MethodSpec("LATE", "rule", _make_late),
    "elapsed-0.5": MethodSpec("elapsed 0.5 tau", "rule", make_elapsed(0.5)),
    "elapsed-0.9": MethodSpec("elapsed 0.9 tau", "rule", make_elapsed(0.9)),
}
