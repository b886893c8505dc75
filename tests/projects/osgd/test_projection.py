"""Gram-Schmidt from the Gram matrix beside one that works on the vectors themselves."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from projects.osgd.projection import (
    combination_weights,
    gram_matrix,
    orthogonal_coefficients,
    orthogonalize,
)


def reference(gradients, order=None, normalize=False, alphas=None, tolerance=1e-7):
    """Modified Gram-Schmidt on the vectors, in float64, straight from the definition."""
    g = np.asarray(gradients, dtype=float)
    order = list(range(len(g))) if order is None else order
    alphas = np.ones(len(g)) if alphas is None else np.asarray(alphas)
    lengths = np.linalg.norm(g, axis=1)
    common = lengths[lengths > 0].mean() if (lengths > 0).any() else 0.0
    units, direction = [], np.zeros(g.shape[1])
    for k in order:
        v = g[k].copy()
        for u in units:
            v -= (v @ u) * u
        length = np.linalg.norm(v)
        if length > tolerance * lengths[k]:
            units.append(v / length)
        if normalize and length > 1e-3 * lengths[k]:
            v *= (common if normalize == "unit" else lengths[k]) / length
        direction += alphas[k] * v
    return direction


def difference(found, expected):
    return np.linalg.norm(np.asarray(found, float) - expected) / max(np.linalg.norm(expected), 1e-9)


@settings(max_examples=60, deadline=None)
@given(
    tasks=st.integers(1, 6),
    length=st.integers(6, 60),
    seed=st.integers(0, 10**6),
    shared=st.sampled_from([0.0, 1.0, 30.0, 1000.0]),
    normalize=st.sampled_from([False, True, "unit"]),
    reverse=st.booleans(),
)
def test_agrees_with_the_definition(tasks, length, seed, shared, normalize, reverse):
    """Also for gradients that are parallel to one part in a thousand."""
    rng = np.random.default_rng(seed)
    g = rng.normal(size=(tasks, length)) + shared * rng.normal(size=length)
    g = (g * rng.uniform(0.1, 10, (tasks, 1))).astype(np.float32)
    order = list(range(tasks))[::-1] if reverse else None
    found = orthogonalize(torch.from_numpy(g), order=order, normalize=normalize)
    # Stretching a residual of 1/1000 stretches its float32 rounding as much.
    bound = 1e-5 if not normalize else 1e-5 * max(1.0, shared)
    assert difference(found, reference(g, order, normalize)) < bound


@pytest.mark.parametrize("shared", [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 10.0, 100.0, 1e4])
def test_long_gradients_end_orthogonal(shared):
    """On both sides of the dependence from which the products are taken in float64."""
    generator = torch.Generator().manual_seed(0)
    g = torch.randn(4, 40_000, generator=generator) + shared * torch.randn(
        40_000, generator=generator
    )
    exact = g.double() @ g.double().T
    rounding = 1e-12 if shared > 6 else 1e-6
    torch.testing.assert_close(
        gram_matrix(g), exact, rtol=0, atol=rounding * float(exact.diagonal().max())
    )
    v = orthogonal_coefficients(gram_matrix(g).numpy()) @ g.double().numpy()
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    assert np.abs(v @ v.T - np.eye(4)).max() < 1e-5
    assert difference(orthogonalize(g), reference(g)) < 1e-5


def test_long_gradients_of_several_tensors_and_absent_tasks():
    g = torch.randn(5, 3, 9_000, generator=torch.Generator().manual_seed(1))
    g[2, 1] = 0  # a task that does not reach this tensor
    torch.testing.assert_close(gram_matrix(g), g.double() @ g.double().mT, rtol=1e-5, atol=1e-2)
    assert not gram_matrix(g)[2, 1].any()
    g[0, 0, 5] = torch.inf
    assert not gram_matrix(g)[0].isfinite().all()


def test_zero_and_repeated_gradients():
    g = np.array([[0, 0, 0], [1, 2, 3], [1, 2, 3], [0, 0, 1]], dtype=np.float32)
    assert difference(orthogonalize(torch.from_numpy(g)), reference(g)) < 1e-6
    zero = torch.zeros(3, 5)
    assert orthogonalize(zero).tolist() == [0] * 5
    assert orthogonalize(zero, normalize="unit").tolist() == [0] * 5


def test_alphas_follow_the_tasks_not_the_ranks():
    g = torch.tensor([[1.0, 0, 0], [1, 1, 0], [1, 1, 1]])
    found = orthogonalize(g, order=[2, 0, 1], alphas=[2.0, 3.0, 5.0])
    assert difference(found, reference(g, [2, 0, 1], alphas=[2.0, 3.0, 5.0])) < 1e-6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_does_not_overflow(dtype):
    """A float16 sum of squares would end at 65504."""
    g = (300 * torch.randn(2, 2000, generator=torch.Generator().manual_seed(1))).to(dtype)
    found = orthogonalize(g)
    assert found.dtype == dtype and torch.isfinite(found).all()
    assert difference(found.double(), reference(g.double())) < 2 * torch.finfo(dtype).eps


def test_batches_of_spaces_are_independent():
    g = torch.randn(5, 3, 7, dtype=torch.float64)
    weights = combination_weights(gram_matrix(g).numpy(), normalize=True)
    for one, found in zip(g, weights, strict=True):
        alone = combination_weights(gram_matrix(one).numpy(), normalize=True)
        np.testing.assert_allclose(found, alone)


# -- the properties that follow from the definition -----------------------------------------

jacobians = st.builds(
    lambda seed, tasks: np.random.default_rng(seed).normal(size=(tasks, 20)),
    st.integers(0, 10**6),
    st.integers(2, 5),
)


def residuals(g):
    return orthogonal_coefficients(g @ g.T) @ g


@settings(max_examples=40, deadline=None)
@given(jacobians)
def test_residuals_are_orthogonal(g):
    v = residuals(g)
    lengths = np.linalg.norm(v, axis=1)
    cosines = v @ v.T / np.outer(lengths, lengths)
    np.testing.assert_allclose(cosines, np.eye(len(g)), atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(jacobians)
def test_the_first_task_descends_as_if_alone(g):
    d = orthogonalize(torch.from_numpy(g)).numpy()
    np.testing.assert_allclose(d @ g[0], g[0] @ g[0], rtol=1e-9)


@given(st.lists(st.floats(0.1, 10) | st.floats(-10, -0.1), min_size=2, max_size=5))
def test_parallel_tasks_add_nothing(factors):
    first = np.random.default_rng(0).normal(size=9)
    g = np.outer([1.0, *factors], first)
    np.testing.assert_allclose(orthogonalize(torch.from_numpy(g)), first, atol=1e-9)


def test_orthogonal_tasks_add_up():
    q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 4)))
    g = (q * [1, 5, 0.1, 2]).T.copy()
    np.testing.assert_allclose(orthogonalize(torch.from_numpy(g)), g.sum(0), atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(jacobians, st.floats(0.01, 100) | st.floats(-100, -0.01))
def test_later_parts_do_not_see_the_scale_of_earlier_ones(g, factor):
    scaled = g.copy()
    scaled[0] *= factor
    np.testing.assert_allclose(residuals(scaled)[1:], residuals(g)[1:], atol=1e-8)


@pytest.mark.parametrize("wrong", [torch.zeros(3), torch.zeros(2, 3, dtype=torch.complex64)])
def test_refuses_what_is_no_real_matrix(wrong):
    with pytest.raises(ValueError, match="real floating matrix"):
        orthogonalize(wrong)
