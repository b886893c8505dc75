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
from common.hardware.targets.wearable import (
    export_executorch,
    export_fp16_onnx,
    export_int8_onnx,
    export_together,
    profile,
    profile_program,
)
from common.hardware.targets.wearable.export import (
    TOLERANCE,
    Export,
    describe,
    eager,
    onnx_runner,
)
from common.hardware.targets.wearable.profiling import PROGRAM_PARTS
from projects.watchhar.classifier import AUDIO_SAMPLES, IMU_SAMPLES, WatchHARClassifier
from projects.watchhar.detector import SAMPLES as DETECTOR_SAMPLES
from projects.watchhar.detector import EventDetector
from projects.watchhar.frontend import FrontEnd, LeanLogMel, host_log_mel
from projects.watchhar.imu_encoder import Normalised
from projects.watchhar.native_frontend import log_mel_program
from projects.watchhar.pipeline import OnnxModels
from projects.watchhar.stages import STAGES, cut_stages
from projects.watchhar.streaming import AUDIO_RATE, Settings, WatchHARPipeline

if TYPE_CHECKING:
    import pandas as pd

    from projects.watchhar.baselines import Network
    from projects.watchhar.data import Windows

Calls = dict[tuple[str, str], Callable[[], Any]]
UNIFIED, LIBROSA, LEAN = "unified graph", "separate, librosa", "separate, numpy"
SEPARATE_C = "separate, C"
DETECTOR, CLASSIFIER, STREAM = "event detector", "classifier", "streaming runtime"
NETWORK, FRONT_END, FAST_FRONT_END = "network", "front end", "front end, 16 kHz"
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
    NETWORK: (lambda: WatchHARClassifier(frontend=torch.nn.Identity()), ["imu", "spectrogram"]),
    FRONT_END: (released_front_end, ["audio"]),
    FAST_FRONT_END: (partial(FrontEnd, FAST_RATE), ["fast audio"]),
}
PARTS = (NETWORK, FRONT_END)
"""What is cut out of the classifier's file."""


def timed_calls(folder: Path, rates: Sequence[int]) -> Calls:
    """Export the models and return what is timed, by variant and stage.

    Parameters
    ----------
    folder : Path
        Where exports go.
    rates : sequence of int
        Sampling rates at which front ends are compared, in hertz.
    """
    windows, padded = noise(), {f"front end at {rate}": FrontEnd(rate) for rate in rates}
    for name, layer in padded.items():
        samples = AUDIO_SAMPLES * layer.sample_rate // AUDIO_RATE
        windows[f"{name}, audio"] = 0.1 * torch.randn(1, samples)
    alone = {name: (layer, [f"{name}, audio"]) for name, layer in padded.items()}
    built = {name: (_built(name), MODELS[name][1]) for name in (CLASSIFIER, DETECTOR)}
    files = {
        name: each.path for name, each in export_together(built | alone, [windows], folder).items()
    }
    calls = _classifier_calls(files[CLASSIFIER], folder, windows)
    calls[DETECTOR, "total"] = _call(files[DETECTOR], windows["motion"].numpy())
    calls[STREAM, "a second of signal"] = _second(OnnxModels(files[DETECTOR], files[CLASSIFIER]))
    for name, layer in padded.items():
        calls |= _front_ends(layer, files[name], windows[f"{name}, audio"])
    return calls


def _classifier_calls(model: Path, folder: Path, windows: Mapping[str, torch.Tensor]) -> Calls:
    """The classifier whole and in stages, and behind each front end on the host."""
    front, stages = released_front_end(), cut_stages(model, folder)
    imu, audio = (windows[name].numpy() for name in ("imu", "audio"))
    sound, spectrogram = audio[0], front(windows["audio"]).numpy()
    features = [
        *onnx_runner(stages["motion encoder"])([imu]),
        *onnx_runner(stages["sound encoder"])([spectrogram]),
    ]
    taken = {
        "front end": [audio],
        "sound encoder": [spectrogram],
        "motion encoder": [imu],
        "fusion and head": features,
    }
    calls: Calls = {(UNIFIED, "total"): _call(model, imu, audio)}
    calls |= {(UNIFIED, stage): _call(stages[stage], *taken[stage]) for stage in STAGES}
    network = onnx_runner(stages["network"])
    calls[UNIFIED, "network"] = partial(network, [imu, spectrogram])
    for variant, host in ((LIBROSA, partial(host_log_mel, like=front)), (LEAN, LeanLogMel(front))):
        calls[variant, "front end"] = partial(host, sound)
        calls[variant, "network"] = partial(network, [imu, spectrogram])
        calls[variant, "total"] = lambda host=host: network([imu, host(sound)[None]])
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


def _front_ends(layer: FrontEnd, path: Path, samples: torch.Tensor) -> Calls:
    """The repaired front end of a second of sound at one rate, both ways."""
    stage = f"front end, {layer.sample_rate / 1000:g} kHz, padded"
    return {
        (UNIFIED, stage): _call(path, samples.numpy()),
        (LIBROSA, stage): partial(host_log_mel, samples[0].numpy(), like=layer),
        (LEAN, stage): partial(LeanLogMel(layer), samples[0].numpy()),
    }


