"""The live loop with a clock and networks that are made up, so that every number is known."""

import math

import numpy as np
import pytest

from common.hardware.actuators import Range, SimulatedActuator
from projects.alert.controller import AlertController
from projects.alert.goals import Goals
from projects.alert.knob import Knob
from projects.alert.live import Frame, Static, play
from projects.alert.profile import ProfileTable
from projects.alert.profiling import measure_profile
from projects.alert.runners import AnytimeRunner, Candidate


class World:
    """A machine with a clock, a load, and networks that take what the load makes of their time."""

    slow = {"none": 1.0, "memory": 3.0}

    def __init__(self, fails_at=None):
        self.now, self.load, self.runs, self.fails_at = 5.0, "none", 0, fails_at
        self.switched = []
        self.candidates = [
            Candidate("small", (0.6,), self.runner([0.010])),
            Candidate("big", (0.8,), self.runner([0.060])),
            Candidate("steps", (0.5, 0.7, 0.75), self.runner([0.010, 0.020, 0.025])),
        ]
        self.knob = Knob(SimulatedActuator("share", Range(0.1, 1.0, "cores")), [0.5, 1.0])

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds

    def switch(self, load):
        if load != self.load:
            self.switched.append(load)
        self.load = load

    def runner(self, seconds):
        def stages(x):
            self.runs += 1
            if self.runs == self.fails_at:
                raise KeyboardInterrupt
            for duration in seconds:
                share = self.knob.actuator.read()
                self.now += duration * self.slow[self.load] / share
                yield np.eye(4)[[1, 2]]  # answers class 1, then class 2

        return AnytimeRunner(stages, len(seconds), self.clock)

    def play(self, scheme, stream, **options):
        options = {"deadline": 0.1, "switch": self.switch, **options}
        return play(
            scheme,
            self.candidates,
            self.knob,
            stream,
            clock=self.clock,
            sleep=self.sleep,
            **options,
        )

    def profile(self):
        with self.knob:
            frame = measure_profile(self.candidates, self.knob, None, runs=2)
        return ProfileTable.from_frame(frame, fail_accuracy=0.25)


def stream(*loads, labels=(1, 2)):
    return [Frame(np.zeros((2, 1)), np.array(labels), load) for load in loads]


def test_static_choice_misses_exactly_under_load():
    world = World()
    records = world.play(Static("big", 1.0), stream("none", "memory", "none"))
    assert [r.missed for r in records] == [False, True, False]
    assert [r.latency for r in records] == pytest.approx([0.06, 0.18, 0.06])
    assert [r.right for r in records] == [1.0, 1.0, 1.0]
    assert world.switched == ["memory", "none"]
    assert all(math.isnan(r.slow_down) for r in records)


def test_share_of_right_answers_is_counted_image_by_image():
    (record,) = World().play(Static("small", 1.0), stream("none", labels=(1, 3)))
    assert record.right == 0.5


def test_app_only_returns_the_last_stage_in_time():
    world = World()
    scheme = Static("steps", 1.0, stop_at=0.1)
    quiet, loaded = world.play(scheme, stream("none", "memory"))
    assert (quiet.stage, quiet.latency, quiet.missed) == (3, pytest.approx(0.055), False)
    # stages end at 0.03, 0.09 and 0.165 s
    assert (loaded.stage, loaded.latency, loaded.missed) == (2, pytest.approx(0.09), False)
    assert loaded.busy == pytest.approx(0.165)


def test_setting_slows_the_run_and_is_undone():
    world = World()
    (record,) = world.play(Static("small", 0.5), stream("none"))
    assert record.latency == pytest.approx(0.02) and world.knob.actuator.read() == 1.0


@pytest.mark.parametrize("scheme", ["small", "nowhere"])
def test_everything_is_undone_when_the_loop_breaks(scheme):
    world = World(fails_at=2)
    error = KeyboardInterrupt if scheme == "small" else ValueError
    with pytest.raises(error):
        world.play(Static(scheme, 0.5), stream("none", "none"))
    assert world.knob.actuator.read() == 1.0
    with pytest.raises(RuntimeError, match="not held"):
        world.knob.apply(0.5)


def test_alert_leaves_the_big_network_under_load_and_comes_back():
    world = World()
    profile = world.profile()
    controller = AlertController(profile, Goals(deadline=0.1, energy=1e3))
    loads = ["none"] * 8 + ["memory"] * 8 + ["none"] * 8
    records = world.play(controller, stream(*loads))
    assert sum(r.missed for r in records) <= 1  # at most the first input of the burst
    quiet = [r.model for r in records[2:8]]
    assert set(quiet) == {"big"} and {r.model for r in records[10:16]} <= {"small", "steps"}
    assert {r.model for r in records[20:]} == {"big"}
    assert records[12].slow_down == pytest.approx(3.0, abs=0.1)


