import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from projects.watchhar.detector import EventDetector, Hysteresis


def test_detector_is_small_and_keeps_single_windows():
    detector = EventDetector().eval()
    assert sum(p.numel() for p in detector.parameters()) < 0.6e6
    assert detector(torch.zeros(1, 150, 6)).shape == (1,)


def test_off_after_two_windows_in_a_row():
    switch = Hysteresis()
    probabilities = [0.49, 0.5, 0.29, 0.31, 0.29, 0.29, 0.49, 0.6]
    states = [False, True, True, True, True, False, False, True]
    assert [switch.update(p) for p in probabilities] == states


@given(st.lists(st.floats(0, 1), max_size=50))
def test_state_follows_from_its_definition(probabilities):
    switch, states = Hysteresis(), []
    for p in probabilities:
        states.append(switch.update(p))
    for t, state in enumerate(states):
        rises = [s for s in range(t + 1) if probabilities[s] >= 0.5]
        falls = [s for s in range(1, t + 1) if max(probabilities[s - 1 : s + 1]) < 0.3]
        assert state == bool(rises and (not falls or falls[-1] <= rises[-1]))


def test_a_gap_forgets():
    switch = Hysteresis()
    switch.update(0.9)
    switch.reset()
    assert not switch.update(0.4)


@pytest.mark.parametrize("options", [{"on": 0.2}, {"off": -1}, {"patience": 0}, {"on": 2}])
def test_nonsense_is_refused(options):
    with pytest.raises(ValueError, match="0 <= off <= on <= 1"):
        Hysteresis(**options)
