"""The C front end is the spectrogram of librosa and of the layers, here and on an emulated core."""

import shutil
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("onnx", reason="onnx is not installed (extra 'edge')")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra 'edge')")

from common.claims import judge_claims
from common.errors import ConfigError
from common.hardware.probe import Probe
from common.hardware.targets.wearable import probing, profile_program
from common.hardware.targets.wearable.emulate import (
    EmulationError,
    compile_program,
    run_program,
)
from common.hardware.targets.wearable.profiling import Row
from common.papers import load_paper
from common.run import Run
from projects.watchhar import speed_study
from projects.watchhar.frontend import FrontEnd, host_log_mel
from projects.watchhar.native_frontend import log_mel_program
from projects.watchhar.speed_study import in_turn

needs_gcc = pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed")
needs_qemu = pytest.mark.skipif(not probing.emulator(), reason=probing.emulator().reason)


def front_end(rate=1000, mode="compat"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return FrontEnd(rate, mode=mode)


def noise(samples):
    return np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32)


def spectrogram(program, audio):
    """Run the program on this host; warnings of the compiler are errors."""
    binary = compile_program(program, "gcc", ["-Wall", "-Wextra", "-Werror"])
    ((decibels,), _) = run_program(program, binary, audio.astype(np.float32).tobytes())
    return decibels[0]


@needs_gcc
@pytest.mark.parametrize(
    ("rate", "mode", "samples"),
    [
        (1000, "compat", 950),
        (1000, "padded", 930),  # 94 frames do not fill the lanes
        (1000, "narrow", 955),
        (16000, "padded", 15200),
    ],
)
def test_equals_librosa_and_the_layers(rate, mode, samples):
    pytest.importorskip("librosa", reason="librosa is not installed (extra 'watchhar')")
    layer, audio = front_end(rate, mode), noise(samples)
    found = spectrogram(log_mel_program(layer, samples), audio)
    layers = layer(torch.from_numpy(audio)[None])[0].numpy()
    assert found.shape == layers.shape == (1 + samples // layer.hop, layer.n_mels)
    assert np.abs(found - host_log_mel(audio, layer)).max() < 1e-3
    assert np.abs(found - layers).max() < 1e-3


@needs_gcc
def test_a_cosine_of_a_bin_has_its_power_in_closed_form():
    """A Hann window of n samples sums to n / 2: a cosine of amplitude a has power (a n / 4)^2."""
    layer = front_end()
    program = log_mel_program(layer, 950)
    audio = 0.5 * np.cos(2 * np.pi * 8 / 32 * np.arange(950))  # bin 8 of 32 points, 250 Hz
    middle = spectrogram(program, audio)[48]
    mel = layer.mel[:, :, 0].numpy()
    alone = (mel[:, 8] > 0) & ((mel > 0).sum(axis=1) == 1)
    expected = 10 * np.log10((0.5 * 25 / 4) ** 2 * mel[alone, 8])
    assert alone.any() and np.abs(middle[alone] - expected).max() < 0.05  # the mirror at -250 Hz
    assert np.abs(spectrogram(program, np.zeros(950)) + 100).max() < 1e-4


@needs_qemu
def test_it_is_counted_exactly_and_not_if_it_is_another_one():
    layer, audio = front_end(), noise(950)
    options = {"name": "front end", "targets": ["emulator"]}
    program, expected = log_mel_program(layer, 950), layer(torch.from_numpy(audio)[None]).numpy()
    (row,) = profile_program(program, [audio], [expected], **options).to_dict("records")
    assert (row["quantity"], row["measurement"]) == ("instructions", "emulated")
    assert row["low"] == row["value"] == row["high"], "the same number each time"
    # a logarithm a filter and frame at least, and less than the plain product of all bins
    assert 64 * 96 * 10 < row["value"] < 64 * 96 * 32 * 32
    with pytest.raises(EmulationError, match="front end differs from what is expected by "):
        profile_program(program, [audio / 2], [expected], **options)


def test_the_separate_pipeline_is_a_sum_or_has_the_reason():
    columns = ["target", "quantity", "value", "low", "high", "note"]
    counts = [("emulator", "instructions", n, n, n, "") for n in (3.0, 40.0)]
    front, network, other = (
        pd.DataFrame([row], columns=columns)
        for row in (*counts, ("emulator", "skipped", np.nan, np.nan, np.nan, "no emulator"))
    )
    network = pd.concat([network, network.assign(target="x86", quantity="latency")])
    (row,) = in_turn(front, network).to_dict("records")
    assert (row["quantity"], row["value"], row["high"]) == ("instructions", 43.0, 43.0)
    (row,) = in_turn(other, other).to_dict("records")
    assert (row["quantity"], row["note"]) == ("skipped", "no emulator")


def test_without_an_emulator_the_claims_on_counts_are_untested(monkeypatch, tmp_path):
    file = Row("file", "onnx", "fp32", "bytes", 1.0, 1.0, 1.0, "B", "measured", "size of the file")
    lacking = file._replace(target="emulator", quantity="skipped", value=np.nan, note="no emulator")
    table = pd.DataFrame([file, lacking])
    monkeypatch.setattr(speed_study, "float_files", lambda models, *_: dict.fromkeys(models))
    monkeypatch.setattr(speed_study, "profiled", lambda *arguments: table)
    monkeypatch.setattr(probing, "emulator", lambda: Probe(False, "no emulator", "packages"))
    paper = load_paper("watchhar")
    overrides = {"models": ["network", "front end"], "parts": ["x86", "emulator"]}
    run = Run(paper, "wearable", results=tmp_path, size="quick", target="cpu", overrides=overrides)
    run.execute(paper.function("experiments", "wearable"))
    verdicts = {each.claim: each for each in judge_claims(tmp_path, "quick", "cpu", "watchhar")}
    for claim in ("unified-speed-counted", "front-end-counted"):
        assert verdicts[claim].verdict == "untested"
        assert ", C' was skipped: " in verdicts[claim].reason
        assert "no emulator" in verdicts[claim].reason


def test_without_emulator_and_watch_a_program_has_reasons(monkeypatch):
    monkeypatch.setattr(probing, "devices", lambda: ([], "no watch is attached"))
    monkeypatch.setattr(probing, "emulator", lambda: Probe(False, "no emulator", "packages"))
    program = log_mel_program(front_end(), 950)
    rows = profile_program(program, [noise(950)], [np.zeros((1, 96, 64))], name="front end")
    assert list(rows["format"]) == ["c", "c"] and list(rows["quantity"]) == ["skipped"] * 2
    assert "no emulator" in rows["note"][0] and "no watch" in rows["note"][1]
    with pytest.raises(ConfigError, match="unknown part that runs programs 'w5'"):
        profile_program(program, [], [], name="front end", targets=["w5"])


def test_what_is_no_fourier_transform_or_too_short_is_refused():
    with pytest.raises(ConfigError, match="trainable"):
        log_mel_program(FrontEnd(trainable=True), 950)
    with pytest.raises(ValueError, match="128 samples of audio; a transform of 256 points"):
        log_mel_program(FrontEnd(), 128)
