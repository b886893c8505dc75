"""NURD and its variants as methods of the replay; :mod:`projects.nurd.baselines` has the rivals."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from projects.nurd.estimator import NURDClassifier
from projects.nurd.protocol import Checkpoint


class NURD:
    """One job's NURD: an estimator that goes from checkpoint to checkpoint.

    Parameters
    ----------
    **params
        Parameters of :class:`~projects.nurd.estimator.NURDClassifier`; the features of a
        checkpoint are scaled already.
    """

    def __init__(self, **params: Any) -> None:
        self.params = params
        self.model: NURDClassifier | None = None

    def __call__(self, checkpoint: Checkpoint) -> np.ndarray:
        """Return the adjusted latency over the threshold of every running task."""
        if self.model is None:
            self.model = NURDClassifier(checkpoint.threshold, scale=False, **self.params)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="NURD cannot predict")
            self.model.partial_fit(
                checkpoint.X_finished, checkpoint.y_finished, checkpoint.X_running
            )
        return self.model.decision_function(checkpoint.X_running, checkpoint.elapsed)
