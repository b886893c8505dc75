"""Runners give the answer there was at the deadline, and the times as they were."""

import numpy as np
import pytest

from common.errors import ConfigError
from common.hardware.actuators import CgroupCpuQuota, Range, SimulatedActuator
from common.hardware.probe import Probe, Unavailable
from projects.alert.knob import Knob, PowerModel, find_knob
from projects.alert.profile import ProfileTable
from projects.alert.profiling import measure_profile
from projects.alert.runners import AnytimeRunner, Candidate, OnnxRunner, TorchRunner, ladder


class Clock:
    """Seconds that pass only when somebody works."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def work(self, seconds):
        self.now += seconds


def staircase(clock, seconds=(0.01, 0.02, 0.03)):
    asked = []

    def stages(x):
        for stage, duration in enumerate(seconds, 1):
            clock.work(duration)
            asked.append(stage)
            yield np.full((1, 2), stage)

    return AnytimeRunner(stages, len(seconds), clock), asked


@pytest.mark.parametrize(
    ("stop_at", "stage", "latency", "busy"),
    [
        (None, 3, 0.06, 0.06),
        (1.0, 3, 0.06, 0.06),
        (0.05, 2, 0.03, 0.06),  # stage 3 is under way at the deadline and thrown away
        (0.02, 1, 0.01, 0.03),
        (0.005, 1, 0.01, 0.01),  # late, but there has to be an answer
        (-0.1, 1, 0.01, 0.01),
    ],
)
def test_anytime_runner_stops_at_the_deadline(stop_at, stage, latency, busy):
    runner, asked = staircase(Clock())
    answer = runner.run(None, stop_at)
    assert answer.stage == stage and answer.output[0, 0] == stage
    assert answer.latency == pytest.approx(latency) and answer.busy == pytest.approx(busy)
    assert len(asked) == len(answer.times)


def test_anytime_runner_asks_for_no_stage_after_the_deadline():
    runner, asked = staircase(Clock(), (0.01, 0.01, 0.01, 0.01))
    runner.run(None, 0.02)
    assert len(asked) <= 3


def test_impossible_runners_are_refused():
    with pytest.raises(ValueError, match="at least one stage"):
        AnytimeRunner(lambda x: [], 0)
    with pytest.raises(RuntimeError, match="no output"):
        AnytimeRunner(lambda x: [], 1).run(None)


def test_onnx_stages_equal_one_pass_over_all_of_them():
    pytest.importorskip("onnxruntime")
    from projects.alert.ridge_networks import digits, fitted
    from projects.alert.runners import open_session

    data = digits()
    data = data._replace(test_x=data.test_x[:60], test_y=data.test_y[:60])
    built = fitted((2, 3), data)
    sessions = [open_session(graph) for graph, _ in built]
    runner = AnytimeRunner(ladder(sessions), 2)
    answer = runner.run(data.test_x)
    assert answer.stage == 2 and len(answer.times) == 2
    right = (answer.output.argmax(1) == data.test_y).mean()
    assert right == pytest.approx(built[1][1]) and right > 0.6
    early = runner.run(data.test_x, stop_at=0.0)
    assert early.stage == 1
    assert (early.output.argmax(1) == data.test_y).mean() == pytest.approx(built[0][1])
    with pytest.raises(ValueError, match="feeds one input"):
        OnnxRunner(sessions[1])


def test_torch_runner_gives_the_modules_own_outputs():
    torch = pytest.importorskip("torch")

    class Twice(torch.nn.Module):
        num_stages = 2

        def stages(self, x):
            yield x + 1
            yield x + 2

    x = np.zeros((1, 3), np.float32)
    answer = TorchRunner(Twice(), "cpu").run(x)
    assert answer.stage == 2 and (answer.output == 2).all()
    single = TorchRunner(torch.nn.ReLU(), "cpu").run(x - 1, stop_at=0.0)
    assert single.stage == 1 and (single.output == 0).all()


# -- knob and profile ----------------------------------------------------------------------


def simulated(settings=(0.5, 1.0)):
    return Knob(SimulatedActuator("quota", Range(0.25, 1.0, "cores")), settings)


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_knob_is_undone_whatever_happens(error):
    actuator = SimulatedActuator("quota", Range(0.25, 1.0, "cores"), initial=0.75)
    knob = Knob(actuator, [0.25, 0.5])
    try:
        with knob:
            knob.apply(0.25)
            assert actuator.read() == 0.25
            if error:
                raise error
    except (ValueError, KeyboardInterrupt):
        pass
    assert actuator.read() == 0.75
    with pytest.raises(RuntimeError, match="not held"):
        knob.apply(0.5)


def test_knob_changes_only_what_changes():
    knob = simulated()
    with knob:
        for setting in (1.0, 0.5, 0.5, 1.0, 1.0):
            knob.apply(setting)
    assert knob.actuator.setpoints == [1.0, 0.5]


def test_knob_refuses_settings_that_the_actuator_does():
    with pytest.raises(ConfigError, match="allowed: 0.25 to 1 cores"):
        simulated([0.1])
    with pytest.raises(ValueError, match="at least one setting"):
        simulated([])


def test_locked_actuator_is_named_and_passed_over():
    class Locked(SimulatedActuator):
        def __init__(self):
            super().__init__("rapl_power_cap", Range(10, 100, "W"))

        def probe(self):
            return Probe(
                False, "intel-rapl:0/constraint_0_power_limit_uw may not be written", "root"
            )

    with pytest.raises(Unavailable, match=r"power_limit_uw may not be written; to enable it: root"):
        Knob(Locked(), [50.0]).__enter__()
    knob = find_knob(actuators=[Locked])
    assert knob.actuator.simulated and knob.settings == (1.0,)
    assert "constraint_0_power_limit_uw" in knob.note


def test_found_knob_says_what_it_is():
    knob = find_knob(levels=4)
    assert knob.full == max(knob.settings)
    if isinstance(knob.actuator, CgroupCpuQuota):
        assert knob.settings == (0.25, 0.5, 0.75, 1.0) and "rapl_power_cap" in knob.note


def test_power_model_by_hand():
    model = PowerModel(busy=5.0, idle=1.0, exponent=2.0)
    assert model.watts(0.5) == pytest.approx(2.0)
    # 2 W for 3 s and 1 W for the other 7 s; nothing is idle once the period is over
    assert model.energy(0.5, busy=3.0, period=10.0) == pytest.approx(13.0)
    assert model.energy(1.0, busy=12.0, period=10.0) == pytest.approx(60.0)
    # a core that is switched off for part of the time needs the same energy for the same work
    duty = PowerModel(busy=5.0, idle=1.0, exponent=1.0)
    assert duty.energy(0.5, 4.0, 10.0) == pytest.approx(duty.energy(1.0, 2.0, 10.0))
    assert "2.4" in PowerModel().describe()


def test_measured_profile_holds_the_means_of_what_was_timed():
    clock = Clock()
    runner, _ = staircase(clock, (0.01, 0.03))
    single, _ = staircase(clock, (0.02,))
    candidates = [Candidate("steps", (0.5, 0.8), runner), Candidate("one", (0.7,), single)]
    knob = simulated()
    with knob:
        frame = measure_profile(candidates, knob, None, runs=3)
    table = ProfileTable.from_frame(frame, setting_unit=knob.unit)
    assert table.models == ("steps", "one") and table.settings == (0.5, 1.0)
    assert table.latency[0, :, 0] == pytest.approx([0.01, 0.04])
    assert table.latency[1, 0] == pytest.approx([0.02, 0.02])
    assert table.power[0] == pytest.approx([PowerModel().watts(0.5), PowerModel().watts(1.0)])
    assert frame["spread"].max() == pytest.approx(0.0, abs=1e-9)
    with knob, pytest.raises(ValueError, match="2 stages but 1 accuracies"):
        measure_profile([Candidate("steps", (0.5,), runner)], knob, None)
    with knob, pytest.raises(ValueError, match="runs=0"):
        measure_profile(candidates, knob, None, runs=0)
