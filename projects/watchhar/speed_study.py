"""What the experiments on speed time and export."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from common.errors import known
from common.hardware.targets.wearable import export_int8_onnx, export_onnx, profile
from common.hardware.targets.wearable.export import Export, onnx_runner
from projects.watchhar.classifier import AUDIO_SAMPLES, IMU_SAMPLES, WatchHARClassifier
from projects.watchhar.detector import SAMPLES as DETECTOR_SAMPLES
from projects.watchhar.detector import EventDetector
from projects.watchhar.frontend import FrontEnd, LeanLogMel, host_log_mel
from projects.watchhar.imu_encoder import Normalised
from projects.watchhar.pipeline import OnnxModels
from projects.watchhar.stages import STAGES, cut_stages
from projects.watchhar.streaming import AUDIO_RATE, Settings, WatchHARPipeline

if TYPE_CHECKING:
    import pandas as pd

    from projects.watchhar.baselines import Network
    from projects.watchhar.data import Windows

Calls = dict[tuple[str, str], Callable[[], Any]]
UNIFIED, LIBROSA, LEAN = "unified graph", "separate, librosa", "separate, numpy"
DETECTOR, CLASSIFIER, STREAM = "event detector", "classifier", "streaming runtime"
# The detector looks once a second, the classifier five times (the defaults of the runtime).
HOURLY_DETECTIONS, HOURLY_CLASSIFICATIONS = 3600.0, 18000.0
AXES, CLASSES = 6, 27
FRAMES, MELS = 96, 64  # of a released spectrogram
FAST_RATE = 16_000
FAST_SAMPLES = AUDIO_SAMPLES * FAST_RATE // AUDIO_RATE


def released_front_end() -> FrontEnd:
    """Front end with the released settings, whose empty filters are known here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return FrontEnd(mode="compat")


