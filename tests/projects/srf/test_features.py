"""What is injected: each variant against its definition."""

import pytest
import torch
from torch_geometric.transforms import AddLaplacianEigenvectorPE, AddRandomWalkPE

from common.errors import ConfigError
from projects.srf import AddSketchedFeatures
from projects.srf.csl import csl_graphs
from projects.srf.data import stand_in
from projects.srf.features import RELEASED_SCALE, VARIANTS, injection
from projects.srf.tree import tree_graphs
from projects.srf.variants import Variant

SETS = {"equal sizes": csl_graphs(nodes=11, copies=3, skips=(2, 3)), "many sizes": stand_in(5)}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", SETS)
def test_shape_and_determinism(variant, name):
    graphs = SETS[name]
    first, again = (injection(graphs, variant, width=8, sketches=2) for _ in range(2))
    assert first.draw(0).shape == (len(graphs.x), first.width)
    assert torch.allclose(first.draw(0), again.draw(0), atol=1e-5)
    assert first.resampled == (variant in ("resampled", "rni"))
    assert torch.equal(first.draw(0), first.draw(1)) is not first.resampled


def test_identity_sketch_is_that_of_the_transform():
    graphs = tree_graphs(2, most=4)
    ours = injection(graphs, "s_id", width=8, sketches=2, seed=3).draw(0)
    make = AddSketchedFeatures(dim=8, num_sketches=2, kernel="laplace", sketch="none", seed=3)
    assert torch.equal(ours, torch.cat([make(data).srf for data in graphs.graphs()]))


@pytest.mark.parametrize("name", SETS)
def test_shared_sketch_is_one_matrix(name):
    """Every graph is mixed by the upper left corner of the same I + G / sqrt(N)."""
    graphs = SETS[name]
    phi = injection(graphs, "s_id", width=4, sketches=1).draw(0).split(graphs.nodes.tolist())
    z = injection(graphs, "shared", width=4, sketches=1).draw(0).split(graphs.nodes.tolist())
    # All nodes have the same features: a node's noise is the sum of its row of G times phi.
    rows = [((b - a) * len(a) ** 0.5 / a)[:, 0] for a, b in zip(phi, z, strict=True)]
    shortest, longest = min(rows, key=len), max(rows, key=len)
    if len(shortest) == len(longest):
        assert all(torch.allclose(row, rows[0], atol=1e-4) for row in rows)
    else:  # sums over longer rows go on from those over shorter ones: correlated, not equal
        together = torch.corrcoef(torch.stack([longest[: len(shortest)], shortest]))[0, 1]
        assert together > 0.3


def test_draws_of_each_graph_differ_unless_shared():
    graphs = SETS["equal sizes"]
    for variant, same in (("shared", True), ("s_id", True), ("per-graph", False)):
        z = injection(graphs, variant, width=8, sketches=2).draw(0).reshape(len(graphs), 11, 8)
        assert torch.equal(z[0], z[1]) is same, variant


def test_released_scale():
    for graphs in SETS.values():
        base, ours, strong = (
            injection(graphs, name, width=8, sketches=2).draw(0)
            for name in ("s_id", "shared", "released")
        )
        nodes = torch.repeat_interleave(graphs.nodes, graphs.nodes)[:, None]
        expected = RELEASED_SCALE * nodes.sqrt() * (ours - base)
        assert torch.allclose(strong - base, expected, rtol=1e-3, atol=1.0)


def test_categories_are_not_numbers():
    graphs = tree_graphs(2, most=3)
    as_numbers = injection(graphs, "s_id", width=4, sketches=1).draw(0)
    as_categories = injection(graphs, "s_id", width=4, sketches=1, one_hot=True).draw(0)
    assert not torch.allclose(as_numbers, as_categories)
    # Nodes with equal columns have equal features either way.
    _, group = torch.unique(graphs.x, dim=0, return_inverse=True)
    for z in (as_numbers, as_categories):
        for number in group.unique():
            assert len(z[group == number].unique(dim=0)) == 1


def test_encodings_are_those_of_pyg():
    graphs = SETS["many sizes"]
    rwpe = injection(graphs, "rwpe", width=5).draw(0)
    theirs = torch.cat([AddRandomWalkPE(5, attr_name="pe")(g).pe for g in graphs.graphs()])
    assert torch.equal(rwpe, theirs)
    lappe = injection(graphs, "lappe", width=4).draw(0).split(graphs.nodes.tolist())
    for data, ours in zip(graphs.graphs(), lappe, strict=True):
        pe = AddLaplacianEigenvectorPE(4, attr_name="pe", is_undirected=True)(data).pe
        assert torch.allclose(ours.abs(), pe.abs(), atol=1e-4)  # signs are arbitrary


def test_bad_settings():
    graphs = SETS["equal sizes"]
    with pytest.raises(ConfigError, match="per-graph"):
        injection(graphs, "per-grph")
    with pytest.raises(ValueError, match="width=8"):
        injection(graphs, "shared", width=8, sketches=3)


def test_variants_as_they_are_declared():
    assert Variant.of("plain").label == "plain"
    assert Variant.of({"name": "shared", "kernel": "rbf", "k": 1}).label == "shared rbf k=1"
    assert Variant.of("virtual-node").features == "plain"
    with pytest.raises(ConfigError, match="kernal"):
        Variant.of({"name": "shared", "kernal": "rbf"})
    with pytest.raises(ConfigError, match="shared"):
        Variant.of("shard")
    with pytest.raises(ConfigError, match="canonical"):
        Variant.of({"name": "shared", "orders": ["canon"]})