def float_files(
    models: Sequence[str], params: Mapping[str, Any], folder: Path
) -> dict[str, Export]:
    """Export models at their published size in floats, all in one pass.

    Parts of the classifier are cut out of its file.

    Parameters
    ----------
    models : sequence of str
        Out of ``MODELS``.
    params : mapping
        ``calibration``, on how many windows files are compared with eager mode.
    folder : Path
        Where files go.
    """
    whole = dict.fromkeys(CLASSIFIER if model in PARTS else model for model in models)
    built = {name: (_built(name), MODELS[name][1]) for name in whole}
    files = export_together(built, [noise(seed) for seed in range(params["calibration"])], folder)
    parts = [part for part in PARTS if part in models]
    cut = cut_stages(files[CLASSIFIER].path, folder) if parts else {}
    for part in parts:
        module, windows = _built(part), _windows(part, params["calibration"])
        files[part] = describe(module, windows, cut[part], "onnx", "fp32", tolerance=TOLERANCE)
    return files


def profiled(model: str, whole: Export, params: Mapping[str, Any], folder: Path) -> pd.DataFrame:
    """Profile of a model whose file in floats is there; a stage in all formats.

    Other files go into the folder.
    """
    windows = _windows(model, params["calibration"])
    formats = params["formats"] if model in (DETECTOR, CLASSIFIER) else ["fp32"]
    made = exports(_built(model), windows, formats, folder / f"{model} files", whole)
    return profile([*made.values()], windows[0], targets=params["parts"], runs=params["runs"])


def _windows(model: str, count: int) -> list[list[torch.Tensor]]:
    """Windows of noise as a model takes them."""
    return [[noise(seed)[name] for name in MODELS[model][1]] for seed in range(count)]


def _built(model: str) -> torch.nn.Module:
    """A model with the weights that it has in every run; a part has those of the whole."""
    torch.manual_seed(0)
    return MODELS[known(model, MODELS, "model")][0]()


def profiled_in_c(model: str, params: Mapping[str, Any]) -> pd.DataFrame:
    """Profile of a front end as a C program of its own, where programs run."""
    (name,) = MODELS[known(model, (FRONT_END, FAST_FRONT_END), "front end")][1]
    layer, audio = _built(model), noise()[name]
    return profile_program(
        log_mel_program(layer, audio.shape[1]),
        [audio.numpy()],
        eager(layer, [audio]),
        name=f"{model}, C",
        targets=[part for part in params["parts"] if part in PROGRAM_PARTS],
        runs=params["runs"],
    )


def in_turn(front: pd.DataFrame, network: pd.DataFrame) -> pd.DataFrame:
    """Instructions of a front end and of the network behind it, summed; skipped if either is."""
    import pandas as pd

    both = pd.concat([front, network])
    both = both[both["target"] == "emulator"]
    lacking = both[both["quantity"] == "skipped"]
    return (lacking if len(lacking) else both.assign(**both[["value", "low", "high"]].sum()))[:1]


def quantised(
    trained: Network, windows: Windows, formats: Sequence[str], folder: Path
) -> dict[str, Export]:
    """Exports of a trained classifier in several formats, calibrated on its own windows."""
    model = Normalised(trained.model, trained.scale.scale, trained.scale.shift)
    arrays = (torch.from_numpy(x).float() for x in (windows.imu, windows.audio))
    inputs = [list(pair) for pair in zip(*(array.split(1) for array in arrays), strict=True)]
    named = [dict(zip(("imu", "audio"), pair, strict=True)) for pair in inputs]
    whole = export_together({"fp32": (model, ["imu", "audio"])}, named, folder)["fp32"]
    return exports(model, inputs, formats, folder, whole)


def exports(
    model: torch.nn.Module,
    windows: Sequence[Sequence[torch.Tensor]],
    formats: Sequence[str],
    folder: Path,
    whole: Export,
) -> dict[str, Export]:
    """Export a model in several formats, compared with eager mode on all windows.

    Eight bits are calibrated on them; the ONNX formats are made from ``whole``, the float file.
    """
    made = {}
    for name in formats:
        known(name, ("fp32", *FORMATS), "format")
        path = folder / name.replace(" ", "-")
        made[name] = whole if name == "fp32" else FORMATS[name](model, windows, path, whole)
    return made


def _fp16(model: torch.nn.Module, windows: Any, path: Path, whole: Export) -> Export:
    return export_fp16_onnx(model, windows[0], path, checks=windows[1:], fp32=whole)


def _int8(model: torch.nn.Module, windows: Any, path: Path, whole: Export, **how: Any) -> Export:
    return export_int8_onnx(model, windows[0], path, calibration=windows, fp32=whole, **how)


def _executorch(model: torch.nn.Module, windows: Any, path: Path, whole: Export) -> Export:
    return export_executorch(model, windows[0], path, checks=windows[1:])


def _executorch_int8(model: torch.nn.Module, windows: Any, path: Path, whole: Export) -> Export:
    """Leave front ends in floats, as the ONNX files do."""
    names = [name for name, part in model.named_modules() if isinstance(part, FrontEnd)]
    options = {"precision": "int8", "calibration": windows, "keep_float": names}
    return export_executorch(model, windows[0], path, **options)


FORMATS: dict[str, Callable[[torch.nn.Module, Any, Path, Export], Export]] = {
    "fp16": _fp16,
    "int8": _int8,
    "int8, front end too": partial(_int8, protect_log=False),
    "int8 dynamic": partial(_int8, mode="dynamic"),
    "ExecuTorch fp32": _executorch,
    "ExecuTorch int8": _executorch_int8,
}
