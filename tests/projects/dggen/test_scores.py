"""Cached scores against the embedding of all nodes anew, and the excursions of a history."""

import numpy as np
import pytest
import torch

from common.graphs.events import EventStream
from projects.dggen.config import DGGenConfig
from projects.dggen.encoding import Encoding, Past
from projects.dggen.history import History
from projects.dggen.network import Network
from projects.dggen.scores import ScoreTable

CONFIG = DGGenConfig(embedding_dim=8, memory_dim=6, time_dim=4, feats_dim=8, num_neighbors=2)
NODES, SOURCES, DESTINATIONS = 20, torch.arange(0, 8), torch.arange(5, 18)


def setup(seed=0, events=60):
    rng = np.random.default_rng(seed)
    stream = EventStream.of(
        {
            "src": rng.integers(0, 8, events),
            "dst": rng.integers(5, 18, events),
            "t": np.cumsum(rng.integers(0, 9, events)),
        }
    )
    torch.manual_seed(seed)
    encoding = Encoding.fit(stream, NODES, CONFIG)
    network = Network(CONFIG, NODES, encoding.laws, encoding.scaling).eval()
    network.tgn.reset()
    return network, encoding.batch(stream, None, "cpu")


@pytest.mark.parametrize("size", [1, 7])
def test_the_exact_cache_is_that_of_embedding_all_nodes_anew(size):
    network, batch = setup()
    table = ScoreTable(network, SOURCES, DESTINATIONS)
    for part in batch.split(size):
        table.advance(part)
        fresh = ScoreTable(network, SOURCES, DESTINATIONS)
        assert torch.allclose(table.z, fresh.z, atol=1e-6)
        assert torch.allclose(table.log_p_sources(), fresh.log_p_sources(), atol=1e-6)
        ours, theirs = (t.log_p_destinations(SOURCES) for t in (table, fresh))
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_the_released_cache_renews_the_touched_nodes_only():
    network, batch = setup()
    table = ScoreTable(network, SOURCES, DESTINATIONS, refresh="touched")
    table.advance(batch[:30])
    before = table.z.clone()
    table.advance(batch[30:31])
    fresh = ScoreTable(network, SOURCES, DESTINATIONS).z
    touched = torch.stack([batch.src[30], batch.dst[30]])
    assert torch.allclose(table.z[touched], fresh[touched], atol=1e-6)
    others = torch.ones(NODES, dtype=torch.bool)
    others[touched] = False
    assert torch.equal(table.z[others], before[others])
    assert not torch.allclose(table.z, fresh, atol=1e-6)


def test_links_outside_the_candidates_are_impossible():
    network, _ = setup()
    table = ScoreTable(network, SOURCES, DESTINATIONS)
    log_p_src, log_p_dst = table.log_p_links(torch.tensor([0, 9, 0]), torch.tensor([6, 6, 2]))
    assert log_p_src.isfinite().tolist() == [True, False, True]
    assert log_p_dst.isfinite().tolist() == [True, True, False]
    rows = table.log_p_destinations(torch.tensor([0]))
    assert float(log_p_dst[0]) == pytest.approx(float(rows[0, 1]), abs=1e-6)


def test_a_history_survives_excursions():
    network, batch = setup()
    history = History(network, SOURCES, DESTINATIONS)
    history.observe([batch[:20]], Past(0.0, 5.0))
    z = history.table().z.clone()
    for start, known in (("history", Past(0.0, 5.0)), ("empty", None), ("history", Past(0.0, 5.0))):
        table, past = history.leave(start)
        assert past == known and network.tgn.num_events == (0 if start == "empty" else 20)
        table.advance(batch[20:])
        assert history.num_events == 20
    assert torch.allclose(history.table().z, z, atol=1e-6)
    history.leave("empty")[0].advance(batch[20:])
    history.observe([batch[20:40]], Past(0.0, 7.0))
    network_2, _ = setup()
    straight = History(network_2, SOURCES, DESTINATIONS)
    straight.observe([batch[:20], batch[20:40]], Past(0.0, 7.0))
    assert torch.allclose(history.table().z, straight.table().z, atol=1e-6)
    assert (history.num_events, history.past) == (40, Past(0.0, 7.0))
