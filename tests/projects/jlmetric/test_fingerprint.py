import tracemalloc
import warnings
from dataclasses import replace

import numpy as np
import pytest

from common.graphs.events import EventStream
from common.graphs.projections import keyed_normal
from projects.jlmetric import FingerprintStream, Limits, fingerprint
from projects.jlmetric.arrays import NumpyArrays, TorchArrays, _KeptRows
from projects.jlmetric.fingerprint import Embedding, Settings
from projects.jlmetric.histories import Histories
from projects.jlmetric.projection import GaussianMaps
from tests.projects.jlmetric.dense import (
    HISTORY,
    NODE,
    dense_fingerprint,
    histories,
    make_stream,
    relabelled,
    scaled_rows,
    structured_block,
)

SIZES = {"node_dim": 7, "graph_dim": 5, "seed": 3}


@pytest.mark.parametrize("align", ["id", "first_seen", "activity"])
@pytest.mark.parametrize("features", [0, 1, 3])
def test_equals_the_definition_written_out(align, features):
    stream = make_stream(features=features)
    ours = fingerprint(stream, align=align, **SIZES)
    assert ours.dtype == np.float64
    np.testing.assert_allclose(ours, dense_fingerprint(stream, align=align, **SIZES), atol=1e-12)


def test_partner_columns_equal_the_definition():
    stream = make_stream()
    for align in ("id", "first_seen"):
        ours = fingerprint(stream, partner=True, align=align, **SIZES)
        expected = dense_fingerprint(stream, partner=True, align=align, **SIZES)
        np.testing.assert_allclose(ours, expected, atol=1e-12)


def test_histories_hold_source_before_destination_and_both_ends_of_a_loop():
    events = EventStream.of(
        {"src": [5, 5, 9], "dst": [7, 5, 5], "t": [0.0, 1.0, 2.0], "msg": [[2.0], [4.0], [3.0]]}
    )
    found = histories(events)
    row = scaled_rows(events)
    expected = [[*row[0], 0], [*row[1], 0], [*row[1], 1], [*row[2], 1]]
    np.testing.assert_allclose(found[5].reshape(-1, 3), expected)
    ours = Histories.of(events)
    place = ours.nodes.tolist().index(5)
    mine = ours.incidence[ours.start[place] :][: ours.degree[place]]
    assert mine.tolist() == [0, 2, 3, 5]
    np.testing.assert_allclose(row[:, :1].ravel(), [0.0, 2 / (2 + 1e-6), 1 / (2 + 1e-6)])


@pytest.mark.parametrize("ids", ["dense", "sparse", "many"])
def test_sorting_equals_a_loop(ids):
    """Small ids are counted, large ones sorted, more than 2**16 take two radix passes."""
    rng = np.random.default_rng(1)
    size = {"dense": 40, "sparse": 40, "many": 90_000}[ids]
    events = 100_000 if ids == "many" else 300
    src, dst = rng.integers(0, size, (2, events))
    if ids == "sparse":
        src, dst = src * 10**15, dst * 10**15
    stream = EventStream(src, dst, np.arange(events), np.zeros((events, 0)))
    found = Histories.of(stream)
    lists = {}
    for place, node in enumerate(np.column_stack([src, dst]).ravel().tolist()):
        lists.setdefault(node, []).append(place)
    assert found.nodes[np.argsort(found.first_seen)].tolist() == list(lists)
    assert found.degree.tolist() == [len(lists[node]) for node in found.nodes.tolist()]
    assert found.incidence.tolist() == [i for node in found.nodes.tolist() for i in lists[node]]
    assert (np.diff(found.degree) <= 0).all()
    assert (found.nodes[found.owner] == np.column_stack([src, dst]).ravel()).all()


@pytest.mark.parametrize("projection", ["gaussian", "hadamard"])
@pytest.mark.parametrize("partner", [False, True])
def test_pieces_of_any_size_give_the_same(monkeypatch, projection, partner):
    """Memory bounds cut nodes, ranks and rows of W2 into pieces; the sum does not change."""
    stream = make_stream(events=400, nodes=30)
    options = {"projection": projection, "partner": partner}
    whole = fingerprint(stream, **SIZES, **options)
    for name, bound in (
        ("projection._GATHERED", 40),
        ("projection._GENERATED", 100),
        ("arrays._NORMALS_AT_ONCE", 20),
        ("arrays._KEPT", 0),
    ):
        monkeypatch.setattr(f"projects.jlmetric.{name}", bound)
    np.testing.assert_allclose(fingerprint(stream, **SIZES, **options), whole, atol=1e-10)