def noise(seed: int = 0) -> dict[str, torch.Tensor]:
    """One window of each input of the models below."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "imu": torch.randn(1, IMU_SAMPLES, AXES, generator=generator),
        "audio": 0.1 * torch.randn(1, AUDIO_SAMPLES, generator=generator),
        "motion": torch.randn(1, DETECTOR_SAMPLES, AXES, generator=generator),
        "spectrogram": 20 * torch.randn(1, FRAMES, MELS, generator=generator) - 60,
        "fast audio": 0.1 * torch.randn(1, FAST_SAMPLES, generator=generator),
    }


MODELS: dict[str, tuple[Callable[[], torch.nn.Module], list[str]]] = {
    DETECTOR: (EventDetector, ["motion"]),
    CLASSIFIER: (lambda: WatchHARClassifier(frontend=released_front_end()), ["imu", "audio"]),
    "network": (lambda: WatchHARClassifier(frontend=torch.nn.Identity()), ["imu", "spectrogram"]),
    "front end": (released_front_end, ["audio"]),
    "front end, 16 kHz": (partial(FrontEnd, FAST_RATE), ["fast audio"]),
}


def timed_calls(folder: Path, rates: Sequence[int]) -> Calls:
    """Export the models and return what is timed, by variant and stage.

    Parameters
    ----------
    folder : Path
        Where exports go.
    rates : sequence of int
        Sampling rates at which front ends are compared, in hertz.
    """
    front, windows = released_front_end(), noise()
    imu, audio, motion = (windows[name] for name in ("imu", "audio", "motion"))
    model = export_onnx(WatchHARClassifier(frontend=front), [imu, audio], folder / "model.onnx")
    detector = export_onnx(EventDetector(), [motion], folder / "detector.onnx")
    stages = cut_stages(model.path, folder)
    sound, spectrogram = audio[0].numpy(), front(audio).numpy()
    features = [
        *onnx_runner(stages["motion encoder"])([imu.numpy()]),
        *onnx_runner(stages["sound encoder"])([spectrogram]),
    ]
    taken = {
        "front end": [audio.numpy()],
        "sound encoder": [spectrogram],
        "motion encoder": [imu.numpy()],
        "fusion and head": features,
    }
    calls: Calls = {(UNIFIED, "total"): _call(model.path, imu.numpy(), audio.numpy())}
    calls |= {(UNIFIED, stage): _call(stages[stage], *taken[stage]) for stage in STAGES}
    network = onnx_runner(stages["network"])
    calls[UNIFIED, "network"] = partial(network, [imu.numpy(), spectrogram])
    for variant, host in ((LIBROSA, partial(host_log_mel, like=front)), (LEAN, LeanLogMel(front))):
        calls[variant, "front end"] = partial(host, sound)
        calls[variant, "network"] = partial(network, [imu.numpy(), spectrogram])
        calls[variant, "total"] = lambda host=host: network([imu.numpy(), host(sound)[None]])
    calls[DETECTOR, "total"] = _call(detector.path, motion.numpy())
    calls[STREAM, "a second of signal"] = _second(OnnxModels(detector.path, model.path))
    for rate in rates:
        calls |= _front_ends(folder, rate)
    return calls


def _call(path: Path, *inputs: np.ndarray) -> Callable[[], Any]:
    return partial(onnx_runner(path), list(inputs))


def _second(models: OnnxModels) -> Callable[[], Any]:
    """One second of signal through the runtime while an event lasts: five windows classified."""
    pipeline = WatchHARPipeline(
        models, [str(k) for k in range(CLASSES)], settings=Settings(on=0.0, off=0.0)
    )
    rng = np.random.default_rng(0)
    imu = rng.normal(0, 0.1, (IMU_SAMPLES, AXES)) + np.array([0, 0, 9.81, 0, 0, 0])
    audio = rng.normal(0, 0.1, AUDIO_RATE)
    for _ in range(4):
        pipeline.stream(imu, audio)
    return partial(pipeline.stream, imu, audio)


def _front_ends(folder: Path, rate: int) -> Calls:
    """The repaired front end of a second of sound at one rate, both ways."""
    layer = FrontEnd(rate)
    samples = 0.1 * torch.randn(1, AUDIO_SAMPLES * rate // AUDIO_RATE)
    path = export_onnx(layer, [samples], folder / f"front-end-{rate}.onnx").path
    stage = f"front end, {rate / 1000:g} kHz, padded"
    return {
        (UNIFIED, stage): _call(path, samples.numpy()),
        (LIBROSA, stage): partial(host_log_mel, samples[0].numpy(), like=layer),
        (LEAN, stage): partial(LeanLogMel(layer), samples[0].numpy()),
    }


def profiled(model: str, params: Mapping[str, Any]) -> pd.DataFrame:
    """Profile of a model at its published size; a stage also in eight bits, a front end not."""
    build, names = MODELS[known(model, MODELS, "model")]
    windows = [[noise(seed)[name] for name in names] for seed in range(params["calibration"])]
    calibration = windows if model in (DETECTOR, CLASSIFIER) else ()
    options = {"targets": params["parts"], "runs": params["runs"]}
    return profile(build(), windows[0], calibration=calibration, **options)


def quantised(
    trained: Network, windows: Windows, precisions: Sequence[str], folder: Path
) -> dict[str, Export]:
    """Exports of a trained classifier in several precisions, calibrated on its own windows."""
    model = Normalised(trained.model, trained.scale.scale, trained.scale.shift)
    arrays = (torch.from_numpy(x).float() for x in (windows.imu, windows.audio))
    inputs = [list(pair) for pair in zip(*(array.split(1) for array in arrays), strict=True)]
    options: dict[str, dict[str, Any]] = {
        "int8": {"calibration": inputs},
        "int8, front end too": {"calibration": inputs, "protect_log": False},
        "int8 dynamic": {"mode": "dynamic"},
    }
    made = {"fp32": export_onnx(model, inputs[0], folder / "fp32.onnx")}
    for precision in precisions:
        if precision != "fp32":
            choice = options[known(precision, options, "precision")]
            path = folder / f"{precision.replace(' ', '-')}.onnx"
            made[precision] = export_int8_onnx(model, inputs[0], path, fp32=made["fp32"], **choice)
    return {precision: made[precision] for precision in precisions}
