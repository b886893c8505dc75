"""Reading the smartwatch recordings: rate, units, clocks, labels of mixed windows."""

import io

import numpy as np
import pandas as pd
import pytest

from projects.watchhar import geotec
from projects.watchhar.geotec import Recording, event_windows, label_windows, prolonged, read


def table(seconds=4.0, hz=100.0, tone=2.0):
    """A wrist that swings at ``tone`` Hz around gravity, seated for the first half."""
    t = np.arange(0, seconds, 1 / hz)
    frame = pd.DataFrame({name: np.zeros(len(t)) for name in geotec.CHANNELS})
    frame["z_acc"] = 9.81 + np.sin(2 * np.pi * tone * t)
    frame["timestamp"] = np.round(1.6e12 + 1000 * t).astype("int64")
    frame["label"] = np.where(t < seconds / 2, "SEATED", "WALKING")
    return frame


def as_bytes(frame):
    written = io.StringIO()
    frame.to_csv(written, index=False)
    return written.getvalue().encode()


def test_the_signal_keeps_its_shape_at_50_hz():
    recording = read("s01/s01_02_sw.csv", as_bytes(table()))
    assert (recording.name, recording.subject) == ("s01_02", "s01")
    t = np.arange(len(recording.imu)) / 50
    inner = slice(20, -20)
    wanted = 9.81 + np.sin(2 * np.pi * 2 * t)
    np.testing.assert_allclose(recording.imu[inner, 2], wanted[inner], atol=0.02)
    assert abs(int(recording.event.sum()) - 100) <= 1
    assert not recording.event[:99].any()


def test_what_50_hz_cannot_hold_is_removed():
    recording = read("s01/s01_01_sw.csv", as_bytes(table(tone=40.0)))
    assert recording.imu[20:-20, 2].std() < 0.05  # 0.7 with an alias at 10 Hz


def test_bursts_of_equal_stamps_and_104_hz_are_accepted():
    frame = table(hz=104.0)
    stamps = frame["timestamp"].to_numpy().copy()
    stamps[50] = stamps[49]
    frame["timestamp"] = stamps
    recording = read("s01/s01_01_sw.csv", as_bytes(frame))
    assert abs(len(recording.imu) - 200) <= 1


def broken(**changes):
    frame = table()
    for name, change in changes.items():
        frame[name] = change(frame[name].astype(object) if name == "label" else frame[name])
    return as_bytes(frame)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (as_bytes(table(hz=60.0)), "measured sample rate 60.0 Hz, expected 100 Hz"),
        (broken(z_acc=lambda x: x / 9.81), "looks like g"),
        (broken(x_gyro=lambda x: x + 90), "looks like degrees"),
        (broken(y_acc=lambda x: x.where(x.index != 7)), "row 8 holds a value"),
        (broken(timestamp=lambda x: x.where(x.index < 200, x - 1500)), "time runs backwards"),
        (broken(label=lambda x: x.where(x.index != 3, "FLYING")), "unknown state 'FLYING'"),
        (as_bytes(table().drop(columns="x_gyro")), "column 'x_gyro' is missing"),
        (as_bytes(table().drop(index=range(150, 165))), "gap of 0.16 s after sample 150"),
        (as_bytes(table().iloc[:1]), "1 samples are no recording"),
    ],
)
def test_bad_recordings(content, message):
    with pytest.raises(ValueError, match=message):
        read("s01/s01_01_sw.csv", content)


def test_rules_for_mixed_windows_by_hand():
    states = np.array([[0, 0, 1], [1, 1, 0], [0, 0, 0], [1, 1, 1]], dtype=bool)
    assert label_windows(states, "last").tolist() == [1, 0, 0, 1]
    assert label_windows(states, "majority").tolist() == [0, 1, 0, 1]
    assert label_windows(states, "any").tolist() == [1, 1, 0, 1]
    with pytest.raises(Exception, match="unknown rule for mixed windows 'first'"):
        label_windows(states, "first")


def recording(idle=40, active=200):
    imu = np.arange((2 * idle + active) * 6, dtype=np.float32).reshape(-1, 6)
    event = np.repeat([False, True, False], [idle, active, idle])
    return Recording("s01_01", "s01", imu, event)


def test_prolonging_repeats_idle_samples_only_and_joins_without_a_jump():
    made = recording()
    windows = event_windows([prolonged(made, 70)], hop=1)
    assert len(windows) == 280 + 140 - 150 + 1
    row = np.concatenate([windows.imu[0], windows.imu[150:, -1]])  # first and later samples
    assert set(map(tuple, windows.imu[0][:70])) <= set(map(tuple, made.imu[:40]))
    assert set(map(tuple, row[-70:])) <= set(map(tuple, made.imu[-40:]))
    steps = np.abs(np.diff(windows.imu[0][:, 0]))
    assert steps.max() <= 6  # neighbours stay neighbours
    assert windows.labels[0] == 1  # the last of 150 samples: 70 put in front, 40 idle, 40 active


def test_an_end_that_moves_is_not_prolonged():
    imu = np.zeros((200, 6), np.float32)
    event = np.repeat([False, True], 100)
    windows = event_windows([prolonged(Recording("s_1", "s", imu, event), 50)], hop=1)
    assert len(windows) == 200 + 50 - 150 + 1


@pytest.mark.data
def test_the_real_recordings():
    from common.data import resolve

    found = geotec.read_all(resolve(geotec.NAME).files, ["s01", "s12"])
    assert len(found) == 12
    assert {r.subject for r in found} == {"s01", "s12"}
    for made in found:
        assert np.median(np.linalg.norm(made.imu[:, :3], axis=1)) == pytest.approx(9.81, abs=0.8)
        assert 0.5 < made.event.mean() < 1