@pytest.mark.parametrize("projection", ["gaussian", "hadamard"])
@pytest.mark.parametrize("partner", [False, True])
def test_tensors_give_what_arrays_give(projection, partner):
    torch = pytest.importorskip("torch")
    stream = make_stream(events=200, nodes=20)
    options = {"projection": projection, "partner": partner, **SIZES}
    tensors = fingerprint(stream, device=torch.device("cpu"), **options)
    assert isinstance(Embedding(Settings(device=torch.device("cpu"))).arrays, TorchArrays)
    np.testing.assert_allclose(tensors, fingerprint(stream, **options), atol=1e-12)


@pytest.mark.gpu
def test_a_gpu_gives_what_numpy_gives():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    stream = make_stream(events=200, nodes=20)
    for projection in ("gaussian", "hadamard"):
        options = {"projection": projection, **SIZES}
        on_gpu = fingerprint(stream, device="cuda", **options)
        np.testing.assert_allclose(on_gpu, fingerprint(stream, **options), atol=1e-10)


def test_a_history_has_no_largest_length():
    """The released W1 has 100,000 rows: a node with 25,001 events of two features breaks it."""
    events = 60_000
    hub = EventStream(
        np.zeros(events, np.int64),
        1 + np.arange(events) % 3,
        np.arange(events, dtype=float),
        np.ones((events, 2)),
    )
    ours = fingerprint(hub, node_dim=2, graph_dim=2, seed=1)
    w1 = GaussianMaps(2, 2, 1, NumpyArrays())
    keys = np.arange(events) * 4 + 2  # column of time; the features are constant, so 0
    time = np.arange(events) / (events - 1 + 1e-6)
    hub_vector = time @ keyed_normal(w1._history, keys, 2) / np.sqrt(2)
    rest = replace(hub, src=hub.dst)  # every end of an event is now one of the three partners
    partners = np.zeros((3, 2))
    for node in range(3):
        mine = np.arange(node, events, 3)
        rank = np.arange(len(mine)) * 4
        partners[node] = time[mine] @ keyed_normal(w1._history, rank + 2, 2)
        partners[node] += keyed_normal(w1._history, rank + 3, 2).sum(axis=0)
    w2 = keyed_normal(w1._node, np.arange(4), 2) / np.sqrt(2)
    expected = np.outer(hub_vector, w2[0]) + partners.T / np.sqrt(2) @ w2[1:]
    np.testing.assert_allclose(ours, expected, rtol=1e-9)
    assert Histories.of(rest).degree.tolist() == [40_000, 40_000, 40_000]


def test_kept_rows_are_the_keyed_rows(monkeypatch):
    state = 1234
    rows = _KeptRows(state, 6)
    monkeypatch.setattr("projects.jlmetric.arrays._KEPT", 6 * 500)
    for keys in ([3, 1, 3], range(40), [7, 35], range(20, 90), [10**12, 5], range(490, 510)):
        keys = np.array(keys)
        np.testing.assert_array_equal(rows(keys), keyed_normal(state, keys, 6))
    assert len(rows._rows) == 90


def test_memory_does_not_grow_with_the_longest_history():
    """The rows of W1 that a hub of 100,000 events needs would take 160 MB at once."""
    events = 100_000
    rng = np.random.default_rng(0)
    ends = np.zeros(events, np.int64), 1 + np.arange(events) % 50
    hub = EventStream(*ends, np.arange(events, dtype=float), rng.normal(size=(events, 2)))
    tracemalloc.start()
    fingerprint(hub, node_dim=50, graph_dim=50, seed=77)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6


