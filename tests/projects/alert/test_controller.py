import itertools
import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projects.alert import AlertController, Goals, KalmanConfig, ProfileTable
from projects.alert.cost import PeerController, goals_of
from projects.alert.cost import random_profile as many_pairs
from tests.projects.alert.tables import frame, random_profile, small_profile

NORMAL = NormalDist()
SLACK = 1e-4  # in accuracy: twice the error of the table of the normal distribution function


def expectations(profile, goals, mu, sd, phi):
    """Section 2.3, steps 4 to 6, pair by pair: (accuracy, energy, in time, first, last)."""
    limit, pairs = goals.deadline, {}
    for k, j in itertools.product(range(len(profile.models)), range(len(profile.settings))):
        ends = [float(t) for t in profile.latency[k, :, j] if t == t]
        worth = [float(q) for q in profile.accuracy[k] if q == q]
        done = [NORMAL.cdf((limit / t - mu) / sd) for t in ends] + [0.0]
        accuracy = profile.fail_accuracy * (1 - done[0])
        accuracy += sum(q * (done[s] - done[s + 1]) for s, q in enumerate(worth))
        run = mu * ends[-1]
        if len(ends) > 1:
            m, s = mu * ends[-1], sd * ends[-1]
            z = (limit - m) / s
            run = m * NORMAL.cdf(z) - s * NORMAL.pdf(z) + limit * NORMAL.cdf(-z)
            run += s * NORMAL.pdf(m / s) - m * NORMAL.cdf(-m / s)  # no time is negative
        energy = profile.power[k, j] * (run + phi * max(limit - run, 0))
        name = profile.models[k], profile.settings[j]
        pairs[name] = accuracy, energy, mu * ends[0] <= limit, ends[0]
    return pairs


def check_rule(pairs, goals, chosen):
    """The rule of section 2.2 by exhaustion, up to the error of the table."""
    accuracy, energy, in_time, first = pairs[chosen]
    timely = [pair for pair in pairs.values() if pair[2]]
    if not timely:
        assert first == min(pair[3] for pair in pairs.values())
        return
    assert in_time
    if goals.accuracy is not None:
        surely = [pair[1] for pair in timely if pair[0] >= goals.accuracy + SLACK]
        maybe = [pair for pair in timely if pair[0] >= goals.accuracy - SLACK]
        if surely:
            assert accuracy >= goals.accuracy - SLACK
            assert energy <= min(surely) * (1 + 10 * SLACK)
        elif not maybe:
            assert accuracy >= max(pair[0] for pair in timely) - SLACK
        return
    surely = [pair[0] for pair in timely if pair[1] <= goals.energy * (1 - 10 * SLACK)]
    maybe = [pair for pair in timely if pair[1] <= goals.energy * (1 + 10 * SLACK)]
    if surely:
        assert energy <= goals.energy * (1 + 10 * SLACK)
        assert accuracy >= max(surely) - SLACK
    elif not maybe:
        assert accuracy >= max(pair[0] for pair in timely) - SLACK


GOALS = st.one_of(
    st.builds(Goals, deadline=st.floats(0.002, 0.4), accuracy=st.floats(0.1, 0.5)),
    st.builds(Goals, deadline=st.floats(0.002, 0.4), energy=st.floats(0.01, 20)),
)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 20), GOALS, st.lists(st.floats(0.3, 5), max_size=4))
def test_decides_as_the_rule_says_pair_by_pair(seed, goals, ratios):
    profile = random_profile(seed)
    controller = AlertController(profile, goals)
    for ratio in ratios:
        controller.decide()
        controller.xi.update(ratio)
    decision = controller.decide()
    sd = math.sqrt(controller.xi.variance)
    pairs = expectations(profile, goals, controller.xi.mu, sd, controller.idle.phi)
    chosen = decision.model, decision.setting
    check_rule(pairs, goals, chosen)
    assert decision.expected_accuracy == pytest.approx(pairs[chosen][0], abs=SLACK)
    assert decision.expected_energy == pytest.approx(pairs[chosen][1], rel=10 * SLACK)


@pytest.mark.parametrize("mode", ["energy", "error"])
def test_decides_as_the_version_built_on_libraries(mode):
    pytest.importorskip("filterpy")
    rng = np.random.default_rng(0)
    profile = many_pairs(rng, 30, 31)
    ours = AlertController(profile, goals_of(profile, mode))
    peer = PeerController(profile, goals_of(profile, mode))
    for ratio in rng.uniform(0.8, 1.6, 50):
        decision, (i, j) = ours.decide(), peer.decide()
        assert (decision.model, decision.setting) == (profile.models[i], profile.settings[j])
        latency = profile.latency[i, profile.stages[i] - 1, j] * ratio
        ours.observe(float(latency))
        peer.observe(float(ratio))


