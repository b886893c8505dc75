"""The synthetic jobs are what their documentation says, and biased the way NURD corrects."""

import numpy as np
import pytest

from projects.nurd.generator import FEATURES, GeneratorConfig, generate_job


@pytest.fixture(scope="module")
def jobs():
    rng = np.random.default_rng(0)
    return {family: [generate_job(rng, family) for _ in range(40)] for family in
            ("far-tail", "near-tail")}  # fmt: skip


def test_families_by_the_ratio_of_p90_and_max(jobs):
    ratio = {f: np.array([j.threshold() / j.latency.max() for j in jobs[f]]) for f in jobs}
    assert (ratio["far-tail"] < 0.5).all()
    assert (ratio["near-tail"] >= 0.5).all()
    # The middle of either family lies inside the targets' range, 0.05 to 0.92.
    assert 0.05 < np.median(ratio["far-tail"]) < 0.4
    assert 0.52 < np.median(ratio["near-tail"]) < 0.92


def test_body_and_size(jobs):
    everything = jobs["far-tail"] + jobs["near-tail"]
    body = np.array([np.median(j.latency) / j.latency.min() for j in everything])
    assert body.min() > 1.1
    assert body.max() < 4
    sizes = np.array([j.n for j in everything])
    assert sizes.min() >= 100
    assert sizes.max() <= 1000
    assert np.median(sizes) == pytest.approx(np.sqrt(100 * 1000), rel=0.35)  # log-uniform
    medians = np.array([np.median(j.latency) for j in everything])
    assert medians.min() > 40
    assert medians.max() < 7000


def test_a_tenth_are_stragglers(jobs):
    for job in jobs["far-tail"] + jobs["near-tail"]:
        assert job.stragglers().sum() == job.n - int(0.9 * job.n)


def test_both_families_are_drawn():
    rng = np.random.default_rng(3)
    drawn = [generate_job(rng, n=100).dataset for _ in range(60)]
    share = np.mean([name == "synthetic-far-tail" for name in drawn])
    assert 0.3 < share < 0.7
    assert set(drawn) == {"synthetic-far-tail", "synthetic-near-tail"}


def test_it_is_a_valid_job(jobs):
    for job in jobs["far-tail"][:5] + jobs["near-tail"][:5]:
        assert job.features == FEATURES
        assert job.usage.shape == (len(job.end), 15)
        assert np.isfinite(job.usage).all()
        assert not job.static
        assert (job.records() >= 1).all()
        length = job.end - job.start
        assert (length > 0).all()
        np.testing.assert_allclose(np.add.reduceat(length, job.first[:-1]), job.latency)
        np.testing.assert_array_equal(job.start[job.first[:-1]], 0.0)
        np.testing.assert_array_equal(job.end[job.first[1:] - 1], job.latency)
        inner = np.setdiff1d(np.arange(1, len(job.end)), job.first)
        np.testing.assert_allclose(job.start[inner], job.end[inner - 1])
        assert length.max() <= 300 + 1e-9


def test_the_source_of_chance_decides():
    a, b = (generate_job(np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(a.usage, b.usage)
    np.testing.assert_array_equal(a.latency, b.latency)
    assert not np.array_equal(a.latency[:90], generate_job(np.random.default_rng(6)).latency[:90])


def test_noise_within_a_task_is_stationary_ar1():
    # No spread between tasks: what remains of a noise column is its task's mean and the AR(1).
    config = GeneratorConfig(base_seconds=(1e5, 1e5))
    job = generate_job(np.random.default_rng(1), "near-tail", 300, config=config)
    noise = job.usage[:, job.features.index("noise_1")]
    mean = np.add.reduceat(noise, job.first[:-1]) / job.records()
    rest = noise - np.repeat(mean, job.records())
    inner = np.setdiff1d(np.arange(1, len(rest)), job.first)
    assert np.corrcoef(rest[inner], rest[inner - 1])[0, 1] == pytest.approx(0.7, abs=0.02)
    assert rest.std() == pytest.approx(0.3, abs=0.02)
    at_first = rest[job.first[:-1]].std()
    assert at_first == pytest.approx(0.3, abs=0.05)


def test_loads_follow_slowness_and_machines_gather_stragglers():
    job = generate_job(np.random.default_rng(2), "far-tail", 1000)
    mean = np.add.reduceat(job.usage, job.first[:-1]) / job.records()[:, None]
    slope = np.abs([np.corrcoef(np.log(job.latency), column)[0, 1] for column in mean.T])
    assert slope[:6].min() > 0.3
    assert slope[10:13].max() < 0.15
    events = job.usage[:, 13:]
    assert events.mean() == pytest.approx(0.02, abs=0.01)
    assert (events == np.round(events)).all()


def test_boosted_trees_underpredict_running_stragglers(jobs):
    """The bias that the method corrects: finished tasks say too little about the slow ones."""
    from projects.nurd.boosting import BoostedTrees
    from projects.nurd.protocol import Protocol, replay

    for family in jobs:
        ratios = {True: [], False: []}
        for job in jobs[family][:8]:
            slow = job.stragglers()
            for checkpoint in replay(job, Protocol(every=10)):
                model = BoostedTrees().fit(checkpoint.X_finished, checkpoint.y_finished)
                ratio = model.predict(checkpoint.X_running) / job.latency[checkpoint.running]
                for kind in (True, False):
                    ratios[kind].extend(ratio[slow[checkpoint.running] == kind])
        assert np.mean(ratios[True]) < 0.8
        assert np.mean(ratios[True]) < np.mean(ratios[False]) - 0.05


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"family": "no-tail"}, "far-tail, near-tail"), ({"n": 19}, "at least 20")],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        generate_job(np.random.default_rng(0), **arguments)