@pytest.mark.parametrize("events", [30, 900])
def test_structured_maps_equal_explicit_matrices(events):
    """One fixed matrix for all graphs, so equal prefixes contribute equally; over many blocks."""
    stream = make_stream(events=events, nodes=8, features=1)
    n, o, seed = SIZES.values()
    longest = max(len(h) for h in histories(stream).values())
    w1, size, number, width = [], 64, 0, 3
    while sum(map(len, w1)) < longest:
        block = structured_block(size, n, HISTORY, number, seed)
        w1.append(block[: size // width * width])  # whole entries, the rest is padding
        size, number = 2 * size, number + 1
    w1 = np.vstack(w1)
    w2 = np.vstack([structured_block(64, o, NODE, number, seed) for number in range(1)])
    expected = sum(np.outer(h @ w1[: len(h)], w2[node]) for node, h in histories(stream).items())
    assert (number > 3) == (events == 900) and stream.num_nodes <= 64
    ours = fingerprint(stream, projection="hadamard", **SIZES)
    np.testing.assert_allclose(ours, expected, atol=1e-11)


def test_structured_rows_of_ids_in_other_blocks():
    """Shifting all ids by one block of W2 takes the next block's matrix."""
    stream = make_stream(features=0)
    shifted = replace(stream, src=stream.src + 64, dst=stream.dst + 64)
    _, o, seed = SIZES.values()
    here, there = (
        fingerprint(events, projection="hadamard", **SIZES) for events in (stream, shifted)
    )
    blocks = [structured_block(64, o, NODE, number, seed) for number in (0, 1)]
    settings = Settings(projection="hadamard", **SIZES)
    found = Histories.of(stream)
    x = Embedding(settings).node_vectors(found)
    for ours, block in zip((here, there), blocks, strict=True):
        np.testing.assert_allclose(ours, x.T @ block[found.nodes], atol=1e-11)


@pytest.mark.parametrize("projection", ["gaussian", "hadamard"])
def test_inner_products_are_unbiased(projection):
    """E <G, G> over seeds is the squared norm of the histories themselves (the scale of G)."""
    stream = make_stream(events=40, nodes=8)
    exact = sum(h @ h for h in histories(stream).values())
    squares = []
    for seed in range(300):
        graph = fingerprint(stream, node_dim=30, graph_dim=30, seed=seed, projection=projection)
        squares.append((graph**2).sum())
    error = np.std(squares) / np.sqrt(len(squares))
    assert abs(np.mean(squares) - exact) < 4 * error
    assert error < 0.03 * exact


def test_global_random_states_are_left_alone():
    torch = pytest.importorskip("torch")
    np.random.seed(0)
    before = np.random.get_state()[1].copy(), torch.get_rng_state().clone()
    fingerprint(make_stream(), **SIZES)
    assert (np.random.get_state()[1] == before[0]).all()
    assert (torch.get_rng_state() == before[1]).all()


def test_ranks_do_not_see_names_and_ids_do():
    stream = make_stream(loops=False)
    renamed = relabelled(stream)
    for align in ("first_seen", "activity"):
        same = fingerprint(renamed, align=align, **SIZES)
        np.testing.assert_allclose(same, fingerprint(stream, align=align, **SIZES), atol=1e-12)
    assert not np.allclose(fingerprint(renamed, **SIZES), fingerprint(stream, **SIZES))


def test_smaller_fingerprints_are_corners_of_larger_ones():
    stream = make_stream()
    small = fingerprint(stream, node_dim=4, graph_dim=3) * np.sqrt(4 * 3)
    large = fingerprint(stream, node_dim=20, graph_dim=30) * np.sqrt(20 * 30)
    np.testing.assert_allclose(large[:4, :3], small, atol=1e-12)


def test_affine_changes_are_invisible_by_own_limits_and_visible_by_the_references():
    stream = make_stream()
    faster = replace(stream, t=1000 + 3 * stream.t, msg=7 * stream.msg - 2)
    own = fingerprint(faster, **SIZES)
    np.testing.assert_allclose(own, fingerprint(stream, **SIZES), atol=1e-4)
    limits = Limits.of(stream)
    assert not np.allclose(fingerprint(faster, limits=limits, **SIZES), own, atol=0.1)


def test_constant_columns_become_zero():
    stream = make_stream(features=1)
    constant = replace(stream, msg=np.full((len(stream), 1), 3.0), t=np.full(len(stream), 9.0))
    found = Histories.of(constant)
    assert not found.scaled.any()
    np.testing.assert_allclose(
        fingerprint(constant, **SIZES), dense_fingerprint(constant, **SIZES), atol=1e-12
    )
    # constant in the reference, not in the other: shifted, not divided by 1e-6
    moved = Histories.of(stream, Limits.of(constant)).scaled
    np.testing.assert_allclose(moved, np.column_stack([stream.msg - 3.0, stream.t - 9.0]))


def test_one_event_is_enough():
    one = EventStream.of({"src": [3], "dst": [8], "t": [4]})
    graph = fingerprint(one, **SIZES)
    np.testing.assert_allclose(graph, dense_fingerprint(one, **SIZES), atol=1e-15)
    assert graph.any()  # the destination's role


@pytest.mark.parametrize("align", ["id", "first_seen"])
@pytest.mark.parametrize("step", [1, 7, 60])
def test_a_running_stream_equals_the_whole(align, step):
    stream = make_stream()
    monitor = FingerprintStream(Limits.of(stream), align=align, **SIZES)
    for begin in range(0, len(stream), step):
        monitor.update(stream[begin : begin + step])
        so_far = stream[: begin + step]
        expected = fingerprint(so_far, limits=Limits.of(stream), align=align, **SIZES)
        np.testing.assert_allclose(monitor.fingerprint(), expected, atol=1e-12)
    assert monitor.events == len(stream)


def test_a_running_stream_refuses_what_it_cannot_do():
    stream = make_stream()
    with pytest.raises(ValueError, match="not known while a stream runs"):
        FingerprintStream(Limits.of(stream), align="activity")
    monitor = FingerprintStream(Limits.of(stream), **SIZES)
    monitor.update(stream[10:20])
    monitor.update(stream[:0])
    with pytest.raises(ValueError, match="before the last one"):
        monitor.update(stream[:5])
    with pytest.raises(ValueError, match="limits are those of 2 feature"):
        monitor.update(replace(stream[20:], msg=np.zeros((40, 3)), columns=()))


def test_bad_settings_are_named():
    stream = make_stream()
    for name in ("node_dim", "graph_dim"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            fingerprint(stream, **{name: 0})
        with pytest.raises(ValueError, match=f"{name} must be an integer, got 2.5"):
            fingerprint(stream, **{name: 2.5})
    with pytest.raises(ValueError, match="seed must be an integer"):
        fingerprint(stream, seed="42")
    with pytest.raises(ValueError, match="seed must be an integer"):
        fingerprint(stream, seed=None)
    with pytest.raises(ValueError, match="did you mean 'hadamard'"):
        fingerprint(stream, projection="hadamar")
    with pytest.raises(ValueError, match="one entry per feature|must both have"):
        Limits(np.zeros(2), np.zeros(3))


def test_bad_streams_are_named():
    good = {"src": [0, 1], "dst": [1, 0], "t": [0.0, 1.0]}
    with pytest.raises(ValueError, match="graph has no events"):
        fingerprint({"src": [], "dst": [], "t": []})
    with pytest.raises(ValueError, match="1 dimension"):
        fingerprint({**good, "msg": np.ones(2)})
    with pytest.raises(ValueError, match="not finite in 1 events, first at 1"):
        fingerprint({**good, "msg": np.array([[0.0], [np.nan]])})
    with pytest.raises(ValueError, match="not finite in 1 events, first at 0"):
        fingerprint({**good, "t": [-np.inf, 0.0]})
    with pytest.raises(ValueError, match="negative node id"):
        fingerprint({**good, "src": [0, -1]})
    with pytest.raises(ValueError, match="integers"):
        fingerprint({**good, "dst": [0.5, 1.0]})
    with pytest.warns(UserWarning, match="sorted by time"):
        swapped = fingerprint({"src": [1, 0], "dst": [0, 1], "t": [1.0, 0.0]}, **SIZES)
    np.testing.assert_allclose(swapped, fingerprint(good, **SIZES))


def test_pytorch_geometric_and_networkx_objects():
    torch = pytest.importorskip("torch")
    data = pytest.importorskip("torch_geometric.data")
    nx = pytest.importorskip("networkx")
    stream = make_stream()
    temporal = stream.to_temporal_data()
    np.testing.assert_allclose(
        fingerprint(temporal, **SIZES), fingerprint(stream, **SIZES), atol=1e-5
    )
    temporal.msg = None
    with pytest.raises(ValueError, match="msg is None"):
        fingerprint(temporal, **SIZES)
    for static in (nx.path_graph(3), data.Data(edge_index=torch.tensor([[0], [1]]))):
        with pytest.raises(TypeError, match="TemporalData"):
            fingerprint(static, **SIZES)
    seconds = torch.tensor([1.6e9, 1.6e9 + 64.0], dtype=torch.float32)
    ends = torch.tensor([0, 1])
    unix = data.TemporalData(src=ends, dst=ends.flip(0), t=seconds, msg=torch.zeros(2, 1))
    with pytest.warns(UserWarning, match="float32"):
        fingerprint(unix, **SIZES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fingerprint(stream.to_frame(), **SIZES)
