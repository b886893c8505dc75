import pytest

from projects.alert import Goals
from projects.alert.goals import AccuracyWindow, shared_deadline
from tests.projects.alert.tables import small_profile


@pytest.mark.parametrize(
    "given, message",
    [
        ({"deadline": 0, "accuracy": 0.5}, "deadline is 0 s; it must be positive"),
        ({"deadline": -1, "accuracy": 0.5}, "must be positive"),
        ({"deadline": float("nan"), "accuracy": 0.5}, "must be positive"),
        ({"deadline": 1}, "got neither"),
        ({"deadline": 1, "accuracy": 0.5, "energy": 1}, "got both"),
        ({"deadline": 1, "energy": 0}, "energy goal is 0 J"),
        ({"deadline": 1, "accuracy": 70}, "lies in"),
        ({"deadline": 1, "accuracy": 0.7, "probability": 1.0}, "between 0 and 1"),
        ({"deadline": 1, "accuracy": 0.7, "probability": 0.0}, "between 0 and 1"),
    ],
)
def test_bad_goals(given, message):
    with pytest.raises(ValueError, match=message):
        Goals(**given)


def test_goals_out_of_reach():
    with pytest.raises(ValueError, match=r"no candidate reaches 0.95; best is 0.8 \(model big\)"):
        Goals(deadline=1, accuracy=0.95).check(small_profile())
    with pytest.raises(ValueError, match="leaves no time"):
        Goals(deadline=0.001, energy=1).check(small_profile(), overhead=0.001)


def test_a_window_makes_up_for_the_past():
    window = AccuracyWindow(0.8, length=3)
    assert window.target() == pytest.approx(0.8)
    window.record(0.7)
    assert window.target() == pytest.approx(0.9)
    window.record(0.9)
    assert window.target() == pytest.approx(3 * 0.8 - 0.7 - 0.9)
    window.record(0.8)  # 0.7 leaves the window
    assert window.target() == pytest.approx(3 * 0.8 - 0.9 - 0.8)


def test_a_window_asks_for_what_can_be_had():
    window = AccuracyWindow(0.8, length=2, low=0.65, high=0.85)
    window.record(0.1)
    assert window.target() == 0.85
    window.record(1.0)
    assert window.target() == 0.65


def test_a_window_that_is_met_holds_on_average():
    window, results = AccuracyWindow(0.8, length=4), []
    for step in range(40):
        results.append(window.target() + (0.01 if step % 3 else -0.005))
        window.record(results[-1])
        if step >= 3:
            assert sum(results[-4:]) / 4 >= 0.8 - 0.005


def test_bad_windows():
    with pytest.raises(ValueError, match="goal window of 0"):
        AccuracyWindow(0.8, length=0)
    with pytest.raises(ValueError, match="empty"):
        AccuracyWindow(0.8, length=1, low=0.9, high=0.1)


def test_items_of_a_group_share_what_is_left():
    left, shares = 1.0, []
    for items in range(5, 0, -1):
        shares.append(shared_deadline(left, items))
        left -= shares[-1]
    assert shares == pytest.approx([0.2] * 5)
    assert shared_deadline(0.9, 3, overhead=0.3) == pytest.approx(0.2)
    with pytest.raises(ValueError, match="0 items left"):
        shared_deadline(1.0, 0)
