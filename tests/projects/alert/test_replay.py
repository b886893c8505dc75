import numpy as np
import pytest

from common.errors import ConfigError
from projects.alert import KalmanConfig
from projects.alert.baselines import BASELINES, Static, oracle_static
from projects.alert.bench import one_by_one
from projects.alert.environment import Environment, generate, sentences
from projects.alert.replay import MODES, Constraints, Problem, realise, replay
from projects.alert.schemes import ABLATIONS, ALERT_SCHEMES, Adaptive, Oracle
from projects.alert.summary import loss
from tests.projects.alert.tables import random_profile, small_profile


def problem(seed=0, mode="energy", load="memory", n=120, profile=None):
    profile = profile or random_profile(seed)
    environment = generate(np.random.default_rng(seed), load, n, len(profile.models))
    return Problem(profile, environment, Constraints.grid(profile, mode, 3, 4))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("preset", ["responsive", "smooth"])
@pytest.mark.parametrize("probability", [None, 0.9])
@pytest.mark.parametrize("seed", range(3))
def test_all_settings_at_once_decide_as_one_controller_each(seed, probability, mode, preset):
    config, task = KalmanConfig.preset(preset), problem(seed, mode)
    together = replay(task, Adaptive(task, config=config, probability=probability))
    apart = one_by_one(task, config, probability)
    np.testing.assert_array_equal(together.pick, apart.pick)
    np.testing.assert_array_equal(together.energy, apart.energy)


def one_input(profile, ratio, mode, goal, deadline, group=1):
    environment = Environment(
        "hand",
        np.full(group, ratio),
        np.ones((group, len(profile.models))),
        np.zeros(group, dtype=bool),
        np.arange(group, 0, -1),
    )
    return Problem(profile, environment, Constraints(mode, np.array([deadline]), np.array([goal])))


def place(task, model, setting):
    candidates, profile = task.candidates, task.profile
    here = candidates.model == profile.models.index(model)
    here &= candidates.setting == profile.settings.index(setting)
    return np.flatnonzero(here)


@pytest.mark.parametrize(
    "model, setting, accuracy, energy, late",
    [
        # ratio 2, deadline 0.09 s, idle at 0.3 of the power
        ("small", 20, 0.70, 19 * (0.02 + 0.3 * 0.07), False),
        ("big", 20, 0.10, 19 * 0.10, True),  # runs to its end, beyond the period
        ("any", 20, 0.60, 19 * 0.09, False),  # stopped, stage 1 was done
        ("any", 10, 0.60, 9 * 0.09, False),
    ],
)
def test_outcomes_by_hand(model, setting, accuracy, energy, late):
    task = one_input(small_profile(idle_ratio=0.3), 2.0, "energy", 0.7, 0.09)
    pick = place(task, model, setting)
    result = realise(task, pick[None], np.array([[2.0]]), np.array([[0.09]]))
    assert result.accuracy[0, 0] == pytest.approx(accuracy)
    assert result.energy[0, 0] == pytest.approx(energy)
    assert result.late[0, 0] == late
    assert result.violated(task.constraints)[0, 0] == (late or accuracy < 0.7)


def test_energy_goals_count_per_input():
    task = one_input(small_profile(), 1.0, "error", 19 * 0.01, 0.01)
    result = realise(task, place(task, "small", 20)[None], np.ones((1, 1)), np.full((1, 1), 0.01))
    assert not result.violated(task.constraints).any()  # exactly the budget
    assert result.violated(Constraints("error", np.array([0.01]), np.array([0.18]))).all()


def test_words_share_the_time_of_their_sentence():
    task = one_input(small_profile(), 1.0, "energy", 0.6, 0.05, group=3)
    result = replay(task, Static(place(task, "big", 10)))  # 0.09 s a word
    # three words have 0.15 s: 0.05, then (0.15 - 0.09) / 2, then nothing
    assert result.deadline[:, 0] == pytest.approx([0.05, 0.03, 0.05 * 1e-3])


def test_grids_cover_what_the_profile_serves():
    profile = small_profile()
    grid = Constraints.grid(profile, "energy", 3, 4)
    assert len(grid) == 12
    assert np.unique(grid.deadline) == pytest.approx(np.array([0.4, 1.2, 2.0]) * 0.06)
    assert (grid.goal.min(), grid.goal.max()) == (0.7, 0.8)
    budget = Constraints.grid(profile, "error", 3, 4)
    assert budget.goal[3::4] == pytest.approx(19 * budget.deadline[3::4])
    assert (budget.goal[::4] > 0).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(3))
