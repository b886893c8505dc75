"""The hot path beside its peers: one fingerprint of a stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from common.bench import Benchmark
from common.graphs.events import EventStream
from common.graphs.streams import REGISTERED, SOURCES, edit_stream, with_features
from projects.jlmetric.fingerprint import fingerprint
from projects.jlmetric.histories import Histories

STREAM = "wikipedia"
EVENTS = 157_474
RELEASED_ROWS = 100_000  # M: entries of the released W1 have variance 1 / M


def wikipedia() -> EventStream:
    """Return the Wikipedia edits (F = 0), or a generated stream of that length without the data."""
    from common.data import DataUnavailable, resolve

    source = SOURCES[STREAM]
    try:
        found = resolve(REGISTERED, files=[source.file])
    except DataUnavailable:
        return edit_stream(np.random.default_rng(0), EVENTS)
    return replace(source.read(found.files[source.file]), name=STREAM)


def with_ones(events: EventStream) -> EventStream:
    """Give every event two features of 1, as the authors do with streams that have none."""
    return replace(events, msg=np.ones((len(events), 2)), columns=())


def snapshot_statistics(events: EventStream) -> np.ndarray:
    """Mean degree, largest component, components and exponent after every event, with networkx.

    Returns
    -------
    ndarray, shape (E, 4)
    """
    import networkx as nx

    graph, series = nx.Graph(), np.empty((len(events), 4))
    for place, (src, dst) in enumerate(zip(events.src.tolist(), events.dst.tolist(), strict=True)):
        graph.add_edge(src, dst)
        sizes = [len(part) for part in nx.connected_components(graph)]
        degrees = np.array([degree for _, degree in graph.degree()])
        spread = np.log(degrees / degrees.min()).sum()
        exponent = 1 + len(degrees) / spread if spread else 0.0
        series[place] = degrees.mean(), max(sizes), len(sizes), exponent
    return series


def history_norm(events: EventStream) -> float:
    """Return the norm of all histories, which every fingerprint estimates up to its scale."""
    scaled = Histories.of(events).scaled
    return float(np.sqrt(2.0 * np.sum(scaled**2) + len(scaled)))


def benchmarks() -> list[Benchmark]:
    """One fingerprint beside the released algorithm and beside networkx's snapshot statistics."""
    from projects.jlmetric.released import released_fingerprint

    whole = wikipedia()
    ones = with_ones(whole)
    random = with_features(whole, np.random.default_rng(0), 4)

    def against(peer_name: str, peer: Callable[..., Any], events: EventStream) -> Benchmark:
        n = 100
        sizes = {"stream": events.name, "events": len(events), "features": events.num_features}
        return Benchmark(
            "fingerprint",
            partial(fingerprint, events, node_dim=n, graph_dim=n),
            partial(peer, events, node_dim=n, graph_dim=n, seed=42),
            peer_name,
            {**sizes, "node_dim": n, "graph_dim": n},
            partial(_norms, events),
        )

    first = ones[:1000]
    return [
        against("released algorithm, event by event", released_fingerprint, ones),
        against("released algorithm, event by event", released_fingerprint, random[:10_000]),
        Benchmark(
            "fingerprint",
            partial(fingerprint, first),
            partial(snapshot_statistics, first),
            "four snapshot statistics with networkx",
            {"stream": first.name, "events": len(first), "node_dim": 100, "graph_dim": 100},
        ),
    ]


def _norms(events: EventStream, ours: np.ndarray, peer: Any) -> dict[str, float]:
    """Norms of both fingerprints over that of the histories, in the scale of the released maps."""
    norm, (n, o) = history_norm(events), ours.shape
    scale = np.sqrt(n / RELEASED_ROWS * o / len(events.nodes))
    return {
        "norm / expected, ours": float(np.linalg.norm(ours)) / norm,
        "norm / expected, peer": float(np.linalg.norm(np.asarray(peer))) / (norm * scale),
    }
