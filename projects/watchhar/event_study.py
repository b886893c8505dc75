"""What the experiment on event detection compares, and on which windows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from projects.watchhar import geotec
from projects.watchhar.baselines import Classifier, EnergyThreshold, Network, WindowForest
from projects.watchhar.evaluation import detection_delays, switched

if TYPE_CHECKING:
    import numpy as np

    from common.run import Run
    from projects.watchhar.data import Windows
    from projects.watchhar.geotec import Recording


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


def subjects_recordings(run: Run) -> tuple[dict[str, list[Recording]], str]:
    """Recordings as they are and with prolonged idle ends, and what observations call them.

    As they are, the only idle windows are those just after sitting down.
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
    longer = [geotec.prolonged(each, params["prolong"]) for each in recordings]
    return {"recorded": recordings, "prolonged": longer}, name


def delays(
    recordings: Iterable[Recording], windows: Windows, scores: np.ndarray, hop: int
) -> Iterator[tuple[str, float]]:
    """Recording of every event, and how late the switch behind the scores noticed it."""
    on = switched(scores, windows.recordings)
    for recording in recordings:
        mine = on[windows.recordings == recording.name]
        for late in detection_delays(recording.event, mine, hop):
            yield recording.name, float(late)
