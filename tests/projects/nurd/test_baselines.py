"""Every rival runs, counts what it cannot fit, and does what its source says."""

import importlib.util
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest

from common.errors import MissingExtra
from projects.nurd.baselines import METHODS, held_out, make_elapsed, make_nurd, make_spark, method
from projects.nurd.detectors import DETECTORS
from projects.nurd.evaluation import Outcome, metrics, run_method
from projects.nurd.generator import generate_job
from projects.nurd.guarded import Degenerate, Guarded, as_score, trainable
from projects.nurd.job import Job
from projects.nurd.protocol import Checkpoint, Protocol, replay
from projects.nurd.rules import LATE, SparkRule, UsageSoFar

# These compile their loops, or many models, for seconds before they begin.
COMPILED = ("abod", "cblof", "cof", "hbos", "lscp", "sod", "sos", "xgbod")
PACKAGES = {
    **dict.fromkeys([*DETECTORS, "xgbod"], "pyod"),
    "quantile": "lightgbm",
    "pu-en": "pulearn",
    "pu-bg": "pulearn",
    "grabit": "xgboost",
    "coxph": "sksurv",
    "wrangler": "imblearn",
    "gbtr": "numba",
    "nurd": "numba",
    "nurd-nc": "numba",
}
every_method = pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n in COMPILED else n for n in METHODS],
)


@pytest.fixture(scope="module", autouse=True)
def _detectors_uncompiled():
    """Compiling the loops of PyOD takes half a minute, running them as Python not one second."""
    if importlib.util.find_spec("pyod") is None:
        return
    import numba

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numba.config, "DISABLE_JIT", 1)
        for name in ("abod", "cblof", "hbos", "lscp", "sod", "sos", "xgbod"):
            importlib.import_module(f"pyod.models.{name}")


@pytest.fixture(scope="module")
def job():
    return generate_job(np.random.default_rng(0), "far-tail", 120)


def make(name, job, seed=42):
    if name in PACKAGES:
        pytest.importorskip(PACKAGES[name])
    return METHODS[name].make(job, seed)


def checkpoint(X_finished, y, X_running, elapsed, threshold=100.0, n=None, time=50.0):
    finished, running = len(X_finished), len(X_running)
    return Checkpoint(
        0, time, np.arange(finished), np.arange(finished, finished + running),
        np.asarray(X_finished, dtype=float), np.asarray(y, dtype=float),
        np.asarray(X_running, dtype=float), np.asarray(elapsed, dtype=float),
        n or finished + running, threshold, np.full(running, time),
    )  # fmt: skip


def test_the_table():
    assert {"nurd", "nurd-nc", "gbtr", "tobit", "late", *DETECTORS, "xgbod"} <= set(METHODS)
    assert len(DETECTORS) == 13
    assert len({spec.label for spec in METHODS.values()}) == len(METHODS)
    capped = {name for name, spec in METHODS.items() if spec.max_tasks == 1000}
    assert capped == {"abod", "cof", "lscp", "sod", "sos"}
    assert [name for name, spec in METHODS.items() if spec.privileged] == ["wrangler"]
    with pytest.raises(ValueError, match="did you mean 'nurd'"):
        method("nurdd")


@every_method
def test_it_replays_a_job(name, job):
    made = make(name, job)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        outcome = run_method(job, made, Protocol(every=16))
    assert outcome.checkpoints == 4
    assert np.isfinite(outcome.score[outcome.test & np.isfinite(outcome.score)]).all()
    if isinstance(made, Guarded):
        assert 0 <= made.degenerate <= outcome.checkpoints
        assert sum(made.reasons.values()) == made.degenerate


@every_method
def test_a_seed_decides(name, job):
    some = list(replay(job, Protocol(every=24)))[1:]
    a, b = (make(name, job) for _ in range(2))
    for seen in some:
        np.testing.assert_array_equal(a(seen), b(seen))


