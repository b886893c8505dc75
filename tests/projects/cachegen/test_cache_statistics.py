"""Locality, entropy and rounding of caches against closed forms."""

import numpy as np
import pytest

from projects.cachegen.statistics import (
    GROUPINGS,
    anchor_ratio,
    entropy,
    grouped_entropy,
    rounded,
    third,
    token_symbols,
    variance_ratio,
)


def process(rho, tokens=40_000, channels=4, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(tokens, channels))
    for t in range(1, tokens):
        x[t] = rho * x[t - 1] + np.sqrt(1 - rho**2) * x[t]
    return x


@pytest.mark.parametrize("distance", [1, 4])
@pytest.mark.parametrize("rho", [0.0, 0.81, 0.95])
def test_ratio_of_a_first_order_process(rho, distance):
    expected = 1 / (2 * (1 - rho**distance))
    assert variance_ratio(process(rho), distance) == pytest.approx(expected, rel=0.06)


def test_anchor_ratio_averages_over_distances():
    """Mean of 2 (1 - rho^k) over the distances 1 to 9 (brief, section 8, trap 1)."""
    rho = 0.9
    expected = 1 / np.mean([2 * (1 - rho**k) for k in range(1, 10)])
    assert anchor_ratio(process(rho), 10) == pytest.approx(expected, rel=0.06)


def test_channel_means_do_not_count_as_variance():
    x = process(0.0)
    assert variance_ratio(x + 100, 1) == pytest.approx(variance_ratio(x, 1))


def test_distance_beyond_the_context_is_refused():
    with pytest.raises(ValueError, match="allowed: 1 to 4"):
        variance_ratio(np.zeros((5, 1)), 5)


def test_entropy_is_scipys_plus_the_correction():
    from scipy.stats import entropy as shannon

    symbols = np.random.default_rng(0).integers(0, 7, 500)
    plain = shannon(np.bincount(symbols), base=2)
    assert entropy(symbols) == pytest.approx(plain + 6 / (2 * 500 * np.log(2)))


def test_correction_removes_most_of_the_bias():
    rng = np.random.default_rng(0)
    found = np.mean([entropy(rng.integers(0, 16, 200)) for _ in range(200)])
    assert found == pytest.approx(4, abs=0.01)


def test_symbols_that_depend_on_layer_and_channel_alone_have_no_entropy_there():
    rng = np.random.default_rng(0)
    of_channel = rng.integers(-7, 8, (6, 1, 16))
    symbols = np.repeat(of_channel, 200, axis=1)
    assert grouped_entropy(symbols, "layer and channel") == 0
    assert grouped_entropy(symbols, "layer") > 2
    # Every token has the same symbols.
    assert grouped_entropy(symbols, "token") == pytest.approx(grouped_entropy(symbols, "none"), 0.2)


def test_groups_hold_every_symbol_once():
    symbols = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    for groups in GROUPINGS.values():
        assert sorted(np.concatenate([np.ravel(g) for g in groups(symbols)])) == list(range(24))


def test_token_symbols_reach_their_ends():
    planes = np.array([[[1.0, -2.0, 0.0], [0.0, 0.0, 0.0]]])
    assert token_symbols(planes, 32)[0].tolist() == [[8, -15, 0], [0, 0, 0]]


def test_rounding_touches_its_layers_alone_and_by_half_a_bin_at_most():
    kv = np.random.default_rng(0).normal(size=(3, 2, 50, 2, 4)).astype(np.float32)
    out = rounded(kv, 2.0, third(1, 3))
    assert (out[[0, 2]] == kv[[0, 2]]).all() and (out[1] != kv[1]).any()
    width = 2.0 * kv[1].std(axis=1, keepdims=True)
    assert (np.abs(out[1] - kv[1]) <= width / 2 * 1.0001).all()


def test_thirds_are_those_of_the_codec():
    from projects.cachegen.stepping import layer_steps

    for layers in range(3, 40):
        steps = layer_steps(layers)[::2]
        for number, value in enumerate((0.5, 1.0, 1.5)):
            assert (steps[third(number, layers)] == value).all()
            assert (steps == value).sum() == len(range(layers)[third(number, layers)])
