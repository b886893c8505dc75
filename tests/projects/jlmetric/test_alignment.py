import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.special import logsumexp

from common.graphs.events import EventStream
from projects.jlmetric import compare
from projects.jlmetric.alignment import ALIGNMENTS, node_keys, sinkhorn
from projects.jlmetric.histories import Histories
from tests.projects.jlmetric.dense import keys_of, make_stream, relabelled, rewired


@pytest.mark.parametrize("align", ["id", "first_seen", "activity"])
def test_keys_equal_a_loop(align):
    stream = make_stream()
    found = Histories.of(stream)
    ours = dict(zip(found.nodes.tolist(), node_keys(found, align).tolist(), strict=True))
    assert ours == keys_of(stream, align)


def test_one_early_event_shifts_all_ranks_of_first_appearance_and_no_id():
    """Trap T1 of the released order of rows."""
    before = EventStream.of({"src": [1, 2, 3], "dst": [2, 3, 4], "t": [0, 1, 2]})
    after = EventStream.of({"src": [1, 2, 3], "dst": [9, 3, 4], "t": [0, 1, 2]})
    ranks = []
    for stream in (before, after):
        found = Histories.of(stream)
        ranks.append(dict(zip(found.nodes.tolist(), node_keys(found, "first_seen"), strict=True)))
    assert [ranks[0][node] for node in (2, 3, 4)] == [1, 2, 3]
    assert [ranks[1][node] for node in (2, 3, 4)] == [2, 3, 4]


def test_sinkhorn_has_the_masses_it_should():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 4)), rng.normal(size=(6, 4))
    shares = sinkhorn(x, y, regularisation=0.1, iterations=5000, tolerance=1e-12)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, atol=1e-9)
    np.testing.assert_allclose(shares.sum(axis=0), 9 / 6, atol=1e-9)


def test_sinkhorn_tends_to_the_best_assignment():
    """scipy's Hungarian algorithm gives the limit of small regularisation."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 12, 5))
    cost = ((x[:, None] - y) ** 2).sum(axis=-1)
    _, best = linear_sum_assignment(cost)
    shares = sinkhorn(x, y, regularisation=0.01, iterations=5000)
    assert shares.argmax(axis=1).tolist() == best.tolist()
    assert shares.max(axis=1).min() > 0.9


def test_sinkhorn_equals_plain_scaling_in_the_log_domain():
    """Far outliers, whose kernel underflows: absorbing the factors must not change the plan."""
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 30, 3))
    x[0] *= 40
    y[5] *= 30
    cost = ((x[:, None] - y) ** 2).sum(axis=-1)
    kernel = -cost / cost.mean() / 0.005
    g = np.zeros(30)
    for _ in range(57):
        f = -logsumexp(kernel + g, axis=1)
        g = -logsumexp(kernel + f[:, None], axis=0)
    plain = np.exp(kernel + f[:, None] + g)
    plain /= plain.sum(axis=1, keepdims=True)
    assert kernel.min() < -800
    ours = sinkhorn(x, y, regularisation=0.005, iterations=57, tolerance=0.0)
    np.testing.assert_allclose(ours, plain, atol=1e-9)


def test_sinkhorn_of_equal_vectors_is_uniform():
    np.testing.assert_allclose(sinkhorn(np.ones((3, 2)), np.ones((4, 2))), 0.25)


def test_matching_finds_renamed_nodes_again():
    stream = make_stream(events=80, nodes=10, features=3, loops=False)
    renamed = relabelled(stream)
    with pytest.warns(UserWarning, match="no node id is in both graphs"):
        by_id = compare(stream, renamed)
    matched = compare(stream, renamed, align="sinkhorn")
    assert by_id < 0.5 < 0.98 < matched
    assert compare(stream, renamed, align="activity") == pytest.approx(1.0)
    assert compare(stream, rewired(stream, 0.9), align="sinkhorn") < matched


def test_matching_depends_on_neither_graphs_names():
    stream = make_stream(events=80, nodes=10, features=3, loops=False)
    other = rewired(stream, 0.4)
    scores = [
        compare(a, b, align="sinkhorn")
        for a in (stream, relabelled(stream, 1))
        for b in (other, relabelled(other, 2))
    ]
    np.testing.assert_allclose(scores, scores[0], atol=1e-9)


def test_what_cannot_be_aligned_is_named():
    stream = make_stream()
    with pytest.raises(ValueError, match=r"use compare\(reference, generated\)"):
        node_keys(Histories.of(stream), "sinkhorn")
    with pytest.raises(ValueError, match="did you mean 'first_seen'"):
        compare(stream, stream, align="firstseen")
    with pytest.raises(ValueError, match="has no keys"):
        compare(stream, stream, align="sinkhorn", partner=True)
    with pytest.raises(ValueError, match="at most 3000 per graph"):
        sinkhorn(np.zeros((3001, 1)), np.zeros((2, 1)))
    assert ALIGNMENTS == ("id", "first_seen", "activity", "sinkhorn")
