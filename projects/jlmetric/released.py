"""The metric as its authors released it, event by event: the reference for ours, and its peer.

Kept for comparison; :func:`projects.jlmetric.fingerprint` is the one to use. Rows of both random
matrices are tied to the order in which nodes first appear, histories end at 100,000 numbers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from common.graphs.events import EventStream

ROWS = 100_000


def released_fingerprint(
    events: EventStream, node_dim: int = 100, graph_dim: int = 100, seed: int = 42
) -> Tensor:
    """Compute the n x o fingerprint in float32.

    Parameters
    ----------
    events : EventStream
        The graph.
    node_dim, graph_dim, seed : int
        n, o and the seed of a generator of its own (the release reseeds the whole process).

    Returns
    -------
    Tensor, shape (n, o)

    Raises
    ------
    ValueError
        If a node has more than 100,000 numbers in its history: the first matrix ends there.

    Examples
    --------
    >>> two = EventStream.of({"src": [0, 1], "dst": [1, 0], "t": [3, 9]})
    >>> released_fingerprint(two, 4, 5).shape
    torch.Size([4, 5])
    """
    generator = torch.Generator().manual_seed(seed)
    w1 = torch.randn(ROWS, node_dim, generator=generator) * math.sqrt(1 / ROWS)
    msg, t = _scaled(torch.from_numpy(events.msg)), _scaled(torch.from_numpy(events.t))
    histories: dict[int, Tensor] = {}
    for place in range(len(events)):
        ends = (int(events.src[place]), int(events.dst[place]))
        for role, node in enumerate(ends):
            entry = torch.cat([msg[place], t[place].reshape(1), torch.tensor([float(role)])])
            known = histories.get(node)
            histories[node] = entry if known is None else torch.cat([known, entry])
    longest = max(map(len, histories.values()))
    if longest > ROWS:
        raise ValueError(f"a node has {longest} numbers in its history; the release takes {ROWS}")
    x = torch.stack([history @ w1[: len(history)] for history in histories.values()])
    nodes = len(histories)
    w2 = torch.randn(nodes, graph_dim, generator=generator) * math.sqrt(1 / nodes)
    return x.T @ w2


def _scaled(values: Tensor) -> Tensor:
    low, high = values.amin(dim=0), values.amax(dim=0)
    return ((values - low) / (high - low + 1e-6)).float()
