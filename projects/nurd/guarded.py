"""What every rival has in common: it is fitted anew at each checkpoint, and sometimes cannot be."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from projects.nurd.protocol import Checkpoint

log = logging.getLogger(__name__)

# A rule maps a checkpoint to scores, and raises one of these where it cannot be fitted.
Rule = Callable[[Checkpoint], np.ndarray]
CANNOT_FIT = (ValueError, ArithmeticError, LookupError)

# Remarks that every checkpoint would repeat, and that the count of degenerate ones covers.
CHATTER: tuple[tuple[type[Warning], str], ...] = (
    (FutureWarning, r"The `probability` parameter was deprecated"),  # SVC, as the authors use it
    (UserWarning, r"n_neighbors \(\d+\) is greater than"),  # LOF on few finished tasks
    (UserWarning, r"n_neighbors is set to the number of training points minus 1"),  # ABOD, COF
    (RuntimeWarning, r"Degrees of freedom <= 0 for slice"),  # ABOD, ends as a NaN score
    (UserWarning, r"The number of histogram bins is greater than"),  # LSCP of two detectors
    (UserWarning, r"y should not be presented in unsupervised learning"),  # inside XGBOD
    (UserWarning, r"(?s).*Parameters: \{ \"silent\" \} are not used"),  # inside XGBOD
    (UserWarning, r"The covariance matrix associated to your dataset is not full rank"),  # MCD
    (RuntimeWarning, r"Determinant has increased"),  # MCD
    (RuntimeWarning, r"invalid value encountered"),  # ends as a NaN score, which is counted
    (RuntimeWarning, r"divide by zero encountered"),
    (RuntimeWarning, r"overflow encountered"),
)


class Degenerate(ValueError):
    """A model cannot be fitted at this checkpoint."""


class Guarded:
    """A method that scores zero, and counts, where its rule cannot be fitted.

    Parameters
    ----------
    rule : callable
        Maps a checkpoint to one score per running task.

    Attributes
    ----------
    degenerate : int
        Checkpoints at which the rule could not be fitted, in whole or in part.
    reasons : Counter of str
        Why, in the words of the first line of the error.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> def rule(checkpoint):
    ...     raise Degenerate("one class")
    >>> method = Guarded(rule)
    >>> method(SimpleNamespace(running=np.arange(2))).tolist(), dict(method.reasons)
    ([0.0, 0.0], {'one class': 1})
    """

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.degenerate = 0
        self.reasons: Counter[str] = Counter()

    def __call__(self, checkpoint: Checkpoint) -> np.ndarray:
        """Return the rule's scores, zero where there are none, shape (n_R,)."""
        try:
            with warnings.catch_warnings():
                for category, message in CHATTER:
                    warnings.filterwarnings("ignore", message=message, category=category)
                scores = np.asarray(self.rule(checkpoint), dtype=float)
        except CANNOT_FIT as error:
            self._count(str(error).strip().split("\n")[0] or type(error).__name__)
            return np.zeros(len(checkpoint.running))
        missing = np.isnan(scores)
        if missing.any():
            self._count("scores that are not a number")
        return np.where(missing, 0.0, scores)

    @property
    def trained_on(self) -> np.ndarray | None:
        """Mask of the tasks whose true labels a privileged method has read, shape (n,)."""
        return getattr(self.rule, "trained_on", None)

    def _count(self, reason: str) -> None:
        self.degenerate += 1
        self.reasons[reason] += 1
        log.debug("degenerate checkpoint: %s", reason)


def trainable(checkpoint: Checkpoint, *, among_finished: bool = False) -> Checkpoint:
    """Return the checkpoint without the columns that are constant so far.

    Parameters
    ----------
    among_finished : bool
        Drop columns that are constant among the finished tasks, whatever the running ones show:
        for models that are fitted on finished tasks alone and divide by a column's spread.

    Raises
    ------
    Degenerate
        With fewer than two finished tasks, or no column left.
    """
    if len(checkpoint.finished) < 2:
        raise Degenerate("fewer than 2 finished tasks")
    seen = checkpoint.X_finished
    if not among_finished:
        seen = np.concatenate([seen, checkpoint.X_running])
    keep = seen.max(axis=0) > seen.min(axis=0)
    if not keep.any():
        raise Degenerate("all features are constant")
    return replace(
        checkpoint,
        X_finished=checkpoint.X_finished[:, keep],
        X_running=checkpoint.X_running[:, keep],
    )


def as_score(value: np.ndarray, flag: np.ndarray) -> np.ndarray:
    """Bend values as little as needed for them to reach 1 exactly where flagged.

    Examples
    --------
    >>> as_score(np.array([0.5, 1.5]), np.array([True, False])).tolist()
    [1.0, 0.9999999999999999]
    """
    return np.where(flag, np.maximum(value, 1.0), np.minimum(value, np.nextafter(1.0, 0.0)))
