"""What each kind of negative must and must not be, on streams with and without shortage."""

import numpy as np
import pytest
from scipy import stats

from common.graphs.streams import edit_stream
from projects.dggen.negatives import historical_negatives, inductive_negatives, random_negatives

STREAM = edit_stream(np.random.default_rng(0), 2000, pages=100)
TRAIN, TEST = STREAM.split(0.7)
DESTINATIONS = np.unique(STREAM.dst)


def pairs(src, dst):
    return set(zip(np.asarray(src).tolist(), np.asarray(dst).tolist(), strict=True))


@pytest.mark.parametrize("begin", range(0, 600, 120))
def test_definitions(begin):
    batch, rng = TEST[begin : begin + 60], np.random.default_rng(begin)
    positive, known = pairs(batch.src, batch.dst), pairs(TRAIN.src, TRAIN.dst)
    src, dst = random_negatives(rng, batch.src, batch.dst, DESTINATIONS)
    assert (src == batch.src).all() and np.isin(dst, DESTINATIONS).all()
    assert not pairs(src, dst) & positive

    old = historical_negatives(rng, batch.src, batch.dst, TRAIN, DESTINATIONS)
    assert len(old[0]) == len(old[1]) == 60 and len(pairs(*old)) == 60
    assert pairs(*old) <= known - positive

    new = inductive_negatives(rng, batch.src, batch.dst, TRAIN, TEST, DESTINATIONS)
    candidates = pairs(TEST.src, TEST.dst) - known - positive
    drawn = pairs(new[0][: len(candidates)], new[1][: len(candidates)])
    assert len(new[0]) == 60 and len(drawn) == min(60, len(candidates)) > 20
    assert drawn <= candidates and not pairs(*new) & positive


def test_a_shortage_is_filled_by_random_ones():
    batch, rng = TEST[:200], np.random.default_rng(1)
    short, positive = TRAIN[:30], pairs(batch.src, batch.dst)
    candidates = pairs(short.src, short.dst) - positive
    src, dst = historical_negatives(rng, batch.src, batch.dst, short, DESTINATIONS)
    count = len(candidates)
    assert 0 < count < 200 and len(src) == len(dst) == 200
    assert pairs(src[:count], dst[:count]) == candidates
    assert (src[count:] == batch.src[count:]).all() and not pairs(src, dst) & positive

    known_test = inductive_negatives(rng, batch.src, batch.dst, STREAM, TEST, DESTINATIONS)
    assert (known_test[0] == batch.src).all() and not pairs(*known_test) & positive


def test_random_ones_are_uniform_over_what_is_not_positive():
    src, dst = np.zeros(9000, int), np.tile([1, 2], 4500)
    _, drawn = random_negatives(np.random.default_rng(0), src, dst, np.arange(1, 8))
    counts = np.bincount(drawn, minlength=8)
    assert counts[:3].sum() == 0 and stats.chisquare(counts[3:]).pvalue > 1e-3


def test_a_source_linked_with_all_keeps_its_number_of_negatives():
    src, dst = np.array([0, 0]), np.array([1, 2])
    assert len(random_negatives(np.random.default_rng(0), src, dst, dst)[1]) == 2
    with pytest.raises(ValueError, match="no candidate"):
        random_negatives(np.random.default_rng(0), src, dst, dst[:0])
