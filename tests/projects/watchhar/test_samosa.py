"""Imported recordings: nothing but numbers leaves a pickle."""

import os
import pickle
import subprocess
from pathlib import Path

import numpy as np
import pytest

from common.errors import ConfigError
from projects.watchhar import samosa
from projects.watchhar.samosa import convert, import_folder, parse, read_pickle, samosa_windows

NAME = "49---Kitchen---Chopping---1.pkl"


def content(seconds=3.0, protocol=4, **changes):
    rng = np.random.default_rng(0)
    imu = rng.normal(0, 1, (int(50 * seconds), 9))
    imu[:, 2] += 9.81
    audio = rng.integers(-8000, 8000, int(16_000 * seconds)).astype(np.int16)
    return pickle.dumps({"Audio": audio, "IMU": imu, **changes}, protocol=protocol)


class Command:
    """What an attacker would pickle."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


class Call:
    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_survive_every_protocol(protocol):
    arrays = read_pickle(content(protocol=protocol))
    assert arrays["IMU"].shape == (150, 9)
    assert arrays["Audio"].dtype == np.int16


def test_a_pickle_of_an_old_numpy_is_read():
    """Until version 2 the module was called numpy.core."""
    old = content(protocol=2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert b"numpy.core.multiarray" in old
    assert read_pickle(old)["IMU"].shape == (150, 9)


def test_a_malicious_pickle_runs_nothing(tmp_path):
    witness = tmp_path / "owned"
    with pytest.raises(ValueError, match=r"refused: the pickle names (posix|nt)\.system"):
        read_pickle(pickle.dumps({"IMU": Command(witness)}))
    assert not witness.exists()


@pytest.mark.parametrize(
    "value",
    [
        Call(eval, "1"),
        Call(subprocess.check_output, ["true"]),
        Call(getattr, "text", "upper"),
        Call(np.load, "x"),
        Call(np.fromfile, "x"),
        print,
        Path,
    ],
)
def test_other_globals_are_refused(value):
    with pytest.raises(ValueError, match="refused: the pickle names"):
        read_pickle(pickle.dumps({"IMU": value}))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (b"", "no readable pickle"),
        (content()[:-200], "refused|no readable pickle"),
        (pickle.dumps([1]), "holds a list"),
        (pickle.dumps({"IMU": "text"}), "'IMU' holds <U4, not numbers"),
        (pickle.dumps({"IMU": np.array([None])}), "holds object, not numbers"),
    ],
)
def test_damaged_pickles(made, message):
    with pytest.raises(ValueError, match=message):
        read_pickle(made)


def test_conversion_takes_every_16th_sample():
    recording = convert(NAME, content())
    audio = read_pickle(content())["Audio"]
    np.testing.assert_allclose(recording.audio, audio[::16] / 32768, atol=1e-7)
    assert recording.imu.shape == (150, 6)
    assert (recording.participant, recording.activity, recording.trial) == ("49", "Chopping", 1)


def test_recordings_of_other_bring_their_own_sound():
    name = "49---Other---Other---1.pkl"
    silent = np.zeros(48_000, np.int16)
    with pytest.raises(ValueError, match="zero throughout"):
        convert(name, content(Audio=silent))
    own = np.full(3000, 16384, np.int16)
    recording = convert(name, content(Audio=silent, **{"1kHz_Audio": own}))
    assert recording.activity == "Other"
    assert set(recording.audio) == {0.5}


@pytest.mark.parametrize(
    ("name", "made", "message"),
    [
        ("chopping.pkl", content(), "expected PARTICIPANT---CONTEXT---ACTIVITY---TRIAL"),
        ("1---Kitchen---Choping---1.pkl", content(), "did you mean 'Chopping'"),
        (NAME, content(IMU=np.zeros((150, 4))), r"shape \(150, 4\)"),
        (NAME, content(IMU=np.full((150, 9), np.nan)), "NaN or infinity"),
        (NAME, content(IMU=np.full((150, 9), 0.577)), "looks like g"),
        (
            NAME,
            content(IMU=np.tile([0, 0, 9.81, 0, 0, 0], (500, 1))),
            "10.0 s of motion beside 3.0",
        ),
        (NAME, pickle.dumps({"Audio": np.zeros(3)}), "no 'IMU' among"),
    ],
)
def test_bad_recordings(name, made, message):
    with pytest.raises(ValueError, match=message):
        convert(name, made)


def test_context_other_and_all_hold_no_activity():
    assert parse("1---All---Chopping---2.pkl") == ("1", "Other", 2)


def test_import_keeps_what_is_good_and_says_why_not(tmp_path, monkeypatch):
    monkeypatch.setenv("REPRISE_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "TrainingDataset"
    source.mkdir()
    (source / NAME).write_bytes(content())
    (source / "50---Kitchen---Grating---2.pkl").write_bytes(content(seconds=2))
    (source / "51---Kitchen---Grating---1.pkl").write_bytes(pickle.dumps({"IMU": print}))
    assert samosa_windows() is None
    kept, refused = import_folder(source)
    assert kept == 2
    assert list(refused) == ["51---Kitchen---Grating---1.pkl"]
    assert "builtins.print" in refused["51---Kitchen---Grating---1.pkl"]
    windows = samosa_windows(hop=50)
    assert windows.participants.tolist() == ["49", "49", "49", "50", "50"]
    assert {windows.classes[label] for label in windows.labels} == {"Chopping", "Grating"}
    np.testing.assert_array_equal(windows.imu[0], convert(NAME, content()).imu[:50])


def test_an_empty_folder(tmp_path):
    with pytest.raises(ConfigError, match="name the TrainingDataset folder"):
        import_folder(tmp_path)


def test_cache_is_read_without_pickle(tmp_path, monkeypatch):
    monkeypatch.setenv("REPRISE_CACHE", str(tmp_path))
    folder = tmp_path / "data" / samosa.NAME
    folder.mkdir(parents=True)
    np.savez(folder / "1---Kitchen---Chopping---1.npz", imu=np.array([print]), audio=np.zeros(1))
    with pytest.raises(ValueError, match="allow_pickle"):
        samosa_windows()


def test_command_line(tmp_path, monkeypatch, capsys):
    from projects.watchhar.command import main

    monkeypatch.setenv("REPRISE_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "TrainingDataset"
    source.mkdir()
    assert main(["data", "import-samosa", str(source)]) == 2
    assert "name the TrainingDataset folder" in capsys.readouterr().err
    (source / NAME).write_bytes(content())
    assert main(["data", "import-samosa", str(source), "--low-pass"]) == 0
    assert capsys.readouterr().out == "1 recordings imported, 0 refused\n"
    (source / "1---Kitchen---Grating---1.pkl").write_bytes(b"no pickle")
    assert main(["data", "import-samosa", str(source)]) == 2
    assert "refused 1---Kitchen---Grating---1.pkl" in capsys.readouterr().err
