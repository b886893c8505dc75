"""Keyed projections against their distribution, scipy's Hadamard matrix and each other."""

import numpy as np
import pytest
from scipy.linalg import hadamard
from scipy.stats import chi2, kstest

from common.graphs.projections import (
    StructuredProjection,
    fast_hadamard,
    keyed_normal,
    keyed_normal_torch,
    keyed_signs,
    power_of_two,
    stream,
)


@pytest.mark.parametrize("seed", [0, 1, 42])
def test_rows_are_independent_standard_normals(seed):
    x = keyed_normal(stream(seed), np.arange(4000), 50)
    assert kstest(x.ravel(), "norm").pvalue > 1e-3
    assert kstest((x**2).sum(axis=1), chi2(50).cdf).pvalue > 1e-3
    columns = np.corrcoef(x.T)[np.triu_indices(50, 1)] * np.sqrt(4000)
    rows = np.corrcoef(x[:200])[np.triu_indices(200, 1)] * np.sqrt(50)
    assert np.std(columns) == pytest.approx(1, abs=0.1)
    assert np.std(rows) == pytest.approx(1, abs=0.1)
    assert np.abs(columns).max() < 6


def test_neighbouring_seeds_and_streams_are_unrelated():
    keys = np.arange(3000)
    base = keyed_normal(stream(5), keys, 4).ravel()
    for other in (stream(6), stream(5, 0), stream(5, 1), stream(0, 5)):
        r = np.corrcoef(base, keyed_normal(other, keys, 4).ravel())[0, 1]
        assert abs(r) * np.sqrt(base.size) < 5


def test_a_row_depends_on_its_key_alone():
    keys = np.array([9, -3, 2**62, 9])
    rows = keyed_normal(stream(1), keys, 7)
    assert (rows[0] == rows[3]).all()
    for place, key in enumerate(keys):
        assert (keyed_normal(stream(1), [key], 7)[0] == rows[place]).all()
        assert (keyed_normal(stream(1), [key], 12)[0, :7] == rows[place]).all()


def test_torch_gives_the_same_numbers():
    torch = pytest.importorskip("torch")
    keys = np.array([0, 1, 5, -7, 2**62 + 3])
    for seed in (0, 42, -1, 2**70):
        ours = keyed_normal_torch(stream(seed), torch.from_numpy(keys), 9).numpy()
        np.testing.assert_allclose(ours, keyed_normal(stream(seed), keys, 9), rtol=0, atol=1e-13)


def test_signs_are_balanced():
    signs = keyed_signs(stream(3), np.arange(10_000))
    assert set(signs) == {-1.0, 1.0}
    assert abs(signs.mean()) < 0.05


@pytest.mark.parametrize("seed", ["1", 1.0, None, True])
def test_a_seed_that_is_no_integer_is_refused(seed):
    with pytest.raises(TypeError, match="integer"):
        stream(seed)


@pytest.mark.parametrize("n", [1, 2, 64, 128, 4096])
def test_fast_hadamard_is_the_matrix_product(n):
    x = np.random.default_rng(0).normal(size=(2, 3, n))
    np.testing.assert_allclose(fast_hadamard(x), x @ hadamard(n) / np.sqrt(n), atol=1e-12)
    np.testing.assert_allclose(fast_hadamard(fast_hadamard(x)), x, atol=1e-12)


def test_fast_hadamard_refuses_other_lengths():
    with pytest.raises(ValueError, match="power of two"):
        fast_hadamard(np.ones(3))


def test_structured_projection_is_a_rotation_with_entries_like_a_gaussian():
    rotate = StructuredProjection(256, stream(0))
    matrix = rotate(np.eye(256)).T
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(256), atol=1e-12)
    entries = np.sqrt(256) * matrix
    assert entries.mean() == pytest.approx(0, abs=0.02)
    assert entries.var() == pytest.approx(1, abs=0.02)
    assert kstest(entries.ravel(), "norm").statistic < 0.01


def test_structured_projection_of_tensors():
    torch = pytest.importorskip("torch")
    rotate, x = StructuredProjection(128, stream(2)), np.random.default_rng(1).normal(size=(3, 128))
    np.testing.assert_allclose(rotate(torch.from_numpy(x)).numpy(), rotate(x), atol=1e-12)


def test_power_of_two():
    assert [power_of_two(n) for n in (0, 1, 2, 3, 64, 65)] == [1, 1, 2, 4, 64, 128]
