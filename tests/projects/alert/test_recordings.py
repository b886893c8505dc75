"""What is recorded holds what its recipe says, and damaged recordings are refused by name."""

import json

import numpy as np
import pandas as pd
import pytest

from common.errors import DataError
from projects.alert import recordings
from projects.alert.profile import ProfileTable
from projects.alert.trace_experiments import NORMAL_95, foreseen

MADE = [
    name
    for name in (recordings.CONTENTION, recordings.PROFILE, recordings.NETWORKS)
    if (recordings.FOLDER / name).exists()
]


@pytest.mark.parametrize("name", MADE)
def test_every_recording_has_its_recipe(name):
    recipe = recordings.read_recipe(name)
    assert recipe["command"].startswith("python -m projects.alert.record_")
    assert {"cpu", "kernel", "usable_cores"} <= set(recipe["machine"])
    assert recipe["versions"]["numpy"] and recipe["meters"] and recipe["licence"]


def test_recordings_are_small():
    files = [path for path in recordings.FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 1_000_000
    assert (recordings.FOLDER / recordings.CONTENTION).stat().st_size <= 300_000


def test_recorded_trace_is_what_was_asked_for():
    trace = recordings.read(recordings.FOLDER / recordings.CONTENTION)
    recipe = recordings.read_recipe(recordings.CONTENTION)
    assert len(trace) == recipe["rows"] == recipe["parameters"]["inputs"]
    assert (trace["input"] == np.arange(len(trace))).all()
    assert set(trace["load"]) == {"none", "memory", "compute"}
    medians = trace.groupby("load")["seconds"].median()
    assert medians["none"] < min(medians["memory"], medians["compute"])


@pytest.mark.skipif(recordings.PROFILE not in MADE, reason="no profile is recorded yet")
def test_recorded_profile_is_a_profile_table():
    frame = recordings.read(recordings.FOLDER / recordings.PROFILE)
    table = ProfileTable.from_frame(frame, fail_accuracy=0.1)
    assert table.is_anytime.any() and not table.is_anytime.all()
    assert "modelled" in recordings.read_recipe(recordings.PROFILE)["meters"]["power"]
    index = json.loads((recordings.FOLDER / recordings.NETWORKS / recordings.INDEX).read_text())
    accuracies = {entry["name"]: entry["accuracies"] for entry in index["networks"]}
    for k, name in enumerate(table.models):
        stages = table.accuracy[k, : table.stages[k]]
        assert stages == pytest.approx(accuracies[name], abs=1e-6)


def test_recording_the_same_numbers_gives_the_same_file(tmp_path):
    frame = pd.DataFrame({"input": [0, 1], "seconds": [0.001, 0.002], "load": ["none", "memory"]})
    recipe = {"command": "python -m x", "parameters": {}, "meters": {}, "note": ""}
    first = recordings.write(recordings.CONTENTION, frame, recipe, tmp_path).read_bytes()
    second = recordings.write(recordings.CONTENTION, frame, recipe, tmp_path).read_bytes()
    assert first == second
    assert recordings.read(tmp_path / recordings.CONTENTION).equals(frame)
    assert recordings.read_recipe(recordings.CONTENTION, tmp_path)["rows"] == 2
    with pytest.raises(DataError, match="does not describe profile"):
        recordings.read_recipe(recordings.PROFILE, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("input,seconds\n0,0.1\n", "expected input, seconds, load"),
        ("input,seconds,load\n0,0.1,none\n1,-0.1,none\n", "row 1: seconds is -0.1"),
        ("input,seconds,load\n0,fast,none\n", "row 0: seconds is fast"),
        ("", "cannot be read"),
    ],
)
def test_damaged_recordings_are_refused(tmp_path, text, message):
    import gzip

    path = tmp_path / recordings.CONTENTION
    path.write_bytes(gzip.compress(text.encode()))
    with pytest.raises(DataError, match=message):
        recordings.read(path)
    path.write_bytes(b"no gzip")
    with pytest.raises(DataError, match="cannot be read"):
        recordings.read(path)
    with pytest.raises(DataError, match="cannot be read"):
        recordings.read(tmp_path / "profile.csv")


def test_contention_recipe_runs(tmp_path):
    pytest.importorskip("onnx")
    from projects.alert.record_contention import record

    frame = record(tmp_path, inputs=24, length=6, width=2, processes=1)
    assert recordings.read(tmp_path / recordings.CONTENTION).shape == (24, 3)
    assert list(frame["load"].unique()) == ["none", "memory", "compute"]
    command = recordings.read_recipe(recordings.CONTENTION, tmp_path)["command"]
    assert command.endswith("--inputs 24 --length 6 --width 2 --processes 1 --seed 0")


def test_filter_foresees_without_looking_ahead():
    from projects.alert.filters import KalmanConfig

    ratio = np.array([1.0, 1.0, 3.0, 3.0, 3.0])
    mean, deviation = foreseen(ratio, KalmanConfig())
    assert mean[0] == 1.0 and mean[2] == pytest.approx(1.0)  # the jump at 2 is not known yet
    assert mean[3] == pytest.approx(3.0, abs=0.05)
    assert abs(ratio[2] - mean[2]) > NORMAL_95 * deviation[2]
    changed = foreseen(np.r_[ratio[:4], 9.0], KalmanConfig())[0]
    assert (changed == mean).all()
