"""EdgeBank against a dictionary that is asked event by event."""

import numpy as np
import pytest

from projects.dggen.edgebank import EdgeBank, pair_keys, unpack_keys


@pytest.mark.parametrize("window", [None, 3.0, 40.0])
def test_against_a_dictionary(window):
    rng = np.random.default_rng(0)
    src, dst = rng.integers(0, 12, (2, 600))
    t = np.cumsum(rng.integers(0, 3, 600)).astype(float)
    bank, last = EdgeBank(window), {}
    for batch in np.split(np.arange(600), 24):
        asked_src, asked_dst = rng.integers(0, 12, (2, 25))
        got = bank.score(asked_src, asked_dst, t[batch])
        for u, v, now, score in zip(asked_src, asked_dst, t[batch], got, strict=True):
            known = (u, v) in last and (window is None or now - last[u, v] <= window)
            assert score == known
        bank.update(src[batch], dst[batch], t[batch])
        last.update({(u, v): at for u, v, at in zip(src[batch], dst[batch], t[batch], strict=True)})
    assert len(bank) == len(last)


def test_direction_window_edge_and_late_updates():
    bank = EdgeBank(window=5.0)
    bank.update(np.array([1]), np.array([2]), 10.0)
    bank.update(np.array([1]), np.array([2]), 4.0)  # an older sighting changes nothing
    ones, twos = np.ones(3, int), np.full(3, 2)
    assert bank.score(ones, twos, np.array([10.0, 15.0, 15.1])).tolist() == [1, 1, 0]
    assert bank.score(twos, ones, 10.0).tolist() == [0, 0, 0]
    assert EdgeBank().score(ones, twos, 0.0).tolist() == [0, 0, 0]


def test_keys_are_one_to_one_up_to_the_largest_ids():
    ids = np.array([0, 1, 2**31 - 1])
    src, dst = (grid.ravel() for grid in np.meshgrid(ids, ids))
    keys = pair_keys(src, dst)
    assert len(set(keys.tolist())) == 9
    assert [part.tolist() for part in unpack_keys(keys)] == [src.tolist(), dst.tolist()]


def test_bad_input():
    with pytest.raises(ValueError, match="window=0"):
        EdgeBank(0)
    for ids in ([-1], [2**31]):
        with pytest.raises(ValueError, match="allowed are 0"):
            EdgeBank().update(np.array(ids), np.array([0]), 0.0)
