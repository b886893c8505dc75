"""Small streams, and the definition written out: explicit concatenation, one event at a time."""

from dataclasses import replace

import numpy as np
from scipy.linalg import hadamard

from common.graphs.events import EventStream
from common.graphs.projections import keyed_normal, keyed_signs
from common.graphs.projections import stream as state_of

HISTORY, NODE, PARTNER = 1, 2, 3


def make_stream(events=60, nodes=12, features=2, seed=0, loops=True):
    """A small stream in which ids have gaps, times have ties and a node talks to itself."""
    rng = np.random.default_rng(seed)
    ids = np.sort(rng.choice(5 * nodes, nodes, replace=False))
    # Zipf-like: one node has a long history, many a short one
    weights = 1.0 / np.arange(1, nodes + 1)
    src = rng.choice(ids, events, p=weights / weights.sum())
    dst = rng.choice(ids, events)
    if loops:
        dst[events // 2] = src[events // 2]
    else:
        dst = np.where(dst == src, ids[(np.searchsorted(ids, dst) + 1) % nodes], dst)
    t = np.sort(rng.integers(0, 2 * events, events)).astype(float)
    return EventStream(src, dst, t, rng.normal(size=(events, features)), name="small")


def rewired(events, share, seed=0):
    """A share of the events gets another destination out of those that occur."""
    rng = np.random.default_rng(seed)
    chosen = rng.random(len(events)) < share
    dst = events.dst.copy()
    dst[chosen] = rng.choice(events.dst, chosen.sum())
    return replace(events, dst=dst)


def relabelled(events, seed=0):
    """The same graph under other ids."""
    rng = np.random.default_rng(seed)
    names = 1000 + rng.permutation(events.num_nodes)
    return replace(events, src=names[events.src], dst=names[events.dst])


def scaled_rows(events, low=None, high=None):
    raw = np.column_stack([events.msg, events.t])
    low = raw.min(axis=0) if low is None else low
    high = raw.max(axis=0) if high is None else high
    rows = []
    for row in raw:
        values = []
        for x, a, b in zip(row, low, high, strict=True):
            values.append((x - a) / (b - a + 1e-6) if b > a else x - a)
        rows.append(values)
    return np.array(rows)


def histories(events, low=None, high=None, partner_of=None):
    """Dict of node to its whole history vector, in the order of first appearance."""
    found = {}
    for row, s, d in zip(
        scaled_rows(events, low, high), events.src.tolist(), events.dst.tolist(), strict=True
    ):
        for node, mate, role in ((s, d, 0.0), (d, s, 1.0)):
            tail = [] if partner_of is None else partner_of[mate].tolist()
            found.setdefault(node, []).extend([*row, role, *tail])
    return {node: np.array(values) for node, values in found.items()}


def keys_of(events, align):
    lengths = {node: len(h) for node, h in histories(events).items()}
    order = list(lengths)
    if align == "id":
        return {node: node for node in order}
    if align == "activity":
        order = sorted(order, key=lambda node: -lengths[node])
    return {node: rank for rank, node in enumerate(order)}


def dense_fingerprint(
    events, node_dim, graph_dim, seed, align="id", low=None, high=None, partner=False
):
    keys = keys_of(events, align)
    partner_of = None
    if partner:
        partner_of = {}
        for node, key in keys.items():
            vector = keyed_normal(state_of(seed, PARTNER), [key], 16)[0]
            partner_of[node] = vector / np.linalg.norm(vector)
    found = histories(events, low, high, partner_of)
    longest = max(len(h) for h in found.values())
    w1 = keyed_normal(state_of(seed, HISTORY), np.arange(longest), node_dim) / np.sqrt(node_dim)
    graph = np.zeros((node_dim, graph_dim))
    for node, h in found.items():
        w2 = keyed_normal(state_of(seed, NODE), [keys[node]], graph_dim)[0] / np.sqrt(graph_dim)
        graph += np.outer(h @ w1[: len(h)], w2)
    return graph


def dense_cosine(a, b):
    """Cosine of two graphs' histories themselves, nodes by id: no projection at all."""
    inner = 0.0
    for node, h in a.items():
        if node in b:
            length = min(len(h), len(b[node]))
            inner += float(h[:length] @ b[node][:length])
    return inner / np.sqrt(sum(h @ h for h in a.values()) * sum(h @ h for h in b.values()))


def structured_block(size, outputs, which, number, seed):
    """Rows of W, (size, outputs): sqrt(size / outputs) times chosen rows of H D1 H D2 H D3."""
    state = state_of(seed, which, number, 1)
    h = hadamard(size) / np.sqrt(size)
    rotation = np.eye(size)
    for place in range(3):
        signs = keyed_signs(state_of(state, place), np.arange(size))
        rotation = rotation @ h @ np.diag(signs)
    order = keyed_normal(state_of(seed, which, number, 2), np.arange(size), 1)[:, 0]
    chosen = np.sort(np.argsort(order)[:outputs])
    return (rotation[chosen] * np.sqrt(size / outputs)).T
