"""Sessions behind a deadline: real ONNX Runtime, and a clock of its own where time matters."""

import threading

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from projects.alert import wrap
from projects.alert.profile import ProfileTable
from projects.alert.ridge_networks import network
from projects.alert.runners import open_session

IMAGE = {"image": np.random.default_rng(0).random((1, 1, 32, 32), dtype=np.float32)}


@pytest.fixture(scope="module")
def sessions():
    return [open_session(network(width, seed=0)) for width in (2, 6)]


def table(seconds, stages=(1, 1)):
    import pandas as pd

    names = ["0: candidate", "1: candidate"]
    rows = [
        (name, s + 1, (i + (s + 1) / depth) / 2, 1.0, t * (s + 1) / depth, 3.0)
        for i, (name, t, depth) in enumerate(zip(names, seconds, stages, strict=True))
        for s in range(depth)
    ]
    columns = ["model", "stage", "accuracy", "setting", "latency", "power"]
    return ProfileTable.from_frame(pd.DataFrame(rows, columns=columns))


def test_wrapped_sessions_answer_as_the_chosen_one_does(sessions):
    wrapped = wrap(sessions, deadline=5.0, runs=2)
    made = wrapped.run(None, IMAGE)
    assert wrapped.last[0].model == "1: candidate"
    assert np.array_equal(made[0], sessions[1].run(["logits"], IMAGE)[0])
    assert [o.name for o in wrapped.get_outputs()] == ["logits"]  # features differ in size
    assert [i.name for i in wrapped.get_inputs()] == ["image"]
    assert np.array_equal(wrapped.run(["logits"], IMAGE)[0], made[0])
    statistics = wrapped.statistics()
    assert statistics["calls"] == 2 and statistics["missed"] == 0
    assert statistics["chosen"] == {"1: candidate": 2}


def test_paths_name_the_candidates(tmp_path):
    for width in (2, 4):
        (tmp_path / f"wide{width}.onnx").write_bytes(network(width, seed=0))
    wrapped = wrap([tmp_path / "wide2.onnx", str(tmp_path / "wide4.onnx")], deadline=1, runs=1)
    assert wrapped.controller.profile.models == ("0: wide2", "1: wide4")


def test_slow_answers_make_it_choose_the_small_one(sessions):
    class Clock:
        now, step = 0.0, 0.004

        def __call__(self):  # every look at the clock takes a step: a run takes one
            self.now += self.step
            return self.now

    clock = Clock()
    profile = table([0.001, 0.004])
    wrapped = wrap(sessions, deadline=0.02, profile=profile, overhead=0.0, clock=clock)
    wrapped.run(None, IMAGE)
    assert wrapped.last[0].model == "1: candidate" and wrapped.statistics()["missed"] == 0
    clock.step = 0.04  # ten times slower than profiled
    wrapped.run(None, IMAGE)
    assert wrapped.statistics()["missed"] == 1
    assert wrapped.statistics()["slow_down"] == pytest.approx(10, rel=0.05)
    wrapped.run(None, IMAGE)
    assert wrapped.last[0].model == "0: candidate"


def test_anytime_network_is_stopped(sessions):
    class Steps:
        num_stages = 3

        def stages(self, x):
            for stage in range(3):
                yield np.full((len(x), 10), stage)

    class Clock:
        now = 0.0

        def __call__(self):
            self.now += 0.01
            return self.now

    profile = table([0.05, 0.03], stages=(1, 3))
    wrapped = wrap([sessions[0], Steps()], deadline=0.035, profile=profile, clock=Clock())
    (output,) = wrapped.run(None, IMAGE)
    # 10 ms went into deciding, and 24.8 ms were left for stages of 10 ms each
    assert output.shape == (1, 10) and output[0, 0] == 1 and wrapped.last[1].stage == 2


def test_calls_from_several_threads_are_all_counted(sessions):
    wrapped = wrap(sessions, deadline=5.0, runs=1)
    threads = [
        threading.Thread(target=lambda: [wrapped.run(None, IMAGE) for _ in range(20)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrapped.statistics()["calls"] == 80


def test_candidates_that_do_not_fit_are_refused(sessions):
    carried = open_session(network(2, carried=16, seed=0))
    with pytest.raises(ValueError, match="must take the same inputs"):
        wrap([sessions[0], carried], deadline=1)
    with pytest.raises(ValueError, match="at least two"):
        wrap(sessions[:1], deadline=1)
    with pytest.raises(ValueError, match="candidate of type int"):
        wrap([sessions[0], 3], deadline=1)


def test_bad_goals_and_profiles(sessions):
    for deadline in (0, -0.1):
        with pytest.raises(ValueError, match="must be positive"):
            wrap(sessions, deadline=deadline)
    with pytest.raises(ValueError, match="needs accuracies="):
        wrap(sessions, deadline=1, accuracy=0.5)
    with pytest.raises(ValueError, match=r"no candidate reaches 0\.95"):
        wrap(sessions, deadline=1, accuracy=0.95, accuracies=[0.5, 0.8], runs=1)
    with pytest.raises(ValueError, match="1 accuracies for 2 candidates"):
        wrap(sessions, deadline=1, accuracies=[0.5])
    with pytest.raises(ValueError, match="profile has 3 stages"):
        wrap(sessions, deadline=1, profile=table([0.1, 0.1], stages=(1, 3)))
    other = table([0.1, 0.2]).select(["0: candidate"])
    with pytest.raises(ValueError, match="profile names"):
        wrap(sessions, deadline=1, profile=other)


def test_bad_calls(sessions):
    wrapped = wrap(sessions, deadline=1, runs=1)
    with pytest.raises(ValueError, match="unknown output 'logit'; allowed: logits"):
        wrapped.run(["logit"], IMAGE)
    with pytest.raises(ValueError, match="expected image"):
        wrapped.run(None, {"x": IMAGE["image"]})
    assert wrapped.statistics()["calls"] == 0
