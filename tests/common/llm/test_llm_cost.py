"""The cost formula against hand-made times."""

import numpy as np
import pytest

from common.llm.cost import CostModel, fit, measure

GRID = [(1, 0), (64, 0), (512, 0), (64, 512), (512, 512), (512, 4096)]


def test_pairs_are_counted_exactly():
    """Token i of n new ones attends to c + i earlier ones; the formula sums that up to n / 2."""
    model = CostModel(0, 0, 1)
    pairs = sum(100 + i + 0.5 for i in range(10))
    assert model.seconds(10, 100) == pytest.approx(pairs)


def test_fit_finds_what_made_the_times():
    truth = CostModel(3e-3, 2e-5, 4e-9)
    found = fit(*zip(*GRID, strict=True), [truth.seconds(*point) for point in GRID])
    assert found.model.seconds(1000, 2000) == pytest.approx(truth.seconds(1000, 2000))
    assert found.worst < 1e-6


def test_fit_has_no_negative_part_and_says_how_bad_it_is():
    rng = np.random.default_rng(0)
    times = np.exp(rng.normal(-5, 1, len(GRID)))
    found = fit(*zip(*GRID, strict=True), times)
    assert min(found.model.call, found.model.token, found.model.pair) >= 0
    assert found.worst >= found.error > 0.1


def test_counted_cost_of_a_known_model():
    """7B parameters and 1,000 tokens are 14 TFLOP; attention of 32 x 4096 adds 4 x that x pairs."""
    model = CostModel.analytic(7e9, 32, 4096, 1e12)
    assert model.seconds(1000) == pytest.approx(14 + 4 * 32 * 4096 * 500_000 / 1e12)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="three"):
        fit([1, 2], [0, 0], [1, 1])
    with pytest.raises(ValueError, match="positive"):
        fit([1, 2, 3], [0, 0, 0], [1, 0, 1])


def test_measure_calls_often_enough():
    calls = []
    assert measure(lambda: calls.append(1), repeats=3, warm=2) >= 0
    assert len(calls) == 5
