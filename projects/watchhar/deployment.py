"""Both stages as the files that a watch gets, each with its card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from common.hardware.targets.wearable import Export, export_together, model_card
from common.results import write_bytes
from projects.watchhar.classifier import AUDIO_SAMPLES, IMU_SAMPLES
from projects.watchhar.detector import SAMPLES as DETECTOR_SAMPLES

AXES = 6
LIMITS = (
    "An activity that it was not trained on gets the name of one that it was; set "
    "`Settings.max_energy` from held-out activities.",
    "Motion at 50 Hz in m/s2 and rad/s, sound at 1 kHz in [-1, 1]; other rates and units are "
    "refused by the runtime, not by the file.",
    "Not for medical use or for alarms.",
)


def export_pipeline(
    detector: nn.Module,
    classifier: nn.Module,
    folder: Path | str,
    *,
    classes: Sequence[str],
    data: str,
    metrics: Mapping[str, float] | None = None,
) -> dict[str, Export]:
    """Export both stages for ``OnnxModels``, and the classifier once more without a microphone.

    Parameters
    ----------
    detector, classifier : nn.Module
        With their normalisation inside: :class:`projects.watchhar.imu_encoder.Normalised`.
    folder : Path or str
        Gets ``detector.onnx``, ``classifier.onnx``, ``imu_only.onnx`` and a card (``.md``) each.
    classes : sequence of str
        Names of the classifier's logits.
    data : str
        What it was trained and judged on, with its label.
    metrics : mapping, optional
        Quality of the classifier.

    Returns
    -------
    dict
        Record of each export by the name of its file without suffix.
    """
    folder = Path(folder)
    generator = torch.Generator().manual_seed(0)
    window = {
        "motion": torch.randn(1, DETECTOR_SAMPLES, AXES, generator=generator),
        "imu": torch.randn(1, IMU_SAMPLES, AXES, generator=generator),
        "audio": 0.1 * torch.randn(1, AUDIO_SAMPLES, generator=generator),
    }
    models = {
        "detector": (detector, ["motion"]),
        "classifier": (classifier, ["imu", "audio"]),
        "imu_only": (classifier, ["imu"]),
    }
    names = ", ".join(classes)
    tasks = {
        "detector": "Three seconds of motion to the logit of an event.",
        "classifier": f"A second of motion and sound to: {names}.",
        "imu_only": f"A second of motion, for want of sound, to: {names}.",
    }
    made = export_together(models, [window], folder)
    for name, export in made.items():
        card = model_card(
            export,
            name=f"WatchHAR {name}",
            task=tasks[name],
            data=data,
            metrics=metrics if name == "classifier" else None,
            limits=LIMITS,
        )
        write_bytes(folder / f"{name}.md", card.encode())
    return made