def test_energy_is_least_among_those_that_meet_the_accuracy():
    decision = AlertController(small_profile(), Goals(deadline=0.2, accuracy=0.65)).decide()
    assert (decision.model, decision.setting, decision.relaxed) == ("small", 10.0, ())
    assert decision.stop_at is None
    assert decision.expected_accuracy == pytest.approx(0.7)
    assert decision.expected_energy == pytest.approx(9 * (0.02 + 0.3 * 0.18))


def test_anytime_networks_are_stopped():
    profile = small_profile().only(anytime=True)
    controller = AlertController(profile, Goals(deadline=0.05, accuracy=0.5), overhead=0.01)
    assert controller.decide().stop_at == pytest.approx(0.04)


def test_what_is_given_up():
    profile = small_profile()
    # accuracy is there, but not in time
    accuracy = AlertController(profile, Goals(deadline=0.02, accuracy=0.8)).decide()
    assert (accuracy.model, accuracy.relaxed) == ("small", ("accuracy",))
    # too little energy: the most accurate pair in time
    energy = AlertController(profile, Goals(deadline=0.2, energy=0.01)).decide()
    assert (energy.model, energy.relaxed) == ("big", ("energy",))
    # nothing is in time: the earliest first output
    late = AlertController(profile, Goals(deadline=0.001, energy=1)).decide()
    assert (late.setting, late.relaxed) == (20.0, ("deadline",))
    assert late.p_deadline < 0.5


def test_equal_pairs_are_settled_by_place():
    rows = [(name, 1, 0.7, 10, 0.02, 9.0) for name in ("b", "a")]
    profile = ProfileTable.from_frame(frame(rows))
    for goals in (Goals(deadline=0.1, accuracy=0.5), Goals(deadline=0.1, energy=5)):
        assert AlertController(profile, goals).decide().model == "b"


def test_equal_energy_goes_to_the_faster_pair():
    rows = [("slow", 1, 0.7, 10, 0.04, 5.0), ("fast", 1, 0.7, 10, 0.02, 10.0)]
    profile = ProfileTable.from_frame(frame(rows), idle_ratio=0.0)
    decision = AlertController(profile, Goals(deadline=1.0, accuracy=0.5)).decide()
    assert decision.model == "fast"


def test_a_higher_probability_asks_for_a_faster_pair():
    profile = small_profile()
    picks = []
    for probability in (0.05, 0.5, 0.9, 0.99999):
        goals = Goals(deadline=0.065, accuracy=0.8, probability=probability)
        decision = AlertController(profile, goals).decide()
        picks.append(decision.model)
        if decision.relaxed == ():
            assert decision.p_deadline >= probability
    assert picks[:2] == ["big", "big"]
    assert picks[-1] != "big"


@settings(deadline=None, max_examples=30)
@given(st.floats(0.55, 0.99), st.floats(0.01, 0.2), st.integers(0, 10))
def test_what_is_guaranteed_holds_with_its_probability(probability, deadline, seed):
    goals = Goals(deadline=deadline, accuracy=0.3, probability=probability)
    decision = AlertController(random_profile(seed), goals).decide()
    if decision.relaxed == ():
        assert decision.p_deadline >= probability - 1e-9
        assert decision.expected_accuracy >= 0.3


def test_a_stopped_anytime_network_is_measured_by_its_last_stage():
    controller = AlertController(
        small_profile().only(anytime=True), Goals(deadline=0.05, accuracy=0.5)
    )
    decision = controller.decide()
    first = {10.0: 0.020, 20.0: 0.010}[decision.setting]
    controller.observe(3 * first, completed_stage=1)
    assert controller.xi.mu == pytest.approx(3, abs=0.02)


@pytest.mark.parametrize("how", [{"completed_stage": 0}, {"killed": True}])
def test_what_did_not_end_is_a_lower_bound(how):
    controller = AlertController(small_profile(), Goals(deadline=0.2, accuracy=0.65))
    controller.decide()
    controller.observe(0.001, **how)
    assert controller.xi.mu == 1.0 and controller.xi.var == pytest.approx(0.2)
    controller.decide()
    controller.observe(0.2, **how)
    assert controller.xi.mu > 3


