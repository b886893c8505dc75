"""Rivals that classify: positive-unlabelled learning, and Wrangler, which has seen the answers."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from common.errors import require
from projects.nurd.guarded import CANNOT_FIT, Degenerate, as_score, trainable
from projects.nurd.job import Job
from projects.nurd.protocol import Checkpoint
from projects.nurd.rules import UsageSoFar

log = logging.getLogger(__name__)


class BaggingPU:
    """PU-BG: bagged support vector machines, finished tasks against samples of the running ones.

    References
    ----------
    F. Mordelet and J.-P. Vert, A bagging SVM to learn from positive and unlabeled examples,
    Pattern Recognition Letters 37, 2014.
    """

    def __init__(self, seed: int) -> None:
        require("pulearn", extra="nurd")
        self.seed = seed

    def __call__(self, checkpoint: Checkpoint) -> np.ndarray:
        """Return twice the probability of not being like the finished tasks."""
        from pulearn import BaggingPuClassifier

        seen = trainable(checkpoint)
        model = BaggingPuClassifier(_machine(self.seed), random_state=self.seed, n_jobs=1)
        model.fit(*_positive_unlabelled(seen))
        unlike = model.predict_proba(seen.X_running)[:, 0]
        return as_score(2.0 * unlike, unlike >= 0.5)


class ElkanNotoPU:
    """PU-EN: one support vector machine, its probability corrected by a hold-out.

    Where the hold-out has no finished task, PU-BG answers instead; ``fallbacks`` counts that.

    References
    ----------
    C. Elkan and K. Noto, Learning classifiers from only positive and unlabeled data, KDD 2008.
    """

    def __init__(self, seed: int) -> None:
        self.fallback = BaggingPU(seed)
        self.fallbacks = 0
        self.seed = seed

    def __call__(self, checkpoint: Checkpoint) -> np.ndarray:
        """Return twice the corrected probability of not being like the finished tasks."""
        from pulearn import ElkanotoPuClassifier

        seen = trainable(checkpoint)
        model = ElkanotoPuClassifier(
            _machine(self.seed), hold_out_ratio=0.1, random_state=self.seed
        )
        try:
            model.fit(*_positive_unlabelled(seen))
        except CANNOT_FIT as error:
            self.fallbacks += 1
            log.debug("PU-EN falls back to PU-BG: %s", error)
            return self.fallback(checkpoint)
        alike = model.predict_proba(seen.X_running)[:, 1]
        return as_score(2.0 * (1.0 - np.minimum(alike, 1.0)), alike <= 0.5)


class Wrangler:
    """Linear SVM with SMOTE, trained offline on the true labels of part of the job's tasks.

    Privileged: no monitor of a running job could train it. It sees mean usage over the whole run
    in training and mean usage so far in prediction, under every protocol.

    Parameters
    ----------
    job : Job
        With its latencies.
    seed : int
        Of the sample of tasks, of SMOTE and of the classifier.
    share : float
        Share of tasks trained on.

    Attributes
    ----------
    trained_on : ndarray of bool, shape (n,)
        These tasks must not count in the evaluation.

    References
    ----------
    N. Yadwadkar, G. Ananthanarayanan and R. Katz, Wrangler: predictable and faster jobs using
    fewer resources, SoCC 2014.
    """

    def __init__(self, job: Job, seed: int, share: float = 2 / 3) -> None:
        require("imblearn", extra="nurd")
        self.usage = UsageSoFar(job)
        self.trained_on = np.zeros(job.n, dtype=bool)
        chosen = np.random.default_rng(seed).permutation(job.n)[: round(share * job.n)]
        self.trained_on[chosen] = True
        rows, labels = self.usage.final()[chosen], job.stragglers()[chosen].astype(int)
        self.low = rows.min(axis=0)
        self.span = rows.max(axis=0) - self.low
        self.model = self._fit(rows, labels, seed)

    def __call__(self, checkpoint: Checkpoint) -> np.ndarray:
        """Return 1 plus the signed distance from the separating plane."""
        if self.model is None:
            raise Degenerate("fewer than two stragglers, or no varying feature, to train on")
        rows = self._scaled(self.usage.running(checkpoint))
        margin = self.model.decision_function(rows)
        return as_score(1.0 + margin, margin > 0)

    def _fit(self, rows: np.ndarray, labels: np.ndarray, seed: int) -> Any:
        from imblearn.over_sampling import SMOTE
        from sklearn.svm import LinearSVC

        stragglers = int(labels.sum())
        if not 2 <= stragglers < len(labels) - 1 or not self.span.any():
            return None
        sampler = SMOTE(k_neighbors=min(5, stragglers - 1), random_state=seed)
        model = LinearSVC(random_state=seed, dual=False)
        return model.fit(*sampler.fit_resample(self._scaled(rows), labels))

    def _scaled(self, rows: np.ndarray) -> np.ndarray:
        keep = self.span > 0
        return (rows[:, keep] - self.low[keep]) / self.span[keep]


def _machine(seed: int) -> Any:
    from sklearn.svm import SVC

    return SVC(probability=True, random_state=seed)


def _positive_unlabelled(seen: Checkpoint) -> tuple[np.ndarray, np.ndarray]:
    labels = np.repeat([1, 0], [len(seen.finished), len(seen.running)])
    return np.concatenate([seen.X_finished, seen.X_running]), labels
