"""Boosted trees beside scikit-learn's, which grow the same ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.exceptions import NotFittedError

from projects.nurd.boosting import BoostedTrees


def draw(n, d, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    return X, X[:, 0] + np.sin(3 * X[:, -1]) + rng.normal(0, 0.3, n), rng.normal(size=(200, d))


@pytest.mark.parametrize(("n", "d"), [(50, 3), (200, 15), (1000, 6)])
@pytest.mark.parametrize("depth", [1, 3])
def test_the_trees_are_those_of_scikit_learn(n, d, depth):
    X, y, new = draw(n, d)
    peer = GradientBoostingRegressor(max_depth=depth, random_state=42).fit(X, y)
    ours = BoostedTrees(max_depth=depth).fit(X, y)
    assert np.abs(ours.predict(X) - peer.predict(X)).max() < 1e-10
    if n > 50:  # Leaves of two rows are split equally well by many columns.
        share = np.mean(np.abs(ours.predict(new) - peer.predict(new)) < 1e-10)
        assert share > 0.9


@pytest.mark.parametrize(("trees", "rate"), [(1, 1.0), (20, 0.3)])
def test_number_and_shrinkage_of_the_trees(trees, rate):
    X, y, _ = draw(150, 4, seed=1)
    settings = {"n_estimators": trees, "learning_rate": rate}
    peer = GradientBoostingRegressor(random_state=0, **settings).fit(X, y)
    assert np.abs(BoostedTrees(**settings).fit(X, y).predict(X) - peer.predict(X)).max() < 1e-10


def test_a_stump_by_hand():
    X, y = np.array([[0.0], [1.0], [4.0], [5.0]]), np.array([0.0, 2.0, 10.0, 12.0])
    model = BoostedTrees(n_estimators=1, learning_rate=0.5, max_depth=1).fit(X, y)
    assert model.base_ == 6.0
    assert (model.feature_[0, 0], model.cut_[0, 0]) == (0, 2.5)
    assert model.leaf_.tolist() == [[-2.5, 2.5]]
    assert model.predict([[2.5], [2.6]]).tolist() == [3.5, 8.5]


@pytest.mark.parametrize("n", [1, 2])
def test_one_and_two_rows(n):
    X, y = np.arange(n)[:, None] * 1.0, np.array([3.0, 7.0])[:n]
    predicted = BoostedTrees().fit(X, y).predict(X)
    peer = GradientBoostingRegressor(random_state=42).fit(X, y).predict(X)
    assert predicted == pytest.approx(peer, abs=1e-12)


def test_constants_are_never_split_on():
    X, y, new = draw(100, 2)
    padded = np.insert(X, 1, 7.0, axis=1)
    model = BoostedTrees().fit(padded, y)
    assert 1 not in model.feature_
    assert model.predict(padded) == pytest.approx(BoostedTrees().fit(X, y).predict(X), abs=1e-10)
    assert (BoostedTrees().fit(np.ones((9, 2)), np.arange(9.0)).predict(new) == 4.0).all()
    assert BoostedTrees().fit(X, np.full(100, 0.1)).predict(new) == pytest.approx(0.1)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-5, 5)), min_size=2, max_size=30))
def test_repeated_values_of_one_column(rows):
    """With one column there is no choice between columns: equal to scikit-learn's for any data."""
    X, y = np.array([[float(x)] for x, _ in rows]), np.array([float(y) for _, y in rows])
    # Depth 8 can tell four values apart, so 200 trees reach the mean of each value.
    model = BoostedTrees(n_estimators=200).fit(X, y)
    for value in np.unique(X):
        same = X[:, 0] == value
        assert model.predict(X[same]) == pytest.approx(np.mean(y[same]), abs=1e-3)


def test_order_of_rows_does_not_matter():
    X, y, new = draw(120, 4)
    shuffled = np.random.default_rng(1).permutation(120)
    ours = BoostedTrees().fit(X, y).predict(new)
    assert BoostedTrees().fit(X[shuffled], y[shuffled]).predict(new) == pytest.approx(ours)


def test_the_same_seed_gives_the_same_trees_whatever_numpy_drew():
    X = np.random.default_rng(0).integers(0, 3, (40, 6)).astype(float)
    y = np.random.default_rng(1).normal(size=40)
    first = BoostedTrees(random_state=1).fit(X, y)
    np.random.seed(99)  # noqa: NPY002 - the legacy state is what must not leak in
    again = BoostedTrees(random_state=1).fit(X, y)
    for name in ("feature_", "cut_", "leaf_"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
    other = BoostedTrees(random_state=2).fit(X, y)
    assert not np.array_equal(first.feature_, other.feature_)


@pytest.mark.parametrize("depth", [0, 9])
def test_depth_out_of_range(depth):
    with pytest.raises(ValueError, match=f"max_depth={depth}: allowed is 1 to 8"):
        BoostedTrees(max_depth=depth).fit([[0.0]], [1.0])


def test_not_fitted():
    with pytest.raises(NotFittedError):
        BoostedTrees().predict([[0.0]])
