import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projects.alert.replay import Constraints, Outcome
from projects.alert.summary import MEANS, mean, summarise


def result(accuracy, energy, late=0.0):
    """Outcome of ten inputs in two settings."""
    shape = 10, 2
    late = np.arange(10)[:, None] < 10 * late + np.zeros(2)
    accuracy = np.where(late, 0.0, np.broadcast_to(accuracy, shape))
    zero = np.zeros(shape, dtype=int)
    return Outcome(zero, zero + 1.0, accuracy, np.broadcast_to(energy, shape) * 1.0, late)


def test_what_counts_as_met():
    goals = Constraints("energy", np.ones(2), np.array([0.7, 0.7]))
    table = summarise(
        {
            "OracleStatic": result(0.8, 2.0),
            "Oracle": result([0.8, 0.6], 1.0),
            "one late": result(0.8, 3.0, late=0.1),
            "two late": result(0.8, 3.0, late=0.2),
        },
        goals,
    ).set_index(["scheme", "setting"])
    assert table.loc[("Oracle", 0), "normalised"] == 0.5
    assert table["excluded"].groupby("setting").unique().map(list).to_dict() == {
        0: [False],
        1: [True],
    }
    assert np.isnan(table.loc[("one late", 1), "normalised"])
    assert table.loc[("one late", 0), ["violations", "met"]].tolist() == [0.1, True]
    assert table.loc[("two late", 0), ["violations", "met"]].tolist() == [0.2, False]
    assert not table.loc[("two late", 0), "on_average"]
    assert table.loc[("two late", 0), "normalised"] == 1.5


def test_error_is_what_is_compared_under_energy_goals():
    goals = Constraints("error", np.ones(2), np.array([2.0, 2.0]))
    table = summarise({"OracleStatic": result(0.8, 2.0), "Oracle": result(0.9, 1.0)}, goals)
    oracle = table[table["scheme"] == "Oracle"]
    assert oracle["normalised"].tolist() == pytest.approx([0.5, 0.5])
    assert oracle["on_average"].all()


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=20))
def test_means_are_in_order(values):
    harmonic, arithmetic, geometric = (mean(values, kind) for kind in MEANS)
    assert harmonic <= geometric * (1 + 1e-9)
    assert geometric <= arithmetic * (1 + 1e-9)
    assert min(values) * (1 - 1e-9) <= harmonic


def test_means_of_nothing_and_of_nonsense():
    assert np.isnan(mean([]))
    with pytest.raises(ValueError, match="positive"):
        mean([1.0, 0.0])
    with pytest.raises(ValueError, match="unknown mean"):
        mean([1.0], "cubic")
