"""The command: round trip through files, what it prints, and every wrong use."""

import json

import numpy as np
import pytest

from projects.cachegen.command import main

KV = np.random.default_rng(0).normal(size=(2, 2, 30, 2, 8)).astype(np.float16)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("kv.npy", KV)
    return tmp_path


def encode(*options):
    return main(["encode", "kv.npy", "c.kvg", "--chunk-tokens", "8", *options])


def test_round_trip_with_a_fitted_profile(folder, capsys):
    assert encode("--fit", "p.npz", "--levels", "high,low") == 0
    assert "bits per value" in capsys.readouterr().out
    assert main(["inspect", "c.kvg", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["shape"] == [2, 2, 30, 2, 8] and found["chunks"] == 4
    assert found["bytes"]["high"] > found["bytes"]["low"]
    assert main(["decode", "c.kvg", "out.npy", "--profile", "p.npz"]) == 0
    assert np.abs(np.load("out.npy").astype(float) - KV).mean() < 0.2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["encode", "none.npy", "c.kvg"], "none.npy"),
        (["encode", "kv.npy", "c.kvg", "--codec", "nodelt", "--fit", "p"], "nodelta"),
        (["encode", "kv.npy", "c.kvg", "--codec", "uniform8", "--fit", "p"], "leave --fit away"),
        (["encode", "kv.npy", "c.kvg", "--codec", "uniform8", "--levels", "best"], "medium"),
        (["encode", "text.npy", "c.kvg", "--codec", "uniform8"], "no .npy file"),
        (["inspect", "text.npy"], "stream"),
        (["serve", "nowhere"], "no folder"),
        (["serve", ".", "--host", "0.0.0.0"], "--allow-remote"),
        (["serve", ".", "--rate", "-1"], "positive"),
        (["fetch", "http://127.0.0.1:9", "c", "--policy", "oracle"], "adaptive"),
    ],
)
def test_wrong_use_is_one_line_that_helps(folder, capsys, arguments, message):
    (folder / "text.npy").write_text("no numbers in here at all")
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error and error.startswith("cachegen: ")


def test_a_damaged_stream_is_refused_and_nothing_is_written(folder, capsys):
    encode("--codec", "uniform8")
    data = bytearray((folder / "c.kvg").read_bytes())
    data[-9] ^= 4
    (folder / "c.kvg").write_bytes(data)
    for verb in (["inspect", "c.kvg"], ["decode", "c.kvg", "out.npy"]):
        assert main(verb) == 2
    assert "checksum" in capsys.readouterr().err and not (folder / "out.npy").exists()
