"""Perturbations keep what they must keep, and follow the released order of random numbers."""

import random

import numpy as np
import pytest

from common.graphs.events import EventStream
from common.graphs.streams import edit_stream, with_features
from projects.jlmetric.diversity import cluster, collapse_modes, drop_modes
from projects.jlmetric.grid import grid_stream
from projects.jlmetric.perturbations import STRENGTHS, move_times, permute, perturbations, rewire

STREAM = with_features(
    edit_stream(np.random.default_rng(0), 400), np.random.default_rng(1), 3, name="s"
)


def test_strength_zero_changes_nothing():
    for p, _, changed in perturbations(STREAM, 3, [0.0]):
        assert p == 0
        for field in ("src", "dst", "t", "msg"):
            assert (getattr(changed, field) == getattr(STREAM, field)).all()


def test_each_kind_touches_its_own_field():
    fields = {"rewiring": "dst", "permutation": "msg", "time": "t"}
    seen = 0
    for p, kind, changed in perturbations(STREAM, 3, STRENGTHS):
        for field in ("src", "dst", "t", "msg"):
            same = (getattr(changed, field) == getattr(STREAM, field)).all()
            assert same or field == fields[kind]
        seen += (
            p > 0 and not (getattr(changed, fields[kind]) == getattr(STREAM, fields[kind])).all()
        )
    assert seen == 3 * 9


def test_rewiring_hits_its_share_and_its_range():
    changed = rewire(STREAM, 0.5, random.Random(0))
    hit = changed.dst != STREAM.dst
    assert hit.mean() == pytest.approx(0.5, abs=0.08)
    assert changed.dst[hit].max() <= STREAM.src.max() < STREAM.dst.min()
    kept = rewire(STREAM, 0.5, random.Random(0), bipartite=True)
    assert set(kept.dst) <= set(STREAM.dst)


def test_random_numbers_are_drawn_in_the_released_order():
    rng, expected = random.Random(5), STREAM.dst.copy()
    for place in range(len(STREAM)):
        if rng.random() < 0.3:
            expected[place] = rng.randint(0, int(STREAM.src.max()))
    _, _, changed = next(iter(perturbations(STREAM, 5, [0.3])))
    assert (changed.dst == expected).all()


def test_permutation_keeps_the_set_of_features():
    changed = permute(STREAM, 0.9, random.Random(0))
    assert (np.sort(changed.msg, axis=0) == np.sort(STREAM.msg, axis=0)).all()
    assert (changed.msg != STREAM.msg).any(axis=1).mean() > 0.8


def test_moved_times_stay_between_the_old_neighbours():
    t = np.array([0.0, 10, 10, 11, 30, 31])
    stream = EventStream.of({"src": range(6), "dst": range(6), "t": t})
    moved = set()
    for seed in range(200):
        changed = move_times(stream, 0.99, random.Random(seed)).t
        assert (changed[2] == 10 and changed[0] in range(1, 10)) or changed[0] == 0
        assert 10 < changed[4] < 31 and changed[2] in (10, 11)
        moved.add(changed[4])
    assert len(moved) > 15


def test_grid_has_the_edges_of_a_lattice():
    grid = grid_stream(1024)
    assert len(grid) == 2 * 32 * 31 and grid.t[0] == 9 and (np.diff(grid.t) == 9).all()
    step = grid.dst - grid.src
    assert set(step) == {1, 32} and (grid.src[step == 1] % 32 < 31).all()
    i, j = np.divmod(grid.src, 32)
    np.testing.assert_allclose(grid.msg, np.column_stack([i * grid.t, j + grid.t]))
    with pytest.raises(ValueError, match="at least 4"):
        grid_stream(3)


def two_modes():
    embedding = np.zeros((STREAM.num_nodes, 2))
    embedding[STREAM.num_nodes // 2 :] = 10
    embedding += np.random.default_rng(0).normal(0, 0.01, embedding.shape)
    return cluster(embedding, STREAM.nodes)


def test_clusters_and_their_representatives():
    modes = two_modes()
    halves = [
        set(modes.of_node[: STREAM.num_nodes // 2]),
        set(modes.of_node[STREAM.num_nodes // 2 :]),
    ]
    assert not halves[0] & halves[1]
    assert (modes.of_node[modes.representative] == np.arange(modes.count)).all()
    assert all(modes.farthest[mode] in halves[1] for mode in halves[0])


def test_dropped_modes_are_gone_and_times_stay():
    modes = two_modes()
    for seed in range(10):
        changed = drop_modes(STREAM, modes, 0.5, random.Random(seed))
        rng = random.Random(seed)
        dropped = np.array([rng.random() < 0.5 for _ in range(modes.count)])
        touched = dropped[modes.of_node[changed.src]] | dropped[modes.of_node[changed.dst]]
        before = dropped[modes.of_node[STREAM.src]] | dropped[modes.of_node[STREAM.dst]]
        assert not touched.any() or before.all()
        assert (changed.t == STREAM.t).all()
    assert (drop_modes(STREAM, modes, 0.0, random.Random(0)).src == STREAM.src).all()


def test_collapse_uses_nodes_not_numbers_of_clusters():
    modes = two_modes()
    sound = collapse_modes(STREAM, modes, 0.999, random.Random(0))
    assert set(sound.src) <= set(STREAM.nodes)
    released = collapse_modes(STREAM, modes, 0.999, random.Random(0), released=True)
    assert released.src.max() < modes.count
    means = {tuple(row.round(9)) for row in sound.msg}
    assert len(means) <= modes.count + 3
    assert collapse_modes(STREAM, modes, 0, random.Random(0)) is STREAM