RNG = np.random.default_rng(1)
ADVERSE = {
    "two finished": checkpoint(
        RNG.uniform(size=(2, 4)), [10, 20], RNG.uniform(size=(18, 4)), np.full(18, 20.0)
    ),
    "one running": checkpoint(
        RNG.uniform(size=(40, 4)), RNG.uniform(10, 90, 40), RNG.uniform(size=(1, 4)), [50.0]
    ),
    "constant features": checkpoint(
        np.zeros((30, 4)), RNG.uniform(10, 90, 30), np.zeros((9, 4)), np.full(9, 50.0)
    ),
    "equal latencies": checkpoint(
        RNG.uniform(size=(30, 4)), np.full(30, 20.0), RNG.uniform(size=(9, 4)), np.full(9, 50.0)
    ),
    "one column twice": checkpoint(
        np.repeat(RNG.uniform(size=(30, 1)), 4, axis=1), RNG.uniform(10, 90, 30),
        np.repeat(RNG.uniform(size=(9, 1)), 4, axis=1), np.full(9, 50.0),
    ),
    "only zeros so far": checkpoint(
        np.zeros((30, 4)), RNG.uniform(10, 90, 30), RNG.uniform(size=(9, 4)), np.full(9, 50.0)
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ADVERSE)
@every_method
def test_it_survives(name, case, job):
    made, seen = make(name, job), ADVERSE[case]
    scores = made(seen)
    assert scores.shape == seen.running.shape
    assert not np.isnan(scores).any()
    if isinstance(made, Guarded) and METHODS[name].family not in ("rule", "privileged"):
        if case == "constant features":
            assert (made.degenerate, scores.any()) == (1, False)
        if made.degenerate == 0:
            assert scores.any()


def test_a_bug_is_not_degenerate():
    def broken(checkpoint):
        return checkpoint.no_such_attribute

    with pytest.raises(AttributeError):
        Guarded(broken)(ADVERSE["one running"])


def test_scores_that_are_not_numbers_are_counted():
    guarded = Guarded(lambda seen: np.array([np.nan, 2.0]))
    seen = replace(ADVERSE["two finished"], running=np.arange(2))
    assert guarded(seen).tolist() == [0.0, 2.0]
    assert guarded.degenerate == 1


@every_method
def test_a_missing_package_is_named(name, job, monkeypatch):
    if name not in PACKAGES:
        return
    # None in sys.modules makes an import fail.
    monkeypatch.setitem(sys.modules, PACKAGES[name], None)
    with pytest.raises(MissingExtra, match=rf"{PACKAGES[name]} is not installed.*\[nurd\]"):
        METHODS[name].make(job, 0)


# -- single methods ------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in DETECTORS if n not in COMPILED])
def test_flags_are_the_detectors_own(name, job):
    seen = list(replay(job, Protocol(every=12)))[1]
    made = make(name, job)
    scores = made(seen)
    seen = trainable(seen, among_finished=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        own = made.rule.build().fit(seen.X_finished).predict(seen.X_running)
    np.testing.assert_array_equal(scores >= 1.0, own == 1)
    assert 0 < own.sum() < len(own)


def test_a_detector_is_refitted_only_for_new_tasks(job):
    made = make("knn", job)
    seen = list(replay(job, Protocol(every=12)))[1]
    made(seen)
    before = made.rule.model
    made(replace(seen, X_running=seen.X_running[:3], running=seen.running[:3]))
    assert made.rule.model is before


def test_gbtr_is_nurd_without_the_weight(job):
    for seen in replay(job, Protocol(every=16)):
        nurd = make("nurd", job)
        nurd(seen)
        plain = nurd.model.predict_latency(seen.X_running) / seen.threshold
        np.testing.assert_allclose(make("gbtr", job)(seen), plain, rtol=1e-9)


def test_nurds_parameters_arrive(job):
    seen = next(iter(replay(job, Protocol(every=16))))
    pytest.importorskip("numba")
    low, high = (make_nurd(alpha=alpha)(job, 0)(seen) for alpha in (0.0, 0.5))
    assert (high >= low - 1e-12).all()
    assert (high > low).any()


def test_quantile_trees_are_more_pessimistic_than_mean_ones(job):
    seen = list(replay(job, Protocol(every=16)))[-1]
    assert make("quantile", job)(seen).mean() > make("gbtr", job)(seen).mean()


def test_tobit_censors_running_tasks_at_their_elapsed_time():
    from projects.nurd.tobit import Tobit

    rng = np.random.default_rng(3)
    X, Z = rng.uniform(size=(60, 2)), rng.uniform(size=(20, 2))
    y, elapsed = 20 + 60 * X[:, 0] + rng.normal(0, 2, 60), np.full(20, 40.0)
    expected = Tobit().fit(
        np.concatenate([X, Z]), np.concatenate([y, elapsed]), np.repeat([False, True], [60, 20])
    )
    scores = METHODS["tobit"].make(None, 0)(checkpoint(X, y, Z, elapsed))
    np.testing.assert_allclose(scores, expected.predict(Z) / 100.0)


def test_cox_flags_by_the_median_survival():
    sksurv = pytest.importorskip("sksurv.linear_model")
    rng = np.random.default_rng(4)
    X, Z = rng.uniform(size=(120, 1)), np.linspace(0, 1, 30)[:, None]
    y, elapsed = rng.exponential(40 * np.exp(2 * X[:, 0])), np.full(30, 5.0)
    seen = checkpoint(X, y, Z, elapsed, threshold=80.0)
    flags = make("coxph", None)(seen) >= 1
    truth = np.array(
        [(False, t) for t in elapsed] + [(True, t) for t in y], dtype=[("e", bool), ("t", float)]
    )
    model = sksurv.CoxPHSurvivalAnalysis(alpha=0.01).fit(np.concatenate([Z, X]), truth)
    medians = []
    for step in model.predict_survival_function(Z):
        below = np.flatnonzero(step.y <= 0.5)
        medians.append(step.x[below[0]] if len(below) else np.inf)
    np.testing.assert_array_equal(flags, np.array(medians) >= 80.0)
    assert 0 < flags.sum() < 30
    # Survival grows along the only feature, so the flags do.
    assert flags[-1]
    assert not flags[0]


def test_xgbod_has_nothing_to_learn_from(job):
    made = make("xgbod", job)
    seen = next(iter(replay(job, Protocol(every=16))))
    assert not made(seen).any()
    assert dict(made.reasons) == {"no finished task is a straggler: all labels are 0": 1}


@pytest.mark.parametrize("name", ["pu-en", "pu-bg"])
def test_positive_unlabelled_learning_separates_clear_cases(name):
    rng = np.random.default_rng(5)
    like, unlike = rng.normal(0, 1, (15, 2)), rng.normal(8, 1, (15, 2))
    seen = checkpoint(
        rng.normal(0, 1, (120, 2)), rng.uniform(10, 90, 120), np.concatenate([like, unlike]),
        np.full(30, 50.0),
    )  # fmt: skip
    flags = make(name, None)(seen) >= 1
    assert flags[15:].mean() > 0.9
    assert flags[:15].mean() < 0.3


def test_pu_en_falls_back_to_pu_bg():
    rng = np.random.default_rng(6)
    # Four finished among forty: this seed's hold-out of four has none of them.
    seen = checkpoint(
        rng.normal(0, 1, (4, 2)), [10, 20, 30, 40], rng.normal(5, 1, (36, 2)), np.full(36, 40.0)
    )
    en, bg = make("pu-en", None, seed=0), make("pu-bg", None, seed=0)
    np.testing.assert_array_equal(en(seen), bg(seen))
    assert en.rule.fallbacks == 1
    assert en.degenerate == 0


def test_wrangler_is_not_tested_on_what_it_was_taught(job):
    made = make("wrangler", job)
    assert made.trained_on.sum() == round(2 / 3 * job.n)
    outcome = run_method(job, made, Protocol(every=8))
    rest = held_out(outcome, made)
    assert not (rest.test & made.trained_on).any()
    assert rest.test.sum() < outcome.test.sum()
    assert metrics(rest)["auc"] > 0.7
    other = Outcome(*(getattr(outcome, f) for f in outcome.__dataclass_fields__))
    assert held_out(other, make("gbtr", job)) is other


def test_elapsed_and_spark_by_hand():
    seen = checkpoint(
        np.zeros((8, 1)), [10, 10, 10, 20, 20, 30, 30, 30], np.zeros((2, 1)), [29, 31], n=10
    )
    assert make_elapsed(0.3)(None, 0)(seen).tolist() == pytest.approx([29 / 30, 31 / 30])
    with pytest.raises(ValueError, match="above 0"):
        make_elapsed(0.0)(None, 0)
    # The median is 20: Spark 3 speculates beyond 30 s once 7 of 10 have finished, Spark 4 beyond
    # 60 s once 9 have.
    assert (make_spark(1.5, 0.75)(None, 0)(seen) >= 1).tolist() == [False, True]
    assert make_spark(1.5, 0.85)(None, 0)(seen).tolist() == [29 / 30, 31 / 30]
    assert make_spark(1.5, 0.9)(None, 0)(seen).tolist() == [0, 0]
    exact = replace(seen, elapsed=np.array([30.0, 30.1]))
    assert (SparkRule(1.5, 0.75)(exact) >= 1).tolist() == [False, True]
    assert (SparkRule(1.5, 0.75, min_runtime=30.1)(exact) >= 1).tolist() == [False, False]


def constant_rate_job(rates):
    """Tasks that work at constant rates until they have done 100 units; records of 10 s."""
    latency = 100.0 / np.asarray(rates)
    counts = np.ceil(latency / 10).astype(int)
    first = np.concatenate([[0], np.cumsum(counts)])
    order = np.arange(first[-1]) - np.repeat(first[:-1], counts)
    usage = np.repeat(rates, counts)[:, None].astype(float)
    end = np.minimum(10.0 * (order + 1), np.repeat(latency, counts))
    n = len(latency)
    return Job("rates", "", np.arange(n), latency, first, 10.0 * order, end, usage, ("cpu",))


def test_late_finds_the_constant_rates_it_assumes():
    rates = np.array([4.0] * 6 + [3.0] * 6 + [2.0] * 6 + [1.0, 0.8])
    job = constant_rate_job(rates)
    late = LATE(job)
    seen = next(iter(replay(job, Protocol())))
    scores = late(seen)
    # With equal work and constant rates the estimate is the latency itself.
    estimate = job.latency[seen.running] / seen.threshold
    slowest = np.isin(seen.running, [18, 19])
    assert (scores[slowest] >= 1).all()
    assert (scores >= 1).sum() == 2  # the cap: 10 % of 20 tasks
    np.testing.assert_allclose(scores[slowest], np.maximum(estimate[slowest], 1))
    np.testing.assert_allclose(scores[~slowest], np.minimum(estimate[~slowest], 1), rtol=1e-9)


def test_late_takes_up_what_its_cap_leaves():
    rates = np.array([4.0] * 6 + [3.0] * 6 + [2.0] * 6 + [1.0, 0.8])
    job = constant_rate_job(rates)
    late = LATE(job, cap=0.05)
    first = late(next(iter(replay(job, Protocol()))))
    assert (first >= 1).sum() == 1
    assert late.flagged[19]


@pytest.mark.parametrize("protocol", [Protocol(), Protocol("warm_start"), Protocol("authors")])
def test_usage_so_far_reads_nothing_that_the_checkpoint_does_not_show(protocol, job):
    usage = UsageSoFar(job)
    for seen in list(replay(job, protocol))[::5]:
        shown = usage.running(seen)
        for row, task in zip(shown, seen.running, strict=True):
            records = slice(job.first[task], job.first[task + 1])
            length = job.end[records] - job.start[records]
            if protocol.name == "leak_free":
                k = int((job.end[records] <= seen.time).sum())
            else:
                k = int(seen.time) + 1
            mean = np.average(job.usage[records][:k], axis=0, weights=length[:k])
            np.testing.assert_allclose(row, mean)


def test_constant_columns_go_and_scores_bend():
    with pytest.raises(Degenerate, match="fewer than 2"):
        trainable(checkpoint(np.zeros((1, 2)), [1], np.ones((3, 2)), np.ones(3)))
    kept = trainable(checkpoint([[0, 1], [0, 2]], [1, 2], [[0, 3]], [1]))
    assert kept.X_running.tolist() == [[3.0]]
    kept = trainable(checkpoint([[0, 1], [0, 2]], [1, 2], [[7, 3]], [1]), among_finished=True)
    assert kept.X_running.tolist() == [[3.0]]
    bent = as_score(np.array([0.2, 1.7, np.inf]), np.array([True, True, False]))
    assert (bent >= 1).tolist() == [True, True, False]


@pytest.mark.slow
@pytest.mark.parametrize(("equal", "degenerate"), [(5, 0), (6, 1)])
def test_sos_needs_neighbours_that_differ(equal, degenerate):
    rng = np.random.default_rng(8)
    Z = rng.uniform(size=(12, 3))
    Z[:equal] = Z[0]
    made = make("sos", None)
    made(checkpoint(rng.uniform(size=(40, 3)), rng.uniform(10, 90, 40), Z, np.full(12, 50.0)))
    assert made.degenerate == degenerate


@pytest.mark.slow
def test_xgbod_learns_once_a_straggler_has_finished():
    rng = np.random.default_rng(7)
    X, Z = rng.uniform(size=(60, 2)), np.array([[0.1, 0.5], [0.95, 0.5]])
    made = make("xgbod", None)
    scores = made(checkpoint(X, 150 * X[:, 0], Z, [50.0, 50.0]))
    assert (scores >= 1).tolist() == [False, True]
    assert made.degenerate == 0