def test_a_dropped_input_only_widens():
    controller = AlertController(small_profile(), Goals(deadline=0.2, accuracy=0.65))
    controller.decide()
    controller.observe(None)
    assert controller.xi.mu == 1.0 and controller.xi.var == pytest.approx(0.2)


def test_idle_power_is_learnt():
    controller = AlertController(small_profile(), Goals(deadline=0.2, accuracy=0.65))
    for _ in range(50):
        controller.decide()
        controller.observe(0.02, power_active=10.0, power_idle=6.0)
    assert controller.idle.phi == pytest.approx(0.6, abs=0.01)


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 5),
    st.lists(st.tuples(st.floats(0.3, 6), st.booleans(), st.booleans()), max_size=12),
    st.integers(0, 12),
    st.booleans(),
)
def test_a_restored_controller_goes_on_identically(seed, inputs, cut, between):
    profile = random_profile(seed)
    goals = Goals(deadline=0.1, accuracy=0.4)
    config = KalmanConfig.preset("smooth", alpha=0.5)
    whole = parts = AlertController(profile, goals, config, overhead=0.001)
    whole = AlertController(profile, goals, config, overhead=0.001)
    for step, (ratio, dropped, idle) in enumerate(inputs):
        if step == cut and not between:
            parts = AlertController.from_json(parts.to_json())
        expected = whole.decide()
        assert parts.decide() == expected
        if step == cut and between:
            parts = AlertController.from_json(parts.to_json())
        i, j = profile.models.index(expected.model), profile.settings.index(expected.setting)
        latency = None if dropped else float(profile.latency[i, 0, j]) * ratio
        watts = {"power_idle": 7.0, "power_active": 20.0} if idle else {}
        for controller in (whole, parts):
            controller.observe(latency, completed_stage=1, now=float(step), **watts)
    assert parts.to_json() == whole.to_json()


def test_bad_use():
    profile, goals = small_profile(), Goals(deadline=0.2, accuracy=0.65)
    controller = AlertController(profile, goals)
    with pytest.raises(ValueError, match=r"observe\(\) before decide\(\)"):
        controller.observe(0.1)
    controller.decide()
    for latency in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="it must be positive"):
            controller.observe(latency)
    for stage in (-1, 2, 1.5):
        with pytest.raises(ValueError, match="unknown stage"):
            controller.observe(0.1, completed_stage=stage)
    with pytest.raises(ValueError, match="power_idle is 0.0 W"):
        controller.observe(0.1, power_idle=0.0)


def test_clock_runs_forwards():
    controller = AlertController(small_profile(), Goals(deadline=0.2, accuracy=0.65))
    controller.decide()
    controller.observe(0.1, now=5.0)
    controller.decide()
    with pytest.raises(ValueError, match="clock went backwards, from 5.0 to 4.0"):
        controller.observe(0.1, now=4.0)
    with pytest.raises(ValueError, match="before decide"):
        AlertController(small_profile(), Goals(deadline=0.2, accuracy=0.65)).observe(0.1, now=1.0)


def test_bad_construction():
    profile = small_profile()
    with pytest.raises(ValueError, match="no candidate reaches 0.9"):
        AlertController(profile, Goals(deadline=0.2, accuracy=0.9))
    with pytest.raises(ValueError, match="leaves no time"):
        AlertController(profile, Goals(deadline=0.2, accuracy=0.7), overhead=0.3)
    with pytest.raises(ValueError, match="cannot be negative"):
        AlertController(profile, Goals(deadline=0.2, accuracy=0.7), overhead=-0.1)
    controller = AlertController(profile, Goals(deadline=0.2, accuracy=0.7))
    with pytest.raises(ValueError, match="no candidate reaches"):
        controller.decide(Goals(deadline=0.2, accuracy=0.99))


def test_a_refused_measurement_leaves_the_state_alone():
    controller = AlertController(small_profile(), Goals(deadline=0.2, accuracy=0.65))
    controller.decide()
    before = controller.to_json()
    for bad in ({"latency": 0.1, "power_idle": -1.0}, {"latency": -1.0, "now": 3.0}):
        with pytest.raises(ValueError):
            controller.observe(**bad)
        assert controller.to_json() == before


def test_decisions_are_values():
    decision = AlertController(small_profile(), Goals(deadline=0.2, accuracy=0.65)).decide()
    with pytest.raises(AttributeError):
        decision.model = "other"