def test_no_scheme_that_keeps_the_goals_beats_the_oracle(seed, mode):
    task = problem(seed, mode)
    best = replay(task, Oracle(task))
    kept = ~best.violated(task.constraints)
    for make in {**ALERT_SCHEMES, **BASELINES}.values():
        result = replay(task, make(task))
        both = kept & ~result.violated(task.constraints)
        if mode == "energy":
            assert (result.energy[both] >= best.energy[both] - 1e-12).all()
        else:
            assert (result.accuracy[both] <= best.accuracy[both] + 1.1e-6).all()


@pytest.mark.parametrize("seed", range(3))
def test_the_oracle_keeps_every_goal_that_some_pair_keeps(seed):
    task = problem(seed)
    best = replay(task, Oracle(task)).violated(task.constraints)
    for pair in range(len(task.candidates)):
        fixed = replay(task, Static(np.full(len(task.constraints), pair)))
        assert not (best & ~fixed.violated(task.constraints)).any()


@pytest.mark.parametrize("mode", MODES)
def test_the_static_oracle_is_the_best_fixed_pair(mode):
    task = problem(1, mode)
    constraints = task.constraints
    found = loss(oracle_static(task), constraints)
    runs = [
        replay(task, Static(np.full(len(constraints), pair)))
        for pair in range(len(task.candidates))
    ]
    broken = np.array([run.violated(constraints).mean(axis=0) for run in runs])
    losses = np.array([loss(run, constraints) for run in runs])
    for setting in range(len(constraints)):
        fine = broken[:, setting] <= 0.1 + 1e-9
        fewest = broken[:, setting] == broken[:, setting].min()
        expected = losses[fine if fine.any() else fewest, setting]
        assert found[setting] == pytest.approx(expected.min()) if fine.any() else True
        assert np.isclose(found[setting], expected).any()


def test_what_schemes_may_use():
    task = problem(2, n=60)
    anytime = task.profile.is_anytime
    picked = {name: replay(task, make(task)).pick for name, make in ALERT_SCHEMES.items()}
    model = task.candidates.model
    assert anytime[model[picked["ALERT-Any"]]].all()
    assert not anytime[model[picked["ALERT-Trad"]]].any()
    baselines = {name: replay(task, make(task)).pick for name, make in BASELINES.items()}
    fastest = len(task.profile.settings) - 1
    assert (task.candidates.setting[baselines["App-only"]] == fastest).all()
    assert (baselines["App-only"] == baselines["App-only"][0]).all()
    assert len(np.unique(model[baselines["No-coord"]])) == 1
    for column in model[baselines["Sys-only"]].T:
        assert len(np.unique(column)) == 1 and not anytime[column[0]]


def test_the_bandit_learns_which_arm_pays():
    task = problem(3, mode="error", load="default", n=3000)
    result = replay(task, BASELINES["LinUCB"](task))
    late = result.violated(task.constraints)[-500:].mean()
    early = result.violated(task.constraints)[:500].mean()
    assert late <= early
    assert result.accuracy[-500:].mean() > result.accuracy[:500].mean() - 1e-3


def test_the_loop_follows_a_constant_slow_down():
    profile = random_profile(0)
    n = 200
    environment = Environment(
        "constant",
        np.full(n, 1.7),
        np.ones((n, len(profile.models))),
        np.zeros(n, dtype=bool),
        np.ones(n, dtype=int),
    )
    task = Problem(profile, environment, Constraints.grid(profile, "energy", 2, 2))
    scheme = BASELINES["PI"](task)
    replay(task, scheme)
    assert scheme.xi.mu == pytest.approx(1.7, abs=1e-3)


def test_ablations_differ_from_alert():
    task = problem(0, n=200)
    whole = replay(task, Adaptive(task)).pick
    for name, options in ABLATIONS.items():
        pick = replay(task, Adaptive(task, **options)).pick
        assert (pick == whole).all() == (name == "ALERT"), name


def test_sentences_replay_under_every_scheme():
    profile = random_profile(0)
    environment = sentences(np.random.default_rng(0), "memory", 60, len(profile.models))
    task = Problem(profile, environment, Constraints.grid(profile, "energy", 2, 2))
    assert np.isfinite(oracle_static(task).energy).all()
    for make in {**ALERT_SCHEMES, **BASELINES}.values():
        result = replay(task, make(task))
        assert np.isfinite(result.energy).all() and (result.deadline > 0).all()


def test_bad_constraints():
    with pytest.raises(ConfigError, match="did you mean 'energy'"):
        Constraints("enrgy", np.ones(1), np.ones(1))
    with pytest.raises(ValueError, match="at least one setting"):
        Constraints("energy", np.ones(0), np.ones(0))
    with pytest.raises(ValueError, match="no anytime network"):
        traditional = problem(profile=random_profile(0, anytime=0))
        BASELINES["App-only"](traditional)
