import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra 'edge')")

from common.errors import ConfigError
from common.hardware.targets.wearable.costs import layer_costs, total_macs
from common.hardware.targets.wearable.export import export_onnx, onnx_runner
from projects.watchhar import audio_encoder
from projects.watchhar.claims import modelled_range
from projects.watchhar.classifier import WatchHARClassifier
from projects.watchhar.deployment import export_pipeline
from projects.watchhar.detector import EventDetector
from projects.watchhar.frontend import FrontEnd, LeanLogMel, host_log_mel
from projects.watchhar.latency import alternate, quantiles
from projects.watchhar.pipeline import OnnxModels, TorchModels
from projects.watchhar.speed_study import exports, noise, released_front_end
from projects.watchhar.stages import STAGES, cut_stages
from projects.watchhar.streaming import Settings, WatchHARPipeline

pytestmark = pytest.mark.slow  # three exports


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports")
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        # residual and excited blocks among them; all fifteen take three times as long to export
        patch.setattr(audio_encoder, "BLOCKS", audio_encoder.BLOCKS[:5])
        model, detector = WatchHARClassifier(3, width=0.1).eval(), EventDetector(8).eval()
    made = export_pipeline(detector, model, folder, classes="abc", data="noise (synthetic)")
    return model, detector, {name: export.path for name, export in made.items()}


def test_stages_put_together_are_the_graph(exported, tmp_path):
    model, _, files = exported
    stages = cut_stages(files["classifier"], tmp_path)
    imu, audio = (noise(1)[name].numpy() for name in ("imu", "audio"))
    expected = onnx_runner(files["classifier"])([imu, audio])[0]
    (spectrogram,) = onnx_runner(stages["front end"])([audio])
    assert np.abs(spectrogram - host_log_mel(audio, model.frontend)).max() < 1e-3
    (network,) = onnx_runner(stages["network"])([imu, spectrogram])
    features = [
        *onnx_runner(stages["motion encoder"])([imu]),
        *onnx_runner(stages["sound encoder"])([spectrogram]),
    ]
    (fused,) = onnx_runner(stages["fusion and head"])(features)
    assert np.abs(network - expected).max() < 1e-6
    assert np.abs(fused - expected).max() < 1e-6
    assert set(stages) == {*STAGES, "network"}
    work = {name: total_macs(layer_costs(path)) for name, path in stages.items()}
    whole = total_macs(layer_costs(files["classifier"]))
    assert whole == work["front end"] + work["network"] == sum(work[name] for name in STAGES)


def test_a_graph_without_the_stages_is_refused(exported, tmp_path):
    with pytest.raises(ConfigError, match="no node of frontend; export the whole model"):
        cut_stages(exported[2]["detector"], tmp_path)


def test_exported_graphs_stream_as_the_modules_do(exported):
    model, detector, files = exported
    rng = np.random.default_rng(0)
    imu = rng.normal(0, 1, (400, 6)) + np.array([0, 0, 9.81, 0, 0, 0])
    audio = rng.normal(0, 0.1, 8000)
    always = Settings(on=0.0, off=0.0)
    graphs = OnnxModels(files["detector"], files["classifier"], files["imu_only"])
    for sound in (audio, None):
        found, expected = (
            WatchHARPipeline(models, "abc", settings=always).stream(imu, sound)
            for models in (graphs, TorchModels(detector, model))
        )
        assert len(found) == len(expected) > 15
        for ours, theirs in zip(found, expected, strict=True):
            assert (ours.label, ours.modality) == (theirs.label, theirs.modality)
            assert ours.probability == pytest.approx(theirs.probability, abs=1e-5)
    with pytest.raises(ValueError, match="pass it as imu_only="):
        OnnxModels(files["detector"], files["classifier"]).classify(imu[None, :50], None)


def test_every_export_has_its_card(exported):
    for name, path in exported[2].items():
        card = path.with_suffix(".md").read_text(encoding="utf-8")
        assert f"# WatchHAR {name} (onnx, fp32)" in card
        assert "noise (synthetic)" in card and "not trained on" in card


def test_formats_come_in_the_order_asked_for(tmp_path):
    windows = [[noise(seed)["spectrogram"]] for seed in range(2)]
    model = torch.nn.Sequential(torch.nn.Flatten(1), torch.nn.Linear(96 * 64, 8))
    whole = export_onnx(model, windows[0], tmp_path / "whole.onnx")
    made = exports(model, windows, ["int8", "fp16", "fp32"], tmp_path, whole)
    assert [(name, each.precision) for name, each in made.items()] == [
        (name, name) for name in ("int8", "fp16", "fp32")
    ]
    sizes = [each.bytes for each in made.values()]
    assert sizes == sorted(sizes) and sizes[2] > 1.9 * sizes[1] > 3.5 * sizes[0]
    with pytest.raises(ConfigError, match="unknown format 'fp8'.*fp16"):
        exports(model, windows, ["fp8"], tmp_path, whole)


@pytest.mark.parametrize("rate", [1000, 16000])
def test_lean_preprocessing_is_librosas(rate):
    audio = np.random.default_rng(0).normal(0, 0.1, rate)
    for layer in (FrontEnd(rate), released_front_end()):
        assert np.abs(LeanLogMel(layer)(audio) - host_log_mel(audio, layer)).max() < 1e-3


def test_rounds_alternate_and_warm_up_is_left_out():
    calls = []
    found = alternate(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")},
        rounds=2,
        repeats=3,
        warm_up=1,
    )
    assert "".join(calls) == "ab" + "aaabbb" * 2
    assert found["a"].shape == (2, 3) and (found["a"] > 0).all()
    (metrics,) = quantiles(np.arange(101.0)[None])
    assert metrics == {"latency": 50.0, "latency_p95": 95.0}


def test_a_modelled_number_keeps_its_range_and_says_what_it_is():
    row = {"value": 2.0, "low": 1.0, "high": 4.0, "unit": "s"}
    estimate = modelled_range(pd.DataFrame([row]))
    assert (estimate.value, estimate.low, estimate.high, estimate.n) == (2.0, 1.0, 4.0, 1)
    assert "coefficients" in estimate.note
