"""The transform: modes, bad input, composition; the injection wrapper; the released form."""

import pytest
import torch
from torch_geometric.data import Batch, Data, HeteroData
from torch_geometric.nn import GAT, GCN, GIN, GCNConv, GINConv, GPSConv, GraphSAGE
from torch_geometric.transforms import Compose, ToUndirected

from common.errors import ConfigError
from projects.srf import AddReleasedFeatures, AddSketchedFeatures, InjectFeatures

EDGES = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])


def graph(n=4, f=3, seed=0):
    torch.manual_seed(seed)
    return Data(x=torch.randn(n, f), edge_index=EDGES)


@pytest.mark.parametrize("sketch", ["gaussian", "hadamard", "none"])
@pytest.mark.parametrize("kernel", ["rbf", "laplace", "linear"])
def test_width_is_dim_and_seeded(sketch, kernel):
    make = AddSketchedFeatures(dim=12, num_sketches=3, kernel=kernel, sketch=sketch)
    first, again = make(graph()).srf, make(graph()).srf
    assert first.shape == (4, 12) and torch.equal(first, again)
    other = AddSketchedFeatures(dim=12, num_sketches=3, kernel=kernel, sketch=sketch, seed=1)
    assert not torch.equal(first, other(graph()).srf)
    chunks = first.split(4, dim=1)
    assert not torch.equal(chunks[0], chunks[1])


def test_whose_draw_a_graph_gets():
    same = [graph(), graph()]

    def pair(mode, sketch="gaussian"):
        make = AddSketchedFeatures(dim=4, per_graph_seed=mode, sketch=sketch)
        return [make(data).srf for data in same]

    for mode, equal in ((None, True), ("content", True), ("index", False), ("fresh", False)):
        first, second = pair(mode)
        assert torch.equal(first, second) is equal, mode
    assert torch.equal(*pair("content", "gram"))
    numbered = AddSketchedFeatures(dim=4, per_graph_seed="index")
    data = [Data(x=same[0].x, edge_index=EDGES, graph_index=7) for _ in range(2)]
    assert torch.equal(numbered(data[0]).srf, numbered(data[1]).srf)
    other = graph()
    other.x = other.x + 1
    make = AddSketchedFeatures(dim=4, kernel="identity", per_graph_seed="content", sketch="gram")
    assert not torch.equal(make(graph()).srf - graph().x, make(other).srf - other.x)


def test_without_sketch_it_is_the_kernel_map():
    z = AddSketchedFeatures(dim=4, sketch="none", kernel="identity")(graph()).srf
    assert torch.equal(z, graph().x)


def test_composition_batches_and_copies():
    data = graph()
    make = Compose([ToUndirected(), AddSketchedFeatures(dim=4)])
    out = make(data)
    assert "srf" not in data and out.srf.shape == (4, 4)
    batch = Batch.from_data_list([make(graph()), make(graph(seed=1))])
    assert batch.srf.shape == (8, 4)
    joined = AddSketchedFeatures(dim=4, attr_name=None)(graph())
    assert joined.x.shape == (4, 7) and torch.equal(joined.x[:, :3], graph().x)


def test_functional_name():
    from torch.utils.data import IterDataPipe

    assert "add_sketched_features" in IterDataPipe.functions


def test_node_types():
    data = HeteroData()
    data["a"].x, data["b"].x = torch.randn(3, 2), torch.randn(5, 4)
    out = AddSketchedFeatures(dim=4)(data)
    assert out["a"].srf.shape == (3, 4) and out["b"].srf.shape == (5, 4)
    data["c"].num_nodes = 2
    with pytest.raises(ValueError, match="node type 'c'"):
        AddSketchedFeatures(dim=4)(data)


def test_repr_names_every_setting():
    text = repr(AddSketchedFeatures(dim=4, kernel="laplace", seed=3))
    for part in ("dim=4", "kernel='laplace'", "seed=3", "one_hot=False", "overwrite=False"):
        assert part in text
    import inspect

    names = set(inspect.signature(AddSketchedFeatures).parameters)
    assert all(f"{name}=" in text for name in names)


def test_without_features():
    data = Data(edge_index=EDGES, num_nodes=4)
    with pytest.warns(UserWarning, match="random node ids"):
        assert AddSketchedFeatures(dim=4)(data).srf.shape == (4, 4)
    with pytest.raises(ValueError, match="fill='ones'"):
        AddSketchedFeatures(dim=4, fill=None)(data)


def test_categories():
    data = Data(x=torch.tensor([[0, 5], [1, 5], [2, 7]]), edge_index=EDGES[:, :2])
    z = AddSketchedFeatures(dim=4, kernel="identity", sketch="none", one_hot=True)(data).srf
    assert z.shape == (3, 3 + 8) and (z.sum(dim=1) == 2).all()


