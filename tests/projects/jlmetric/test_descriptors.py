"""The fourteen classical measures: names, invariances, and what they cannot see."""

import random

import numpy as np
import pytest
from scipy.stats import ks_2samp

from common.graphs.events import EventStream
from common.graphs.streams import edit_stream, with_features
from projects.jlmetric.baselines import VARIANTS, distances, frechet
from projects.jlmetric.descriptors import CLASSICAL, Description, classical_distances
from projects.jlmetric.perturbations import permute, rewire
from projects.jlmetric.sample_efficiency import events_needed, with_ones

STREAM = with_features(edit_stream(np.random.default_rng(0), 300), np.random.default_rng(1), 2)


def test_there_are_fourteen_and_equal_streams_are_at_distance_zero():
    own = Description.of(STREAM)
    found = classical_distances(own, own)
    assert set(found) == set(CLASSICAL) and len(CLASSICAL) == 14
    assert all(value == pytest.approx(0, abs=1e-12) for value in found.values())


def test_swapped_features_change_none_of_them():
    swapped = permute(STREAM, 0.9, random.Random(0))
    found = classical_distances(Description.of(STREAM), Description.of(swapped))
    assert max(map(abs, found.values())) < 1e-12
    jl = distances(STREAM, "jl id")
    assert jl(swapped)["jl id"] > jl(STREAM)["jl id"] + 1e-4


def test_activity_by_hand():
    a = EventStream.of({"src": [0, 0], "dst": [1, 2], "t": [0, 5]})
    b = EventStream.of({"src": [0, 1], "dst": [1, 2], "t": [0, 5]})
    found = classical_distances(Description.of(a), Description.of(b))
    assert found["activity KS"] == pytest.approx(ks_2samp([2, 1, 1], [1, 2, 1]).statistic)
    assert found["features JS"] == 0


def test_rewiring_is_seen():
    found = classical_distances(
        Description.of(STREAM), Description.of(rewire(STREAM, 0.9, random.Random(0)))
    )
    assert found["activity KS"] > 0.1 and found["degree KS"] > 0.1 and found["features KS"] == 0


@pytest.mark.parametrize("family", VARIANTS)
def test_every_measure_puts_a_stream_nearest_to_itself(family):
    if family == "random tgn":
        pytest.importorskip("torch_geometric")
    measure = distances(STREAM, family)
    own, other = measure(STREAM), measure(rewire(STREAM, 0.9, random.Random(0)))
    for name in own:
        assert own[name] <= other[name] + 1e-9, name


def test_unknown_measure_and_widths():
    with pytest.raises(ValueError, match="classical"):
        distances(STREAM, "clasical")
    with pytest.raises(ValueError, match="2 features against 0"):
        classical_distances(
            Description.of(STREAM), Description.of(edit_stream(np.random.default_rng(0), 5))
        )


def test_frechet_of_normals_in_closed_form():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, (200_000, 2)), rng.normal([4, 0], 3, (200_000, 2))
    assert frechet(a, b) == pytest.approx(16 + 2 * (3 - 1) ** 2, rel=0.02)


def test_events_needed_by_hand():
    stream = with_ones(edit_stream(np.random.default_rng(0), 40))
    counts = []

    def distance(a, b):
        counts.append(len(a))
        real = (b.src == stream.src[-len(b) :]).all()
        return 0.5 if real else float(len(a) >= 7)

    fake = EventStream.of(
        {
            "src": np.arange(40) + 99,
            "dst": np.arange(40),
            "t": np.arange(40),
            "msg": np.ones((40, 2)),
        }
    )
    assert events_needed(stream, fake, distance) == 7 and min(counts) == 3
    assert np.isnan(events_needed(stream, fake, lambda a, b: 1.0))
