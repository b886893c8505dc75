import numpy as np
import pytest
from scipy.stats import norm

from projects.alert.estimates import Candidates
from projects.alert.normal import cdf, density, nearest
from tests.projects.alert.tables import random_profile, small_profile

DRAWS = 400_000
TABLE = 5e-5  # of the normal distribution function


def test_the_tables_are_near_the_functions():
    z = np.random.default_rng(0).uniform(-10, 10, 100_000)
    z.sort()
    found = cdf(nearest(z))
    assert np.abs(found - norm.cdf(z)).max() < TABLE
    assert (np.diff(found) >= 0).all()
    point = nearest(2 * z - 1, 0.5, 0.5)
    assert np.abs(density(point) - norm.pdf(z)).max() < 3e-5
    mean = norm.pdf(z) + z * norm.cdf(z)  # of max(z + Z, 0)
    assert np.abs(density(point) + z * cdf(point) - mean).max() < 1e-8
    ends = cdf(nearest(np.array([-1e12, -7.0, 0.0, 7.0, 1e12])))
    assert ends.tolist() == pytest.approx([0, 0, 0.5, 1, 1], abs=TABLE) and ends[2] >= 0.5


def by_simulation(profile, i, j, xi, deadline, phi):
    """Accuracy, energy and share with an output of one pair, over draws of xi."""
    stages = int(profile.stages[i])
    ends = xi[:, None] * profile.latency[i, :stages, j]
    worth = np.array([profile.fail_accuracy, *profile.accuracy[i, :stages]])
    done = (ends <= deadline).sum(axis=1)
    run = np.clip(ends[:, -1], 0, deadline) if stages > 1 else ends[:, -1]
    joules = run + phi * (deadline - run)
    return worth[done].mean(), profile.power[i, j] * joules.mean(), (done > 0).mean()


@pytest.mark.parametrize("mu, sd", [(1.3, 0.25), (1.0, 0.9)])
@pytest.mark.parametrize("seed", range(3))
def test_expectations_equal_a_simulation(seed, mu, sd):
    profile, rng = random_profile(seed), np.random.default_rng(seed)
    phi, deadline = 0.3, 0.12
    candidates = Candidates.of(profile)
    estimates = candidates.expect(mu, sd, phi, deadline)
    xi = rng.normal(mu, sd, DRAWS)
    for place, (i, j) in enumerate(zip(candidates.model, candidates.setting, strict=True)):
        accuracy, energy, output = by_simulation(profile, i, j, xi, deadline, phi)
        assert estimates.accuracy[place] == pytest.approx(accuracy, abs=5 / DRAWS**0.5)
        assert estimates.p_output[place] == pytest.approx(output, abs=5 / DRAWS**0.5)
        if profile.is_anytime[i]:
            assert estimates.energy[place] == pytest.approx(energy, rel=0.005)


def test_traditional_pairs_by_hand():
    profile = small_profile(idle_ratio=0.25)
    candidates = Candidates.of(profile)
    estimates = candidates.expect(1.5, 0.2, 0.25, 0.1)
    place = np.flatnonzero((candidates.model == 1) & (candidates.setting == 1))[0]  # big at 20 W
    p = norm.cdf((0.1 / 0.05 - 1.5) / 0.2)
    assert estimates.p_output[place] == pytest.approx(p, abs=TABLE)
    assert estimates.accuracy[place] == pytest.approx(0.8 * p + 0.1 * (1 - p), abs=TABLE)
    assert estimates.energy[place] == pytest.approx(19 * (0.075 + 0.25 * 0.025))
    late = np.flatnonzero((candidates.model == 1) & (candidates.setting == 0))[0]  # runs to its end
    assert estimates.energy[late] == pytest.approx(9 * 0.135)


def test_the_staircase_as_in_the_paper():
    """Step 5 in its own words: q_s times Pr(T_s <= T) - Pr(T_{s+1} <= T)."""
    profile = small_profile()
    candidates = Candidates.of(profile)
    estimates = candidates.expect(1.2, 0.3, 0.3, 0.07)
    place = np.flatnonzero((candidates.model == 2) & (candidates.setting == 1))[0]
    p1, p2 = (norm.cdf((0.07 / t - 1.2) / 0.3) for t in (0.01, 0.06))
    expected = 0.6 * (p1 - p2) + 0.78 * p2 + 0.1 * (1 - p1)
    assert estimates.accuracy[place] == pytest.approx(expected, abs=TABLE)


@pytest.mark.parametrize("seed", range(3))
def test_a_known_slow_down_is_the_limit_of_certainty(seed):
    candidates = Candidates.of(random_profile(seed))
    certain, nearly = candidates.at(1.37, 0.3, 0.1), candidates.expect(1.37, 1e-9, 0.3, 0.1)
    for known, limit in zip(certain, nearly, strict=True):
        np.testing.assert_allclose(known, limit, atol=1e-7)


def test_many_rows_equal_one_by_one():
    candidates = Candidates.of(random_profile(1))
    mu, sd = np.array([[1.0], [1.4], [0.8]]), np.array([[0.3], [0.1], [0.5]])
    deadline = np.array([[0.05], [0.1], [0.2]])
    together = candidates.expect(mu, sd, 0.3, deadline)
    known = candidates.at(mu, 0.3, deadline)
    for row in range(3):
        given = float(mu[row, 0]), float(sd[row, 0]), 0.3, float(deadline[row, 0])
        for many, one in zip(together, candidates.expect(*given), strict=True):
            np.testing.assert_allclose(many[row], one, rtol=1e-12)
        for many, one in zip(known, candidates.at(given[0], *given[2:]), strict=True):
            np.testing.assert_allclose(many[row], one, rtol=1e-12)


def test_a_slow_down_per_pair():
    candidates = Candidates.of(random_profile(2))
    xi = np.random.default_rng(0).uniform(0.5, 2, (1, len(candidates)))
    each = candidates.at(xi, 0.3, 0.1)
    for place in range(len(candidates)):
        alone = candidates.at(float(xi[0, place]), 0.3, 0.1)
        for many, one in zip(each, alone, strict=True):
            assert many[0, place] == pytest.approx(one[place])


def test_faster_pairs_come_first():
    candidates = Candidates.of(random_profile(0))
    assert (np.diff(candidates.last) >= 0).all()
    assert candidates.ends[candidates.earliest] == candidates.ends[: len(candidates)].min()
