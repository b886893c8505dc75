"""What the experiment on event detection compares, and on which windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from projects.watchhar import geotec
from projects.watchhar.baselines import Classifier, EnergyThreshold, Network, WindowForest

if TYPE_CHECKING:
    from common.run import Run
    from projects.watchhar.data import Windows


def detectors(params: dict[str, Any]) -> dict[str, Classifier]:
    """The event detector and its baselines, untrained.

    Rolling a window would move its last sample, which the label is about, so nothing is augmented.
    """
    from projects.watchhar.augmentation import NONE
    from projects.watchhar.baseline_networks import MotionCNN
    from projects.watchhar.detector import EventDetector
    from projects.watchhar.training import Settings

    settings = Settings(**params["training"], augmentation=NONE)
    channels = params["channels"]
    return {
        "watchhar detector": Network(lambda: EventDetector(channels), settings, inputs="imu"),
        "1-D CNN": Network(lambda: MotionCNN(1, channels=channels // 2), settings, inputs="imu"),
        "random forest": WindowForest(trees=params["trees"]),
        "energy threshold": EnergyThreshold(),
    }


def subjects_windows(run: Run) -> tuple[Windows, dict[str, Windows], str]:
    """Windows to train on, windows to report on, and what observations call their source.

    Trained on recordings with prolonged idle ends; reported on those and on the recordings as they
    are, where the only idle windows are those just after sitting down.
    """
    params, name = run.params, geotec.NAME
    subjects = [f"s{number:02d}" for number in range(1, params["subjects"] + 1)]
    found = run.dataset(name, label="substitute")
    if found is None:
        from projects.watchhar.stand_ins import event_recordings

        run.synthetic(name, "a wrist that rests and then moves")
        recordings = event_recordings(run.rng("events"), subjects=len(subjects))
    else:
        recordings = geotec.read_all(found.files, subjects)
    rule, hop, prolong = params["rule"], params["hop"], params["prolong"]
    train = geotec.event_windows(recordings, rule=rule, hop=params["train_hop"], prolong=prolong)
    tests = {
        "recorded": geotec.event_windows(recordings, rule=rule, hop=hop),
        "prolonged": geotec.event_windows(recordings, rule=rule, hop=hop, prolong=prolong),
    }
    return train, tests, name
