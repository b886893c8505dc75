"""Both stages behind one small interface, as PyTorch modules or as exported graphs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from common.hardware.targets.wearable.export import onnx_session

if TYPE_CHECKING:
    import torch


class Models(Protocol):
    """What the streaming runtime asks of the two stages."""

    def detect(self, imu: np.ndarray) -> np.ndarray:
        """Map motion (B, 150, 6) to probabilities of an event, shape (B,)."""

    def classify(self, imu: np.ndarray, audio: np.ndarray | None) -> np.ndarray:
        """Map motion (B, 50, 6) and audio (B, 950), or None, to logits (B, C)."""


class TorchModels:
    """The two stages as modules.

    Parameters
    ----------
    detector, classifier : nn.Module
        Put into evaluation mode here. Normalisation belongs inside:
        :class:`projects.watchhar.imu_encoder.Normalised`.
    """

    def __init__(self, detector: torch.nn.Module, classifier: torch.nn.Module) -> None:
        self.detector, self.classifier = detector.eval(), classifier.eval()

    def detect(self, imu: np.ndarray) -> np.ndarray:
        """Map motion (B, 150, 6) to probabilities of an event, shape (B,)."""
        return 1 / (1 + np.exp(-_run(self.detector, imu)))

    def classify(self, imu: np.ndarray, audio: np.ndarray | None) -> np.ndarray:
        """Map motion (B, 50, 6) and audio (B, 950), or None, to logits (B, C)."""
        return _run(self.classifier, imu, *([] if audio is None else [audio]))


class OnnxModels:
    """The two stages as exported graphs of one window each, run by ONNX Runtime.

    Parameters
    ----------
    detector, classifier : Path or str
        Graphs of ``EventDetector`` and of ``WatchHARClassifier``.
    imu_only : Path or str, optional
        Graph of the classifier exported without audio, for a missing microphone.
    threads : int
    """

    def __init__(
        self,
        detector: Path | str,
        classifier: Path | str,
        imu_only: Path | str | None = None,
        *,
        threads: int = 1,
    ) -> None:
        self._detector = onnx_session(detector, threads)
        self._classifier = onnx_session(classifier, threads)
        self._imu_only = onnx_session(imu_only, threads) if imu_only else None

    def detect(self, imu: np.ndarray) -> np.ndarray:
        """Map motion (B, 150, 6) to probabilities of an event, shape (B,)."""
        return 1 / (1 + np.exp(-_each(self._detector, imu)))

    def classify(self, imu: np.ndarray, audio: np.ndarray | None) -> np.ndarray:
        """Map motion (B, 50, 6) and audio (B, 950), or None, to logits (B, C).

        Raises
        ------
        ValueError
            If there is no audio and no graph that does without.
        """
        if audio is not None:
            return _each(self._classifier, imu, audio)
        if self._imu_only is None:
            raise ValueError(
                "there is no audio, and no graph for motion alone; export the classifier with "
                "motion as its only input and pass it as imu_only="
            )
        return _each(self._imu_only, imu)


def _run(module: torch.nn.Module, *inputs: np.ndarray) -> np.ndarray:
    import torch

    with torch.inference_mode():
        return module(*(torch.from_numpy(np.ascontiguousarray(x)) for x in inputs)).numpy()


def _each(run: Any, *inputs: np.ndarray) -> np.ndarray:
    names = [node.name for node in run.get_inputs()]
    rows = (
        run.run(None, {name: x[k : k + 1] for name, x in zip(names, inputs, strict=True)})[0]
        for k in range(len(inputs[0]))
    )
    return np.concatenate(list(rows))
