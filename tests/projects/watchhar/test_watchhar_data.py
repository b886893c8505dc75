"""Windows, splits and checks of what a window may hold."""

import numpy as np
import pytest

from projects.watchhar.data import (
    AUDIO_SAMPLES,
    CLASSES,
    CONTEXTS,
    IMU_SAMPLES,
    OTHER,
    Windows,
    class_index,
    join,
    leave_one_out,
    paired,
    starts,
)


def windows(n=6, *, participants=("a", "b", "c"), **changes):
    rng = np.random.default_rng(0)
    parts = {
        "imu": rng.normal(0, 1, (n, IMU_SAMPLES, 6)).astype(np.float32),
        "labels": np.arange(n) % 2,
        "participants": np.resize(participants, n),
        "recordings": np.array([f"r{place}" for place in range(n)]),
        "classes": ("Chopping", "Grating"),
        "audio": rng.uniform(-1, 1, (n, AUDIO_SAMPLES)).astype(np.float32),
    }
    return Windows(**{**parts, **changes})


def test_classes_and_contexts_are_those_of_the_paper():
    assert {name: len(members) for name, members in CONTEXTS.items()} == {
        "Bathroom": 6,
        "Kitchen": 8,
        "Misc": 7,
        "Workshop": 5,
    }
    assert len(CLASSES) == len(set(CLASSES)) == 27
    assert CLASSES[0] == "Alarm_clock"
    assert CLASSES[-1] == OTHER


def test_a_participant_is_never_on_two_sides():
    people = np.repeat([f"p{n}" for n in range(5)], 3)
    folds = list(leave_one_out(people, validation=2))
    assert [fold.name for fold in folds] == [f"p{n}" for n in range(5)]
    for fold in folds:
        sides = [set(people[part]) for part in (fold.train, fold.validation, fold.test)]
        assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
        assert set.union(*sides) == set(people)
        assert len(sides[1]) == 2
        assert sides[2] == {fold.name}


@pytest.mark.parametrize("names", [["a"], ["a", "b"]])
def test_too_few_participants_are_named(names):
    with pytest.raises(ValueError, match=r"needs at least 3 participants, got \d: a"):
        next(leave_one_out(np.array(names)))


def test_sound_ends_25_ms_before_the_motion():
    imu = np.repeat(np.arange(100.0)[:, None], 6, axis=1)
    motion, sound = paired(imu, np.arange(2000.0), hop=10)
    assert motion.shape == (6, 50, 6)
    assert sound.shape == (6, 950)
    for window in range(6):
        end = (motion[window, -1, 0] + 1) * 20  # of the motion, in samples of sound
        assert sound[window, -1] == end - 25 - 1


def test_a_recording_shorter_than_a_window():
    with pytest.raises(ValueError, match="49 samples are fewer than the 50"):
        starts(49, 50, 5)
    with pytest.raises(ValueError, match="fewer than the 50"):
        paired(np.zeros((50, 6)), np.zeros(949), hop=5)


def test_select_and_join_are_inverse():
    whole = windows()
    parts = [whole.select(whole.participants == name) for name in "abc"]
    back = join(parts)
    order = np.argsort(back.recordings)
    np.testing.assert_array_equal(back.imu[order], whole.imu)
    np.testing.assert_array_equal(back.audio[order], whole.audio)


def test_join_refuses_other_classes():
    with pytest.raises(ValueError, match="must share their classes"):
        join([windows(), windows(classes=("Chopping", "Sanding"))])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"imu": np.zeros((6, 50, 9))}, r"pass imu\[\.\.\., :6\]"),
        ({"imu": np.zeros((6, 300))}, r"expected \(windows, samples, 6\)"),
        ({"imu": np.full((6, 50, 6), np.nan)}, r"motion holds 1800 .* the first at \(0, 0, 0\)"),
        ({"audio": np.full((6, 950), 8000.0)}, "audio reaches 8000; .* divide by 32768"),
        ({"audio": np.full((6, 950), np.inf)}, "audio holds 5700 values that are NaN"),
        ({"audio": np.zeros((6, 950, 2))}, r"expected mono, \(windows, samples\)"),
        ({"labels": np.arange(6)}, "labels run from 0 to 5; there are 2 classes"),
        ({"labels": np.zeros(5, int)}, r"lengths \[5, 6\]"),
    ],
)
def test_bad_windows(changes, message):
    with pytest.raises(ValueError, match=message):
        windows(**changes)


def test_unknown_class_names_the_closest():
    with pytest.raises(ValueError, match="unknown class 'Choping'; did you mean 'Chopping'"):
        class_index(["Choping"], CLASSES)


def test_several_may_be_left_out_together():
    people = np.repeat([f"p{n}" for n in range(7)], 2)
    folds = list(leave_one_out(people, together=3))
    assert [fold.name for fold in folds] == ["p0+p1+p2", "p3+p4+p5", "p6"]
    for fold in folds:
        assert set(people[fold.test]) == set(fold.name.split("+"))
        assert not set(people[fold.test]) & set(people[np.r_[fold.train, fold.validation]])
    with pytest.raises(ValueError, match="needs at least 8 participants, got 7"):
        next(leave_one_out(people, together=6))
