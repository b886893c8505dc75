import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.utils.estimator_checks import parametrize_with_checks

from projects.nurd.boosting import BoostedTrees


@parametrize_with_checks([BoostedTrees(n_estimators=20)])
def test_is_a_scikit_learn_regressor(estimator, check):
    check(estimator)


def problem(n, d=6, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    return X, np.exp(X[:, 0]) + X[:, 1] ** 2 + rng.normal(0, 0.1, n)


@pytest.mark.parametrize("n", [2, 5, 40, 400])
@pytest.mark.parametrize("depth", [1, 3, 5])
def test_fits_what_scikit_learn_fits(n, depth):
    """On distinct values, draws between equal splits decide where rows go, not what they get."""
    X, y = problem(n)
    ours = BoostedTrees(n_estimators=30, max_depth=depth).fit(X, y)
    theirs = GradientBoostingRegressor(n_estimators=30, max_depth=depth, random_state=0).fit(X, y)
    if depth <= 3:
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-10)
    errors = [np.mean((model.predict(X) - y) ** 2) for model in (ours, theirs)]
    assert errors[0] == pytest.approx(errors[1], rel=0.05, abs=1e-12)


def test_predicts_unseen_rows_as_well_as_scikit_learn():
    X, y = problem(400)
    unseen, true = problem(400, seed=1)
    ours = BoostedTrees().fit(X, y).predict(unseen)
    theirs = GradientBoostingRegressor(random_state=0).fit(X, y).predict(unseen)
    errors = [np.mean((guess - true) ** 2) for guess in (ours, theirs)]
    assert errors[0] == pytest.approx(errors[1], rel=0.1)


def test_one_column_of_duplicates_by_hand():
    """Depth 1, rate 1, one tree: the best cut is between 1 and 2, leaves are the means."""
    X = np.array([[1.0], [1.0], [2.0], [3.0]])
    model = BoostedTrees(n_estimators=1, learning_rate=1.0, max_depth=1)
    model.fit(X, [0.0, 2.0, 10.0, 12.0])
    assert model.cut_[0, 0] == 1.5
    assert model.predict([[0.0], [1.4], [1.6], [9.0]]).tolist() == [1.0, 1.0, 11.0, 11.0]


def test_constant_columns_are_never_cut():
    X, y = problem(60)
    X[:, 2] = 7.0
    model = BoostedTrees().fit(X, y)
    assert 2 not in model.feature_
    np.testing.assert_allclose(BoostedTrees().fit(X[:, [2]], y).predict(X[:, [2]]), y.mean())


def test_a_single_row_is_its_own_prediction():
    assert BoostedTrees().fit([[1.0, 2.0]], [5.0]).predict([[0.0, 0.0]]).tolist() == [5.0]


def test_the_seed_decides_and_nothing_else():
    X, y = problem(30)
    rows = problem(200, seed=2)[0]
    first = BoostedTrees().fit(X, y).predict(rows)
    np.random.default_rng().normal(size=10)
    np.testing.assert_array_equal(BoostedTrees().fit(X, y).predict(rows), first)
    assert (BoostedTrees(random_state=7).fit(X, y).predict(rows) != first).any()


def test_depth_out_of_range():
    with pytest.raises(ValueError, match="max_depth=9: allowed is 1 to 8"):
        BoostedTrees(max_depth=9).fit([[0.0], [1.0]], [0.0, 1.0])
