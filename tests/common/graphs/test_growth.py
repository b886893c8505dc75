"""Growth series against networkx rebuilt from scratch, and a case worked out by hand."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.graphs.growth import growth, sampled_growth


def rebuilt(src, dst):
    graph = nx.Graph(list(zip(src, dst, strict=True)))
    degrees = np.array([degree for _, degree in graph.degree()])
    spread = np.log(degrees / degrees.min()).sum()
    return [
        2 * graph.number_of_edges() / graph.number_of_nodes(),
        max(map(len, nx.connected_components(graph))),
        nx.number_connected_components(graph),
        1 + len(degrees) / spread if spread > 1e-9 else 0.0,
    ]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=25))
def test_every_step_equals_networkx(edges):
    src, dst = np.array(edges).T
    series = growth(src, dst)
    for end in range(1, len(src) + 1):
        np.testing.assert_allclose(series[end - 1], rebuilt(src[:end], dst[:end]), rtol=1e-9)


def test_path_then_triangle_by_hand():
    series = growth(np.array([0, 1, 2, 7]), np.array([1, 2, 0, 8]))
    assert series[:, 0].tolist() == [1.0, 4 / 3, 2.0, 8 / 5]
    assert series[:, 1].tolist() == [2, 3, 3, 3] and series[:, 2].tolist() == [1, 1, 1, 2]
    assert series[1, 3] == pytest.approx(1 + 3 / np.log(2)) and series[2, 3] == 0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 6)), min_size=1, max_size=15
    ),
    st.booleans(),
)
def test_weights_are_those_of_sampling_every_unit(events, fractions):
    table = np.array(sorted(events, key=lambda event: event[2]), float)
    src, dst, t = table[:, 0].astype(int), table[:, 1].astype(int), table[:, 2]
    if fractions:
        t = np.sort(t + np.linspace(0, 0.9, len(t)))
    sampled, series = sampled_growth(src, dst, t), growth(src, dst)
    shifted = t - t[0]
    states = [
        series[np.flatnonzero(shifted <= moment)[-1]] for moment in range(int(shifted[-1]))
    ] or [series[-1]]
    repeated = np.repeat(sampled.values, sampled.weights.astype(int), axis=0)
    np.testing.assert_allclose(repeated, states)