def test_real_time_waits_for_the_next_input_and_counts_waiting():
    world = World()
    start = world.now
    records = world.play(Static("small", 1.0), stream("none", "none", "none"), pace="real_time")
    assert world.now == pytest.approx(start + 2 * 0.1 + 0.01)
    assert [r.response for r in records] == pytest.approx([0.01] * 3)
    world = World()
    late = world.play(Static("big", 1.0), stream("memory", "memory", "none"), pace="real_time")
    # the runs end at 0.18, 0.36 and 0.42 s; the inputs arrived at 0, 0.1 and 0.2 s
    assert [r.response for r in late] == pytest.approx([0.18, 0.26, 0.22])
    assert all(r.missed for r in late)


def test_waiting_is_taken_off_an_anytime_networks_time():
    world = World()
    scheme = Static("steps", 1.0, stop_at=0.1)
    first, second = world.play(scheme, stream("memory", "none"), pace="real_time")
    assert first.busy == pytest.approx(0.165)
    # 65 ms late: of the 35 ms left, stages of 10, 20 and 25 ms leave two in time
    assert second.stage == 2 and second.response == pytest.approx(0.095) and not second.missed


@pytest.mark.parametrize("deadline", [0, -1, math.nan])
def test_bad_deadline(deadline):
    with pytest.raises(ValueError, match="must be positive"):
        World().play(Static("small", 1.0), stream("none"), deadline=deadline)


def test_bad_pace_and_unknown_candidate():
    with pytest.raises(ValueError, match="did you mean 'real_time'"):
        World().play(Static("small", 1.0), stream("none"), pace="realtime")
    with pytest.raises(ValueError, match="no candidate; did you mean 'small'"):
        World().play(Static("smal", 1.0), stream("none"))


def test_observe_needs_a_decision_and_a_known_stage():
    world = World()
    controller = AlertController(world.profile(), Goals(deadline=0.1, energy=1e3))
    with pytest.raises(ValueError, match="before decide"):
        controller.observe(0.01)
    controller.decide()
    with pytest.raises(ValueError, match="unknown stage 9"):
        controller.observe(0.01, completed_stage=9)


# -- what the live experiment reports ------------------------------------------------------


def test_a_late_answer_is_worth_a_guess_and_others_what_they_are():
    from types import SimpleNamespace

    from projects.alert.live_experiments import _quality

    bench = SimpleNamespace(family=SimpleNamespace(classes=4))
    scheme = Static("big", 1.0)
    records = World().play(scheme, stream("none", "memory", labels=(1, 3)))
    # in time with one of two right; late, so wrong in three of four guesses
    quality = _quality(records, bench)
    assert quality["misses"] == 0.5 and quality["error"] == pytest.approx((0.5 + 0.75) / 2)


def test_slow_down_is_over_the_profile_of_the_stage_reached():
    from types import SimpleNamespace

    from projects.alert.live_experiments import _times

    world = World()
    bench = SimpleNamespace(profile=world.profile(), deadline=0.1)
    scheme = Static("steps", 1.0, stop_at=0.1)
    times = _times(world.play(scheme, stream("memory", "memory")), bench)
    assert times["slow_down"] == pytest.approx(3.0)
    assert times["response"] == pytest.approx(0.9) and times["overhead"] == pytest.approx(0.0)


def test_every_scheme_begins_once_in_as_many_repetitions():
    from projects.alert.live_experiments import SCHEMES, _rotated

    names = list(SCHEMES)
    orders = [_rotated(names, turn) for turn in range(len(names))]
    assert {order[0] for order in orders} == set(names)
    assert all(sorted(order) == sorted(names) for order in orders)


def test_schemes_are_what_they_are_called():
    from projects.alert.knob import PowerModel
    from projects.alert.live_experiments import SCHEMES, Bench
    from projects.alert.networks import Family

    world = World()
    family = Family(world.candidates, np.zeros((1, 1)), np.zeros(1), 4, "made up")
    bench = Bench(family, world.knob, world.profile(), deadline=0.1, overhead=0.001)
    with world.knob:
        chosen = {name: make(bench).decide() for name, make in SCHEMES.items()}
    assert (chosen["static small"].model, chosen["static small"].setting) == ("small", 1.0)
    assert (chosen["static big"].model, chosen["static big"].setting) == ("big", 1.0)
    app = chosen["App-only"]
    assert (app.model, app.setting, app.stop_at) == ("steps", 1.0, pytest.approx(0.099))
    # at half speed the small network still answers in 20 ms of 100, for less energy
    assert (chosen["Sys-only"].model, chosen["Sys-only"].setting) == ("small", 0.5)
    assert chosen["ALERT"].model == "big" and not chosen["ALERT"].relaxed
    energy = chosen["ALERT min-energy"].expected_energy
    assert energy <= min(chosen["ALERT"].expected_energy, PowerModel().watts(1.0) * 0.1)