def test_normalised_features_ignore_their_scale():
    make = AddSketchedFeatures(dim=4, normalize=True)
    data = graph()
    data.x = data.x * 10 + 3
    torch.testing.assert_close(make(data).srf, make(graph()).srf)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"dim": 5, "num_sketches": 2}, ValueError, "divides"),
        ({"dim": 0}, ValueError, "positive"),
        ({"num_sketches": 0}, ValueError, "positive"),
        ({"kernel": "rfb"}, ConfigError, "rbf"),
        ({"sketch": "gausian"}, ConfigError, "gaussian"),
        ({"per_graph_seed": "idx"}, ConfigError, "index"),
        ({"bandwidth": 0.0}, ValueError, "median"),
        ({"bandwidth": "mean"}, ValueError, "median"),
        ({"sketch": "gram"}, ValueError, "per_graph_seed"),
        ({"fill": "zeros"}, ValueError, "ones"),
        ({"seed": 1.5}, TypeError, "integer"),
        ({"seed": None}, TypeError, "integer"),
    ],
)
def test_bad_settings(settings, error, message):
    with pytest.raises(error, match=message):
        AddSketchedFeatures(**{"dim": 4, **settings})


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.tensor([[1.0], [float("nan")]]), ValueError, "1 values"),
        (torch.ones(2, 1, dtype=torch.cfloat), TypeError, "real"),
    ],
)
def test_bad_features(x, error, message):
    with pytest.raises(error, match=message):
        AddSketchedFeatures(dim=4)(Data(x=x, edge_index=EDGES[:, :2]))


def test_other_layouts_and_sizes():
    dense = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    make = AddSketchedFeatures(dim=4)
    expected = make(Data(x=dense)).srf
    torch.testing.assert_close(make(Data(x=dense.to_sparse())).srf, expected)
    assert make(Data(x=dense > 0)).srf.shape == (2, 4)
    assert make(Data(x=torch.ones(0, 3))).srf.shape == (0, 4)
    assert make(Data(x=torch.ones(1, 3))).srf.shape == (1, 4)
    with pytest.raises(ValueError, match="gram"):
        make(Data(x=torch.ones(20_001, 1)))
    large = AddSketchedFeatures(dim=4, sketch="gram", per_graph_seed="index")
    assert large(Data(x=torch.ones(20_001, 1))).srf.shape == (20_001, 4)


def test_an_attribute_of_another_shape_is_not_replaced_silently():
    data = graph()
    data.srf = torch.ones(4, 9)
    with pytest.raises(ValueError, match="overwrite=True"):
        AddSketchedFeatures(dim=4)(data)
    assert AddSketchedFeatures(dim=4, overwrite=True)(data).srf.shape == (4, 4)


# -- injection -----------------------------------------------------------------------------


@pytest.mark.parametrize("network", [GIN, GCN, GAT, GraphSAGE])
def test_every_layer_of_ready_made_networks_sees_z(network):
    model = InjectFeatures.basic_gnn(network, 3, 8, layers=3, dim=5, out_channels=2)
    data, z = graph(), torch.randn(4, 5, requires_grad=True)
    out = model(data.x, data.edge_index, z=z)
    assert out.shape == (4, 2) and len(model.layers) == 3
    seen = []
    hooks = [
        layer.register_forward_hook(lambda m, a, o: seen.append(a[0])) for layer in model.layers
    ]
    model(data.x, data.edge_index, z=z)
    assert all(torch.equal(h[:, -5:], z) for h in seen) and len(seen) == 3
    assert [h.remove() for h in hooks]
    out.sum().backward()
    assert z.grad is not None


def test_injection_is_concatenation_by_hand():
    conv, data, z = GCNConv(5, 4), graph(), torch.randn(4, 2)
    wide = torch.cat([data.x, z], dim=1)
    torch.testing.assert_close(
        InjectFeatures(conv, 2)(data.x, data.edge_index, z=z), conv(wide, data.edge_index)
    )
    # Nothing stays behind on the layer.
    assert conv(wide, data.edge_index).shape == (4, 4)


def test_gps_takes_the_wider_input_in_its_local_part():
    conv = GPSConv(8, GINConv(torch.nn.Linear(8 + 3, 8)), heads=2)
    x, z = torch.randn(4, 8), torch.randn(4, 3)
    assert InjectFeatures(conv, 3)(x, EDGES, z=z).shape == (4, 8)


def test_layer_that_was_not_widened_is_named():
    data = graph()
    with pytest.raises(ValueError, match=r"GCNConv takes inputs of width 3.*in_channels=5"):
        InjectFeatures(GCNConv(3, 4), 2)(data.x, data.edge_index, z=torch.ones(4, 2))
    with pytest.raises(ValueError, match=r"need \(4, 2\)"):
        InjectFeatures(GCNConv(5, 4), 2)(data.x, data.edge_index, z=torch.ones(4, 3))
    with pytest.raises(ValueError, match="no message-passing layer"):
        InjectFeatures(torch.nn.Linear(3, 3), 2)
    with pytest.raises(ValueError, match="positive"):
        InjectFeatures(GCNConv(3, 4), 0)


# -- as released ---------------------------------------------------------------------------


def test_released_variants_differ_in_scale_alone():
    a, b = (AddReleasedFeatures(8, 2, variant, largest=50)(graph()) for variant in "AB")
    assert torch.equal(a.laplace_feats_no_sketch, b.laplace_feats_no_sketch)
    mixed = [out.laplace_feats - out.laplace_feats_no_sketch for out in (a, b)]
    torch.testing.assert_close(mixed[0] / 1000, mixed[1] * 50**0.5, rtol=1e-3, atol=1e-4)
    assert a.rbf_feats.shape == (4, 8)


def test_released_quirks():
    assert AddReleasedFeatures(7, 2, largest=10)(graph()).rbf_feats.shape == (4, 6)
    with pytest.raises(ValueError, match="largest="):
        AddReleasedFeatures(4, largest=3)(graph())
