"""The kernel map is a scikit-learn transformer."""

import numpy as np
from sklearn.utils.estimator_checks import parametrize_with_checks

from projects.srf import KernelMap


@parametrize_with_checks([KernelMap(n_components=8, random_state=0)])
def test_scikit_learn_contract(estimator, check):
    check(estimator)


def test_laplace_kernel():
    X = np.random.default_rng(0).normal(size=(5, 2))
    phi = KernelMap(50_000, "laplace", random_state=0).fit_transform(X)
    expected = np.exp(-np.abs(X[:, None] - X[None]).sum(axis=-1))
    np.testing.assert_allclose(phi @ phi.T, expected, atol=0.03)
