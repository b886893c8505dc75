"""Boosted trees: those of scikit-learn, only faster."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.utils.estimator_checks import parametrize_with_checks

from common.errors import MissingExtra
from projects.nurd.boosting import BoostedTrees


@parametrize_with_checks([BoostedTrees(n_estimators=20)])
def test_is_a_scikit_learn_regressor(estimator, check):
    check(estimator)


def single(array):
    """scikit-learn's trees work in single precision: give both the same numbers."""
    return np.asarray(array, dtype=np.float32).astype(float)


def problem(n, d=6, seed=0):
    rng = np.random.default_rng(seed)
    X = single(rng.normal(size=(n, d)))
    return X, np.exp(X[:, 0]) + X[:, -1] ** 2 + rng.normal(0, 0.1, n)


def both(X, y, **parameters):
    theirs = GradientBoostingRegressor(random_state=0, **parameters)
    return BoostedTrees(**parameters).fit(X, y), theirs.fit(X, y)


# -- beside scikit-learn -------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 10, 77, 400])
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"max_depth": 1},
        {"max_depth": 5, "n_estimators": 30},
        {"max_depth": 8, "n_estimators": 10, "learning_rate": 0.5},
    ],
)
def test_fits_what_scikit_learn_fits(n, parameters):
    """On distinct values, draws between equal splits show in new rows, not in these."""
    X, y = problem(n)
    ours, theirs = both(X, y, **parameters)
    assert ours.predict(X) == pytest.approx(theirs.predict(X), abs=1e-10)


def test_predicts_unseen_rows_as_well_as_scikit_learn():
    """Over seeds: on a single one the draws show."""
    X, y = problem(300)
    unseen, true = problem(1000, seed=1)

    def error(model):
        guesses = [
            clone(model).set_params(random_state=s).fit(X, y).predict(unseen) for s in range(12)
        ]
        return np.mean([((guess - true) ** 2).mean() for guess in guesses])

    ours, theirs = error(BoostedTrees()), error(GradientBoostingRegressor())
    assert ours == pytest.approx(theirs, rel=0.06)
    assert ours < 0.5 * true.var()


def test_without_equal_splits_even_unseen_rows_get_the_same():
    """One column and stumps leave nothing to draw."""
    X, y = problem(300, d=1)
    ours, theirs = both(X, y, max_depth=1)
    rows = single(np.linspace(-3, 3, 999))[:, None]
    assert ours.predict(rows) == pytest.approx(theirs.predict(rows), abs=1e-6)


def test_duplicate_values_stay_together():
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 4, size=(200, 1)).astype(float), rng.normal(size=200)
    ours, theirs = both(X, y)
    assert ours.predict(X) == pytest.approx(theirs.predict(X), abs=1e-10)
    means = [y[X[:, 0] == value].mean() for value in range(4)]
    assert ours.predict(np.arange(4.0)[:, None]) == pytest.approx(means, abs=1e-3)


def test_constant_columns_are_never_cut():
    X, y = problem(60)
    X[:, [2, 4]] = 7.0
    ours, theirs = both(X, y)
    assert not np.isin([2, 4], ours.feature_).any()
    assert ours.predict(X) == pytest.approx(theirs.predict(X), abs=1e-10)
    assert BoostedTrees().fit(X[:, [2]], y).predict(X[:3, [2]]) == pytest.approx([y.mean()] * 3)


# -- by hand -------------------------------------------------------------------------------


def test_one_column_of_duplicates_by_hand():
    """Depth 1, rate 1, one tree: the best cut is between 1 and 2, leaves are the means."""
    X = np.array([[1.0], [1.0], [2.0], [3.0]])
    model = BoostedTrees(n_estimators=1, learning_rate=1.0, max_depth=1)
    model.fit(X, [0.0, 2.0, 10.0, 12.0])
    assert model.cut_[0, 0] == 1.5
    assert model.predict([[0.0], [1.4], [1.6], [9.0]]).tolist() == [1.0, 1.0, 11.0, 11.0]


def test_shrinkage_by_hand():
    """Mean 3, residuals -2, -2 and 4; half of them is added."""
    model = BoostedTrees(n_estimators=1, learning_rate=0.5, max_depth=1)
    model.fit([[0.0], [1.0], [2.0]], [1.0, 1.0, 7.0])
    assert model.predict([[1.5], [1.6]]).tolist() == [2.0, 5.0]


def test_a_single_row_is_its_own_prediction():
    assert BoostedTrees().fit([[1.0, 2.0]], [5.0]).predict([[0.0, 0.0]]).tolist() == [5.0]


# -- chance --------------------------------------------------------------------------------


def test_the_seed_decides_and_nothing_else():
    """Two equal columns are equally good everywhere; the seed says which is cut."""
    X, y = problem(60, d=1)
    X = np.hstack([X, X])
    first = BoostedTrees().fit(X, y).feature_
    assert {0, 1} <= set(np.unique(first))
    np.random.default_rng().normal(size=10)
    assert np.array_equal(BoostedTrees().fit(X, y).feature_, first)
    assert not np.array_equal(BoostedTrees(random_state=7).fit(X, y).feature_, first)


def test_fitting_leaves_numpys_random_numbers_alone():
    before = np.random.get_state()[1].copy()
    BoostedTrees(n_estimators=2).fit(*problem(20))
    assert np.array_equal(before, np.random.get_state()[1])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_the_rows_does_not_matter(seed):
    """Few rows have many equally good splits; rounding must not choose among them."""
    X, y = problem(12, d=4, seed=seed)
    unseen, _ = problem(50, d=4, seed=seed + 1)
    turn = np.random.default_rng(seed).permutation(12)
    ours, turned = BoostedTrees().fit(X, y), BoostedTrees().fit(X[turn], y[turn])
    assert ours.predict(unseen) == pytest.approx(turned.predict(unseen), abs=1e-9)


# -- refused -------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [0, 9])
def test_depth_out_of_range(depth):
    with pytest.raises(ValueError, match=f"max_depth={depth}: allowed is 1 to 8"):
        BoostedTrees(max_depth=depth).fit([[0.0], [1.0]], [0.0, 1.0])


def test_a_missing_compiler_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(MissingExtra, match=r"numba is not installed .*\[nurd\]"):
        BoostedTrees().fit([[0.0], [1.0]], [0.0, 1.0])
