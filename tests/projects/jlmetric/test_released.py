"""The released algorithm against its closed form, and its limit."""

import numpy as np
import pytest
import torch

from common.graphs.events import EventStream
from projects.jlmetric import released
from projects.jlmetric.released import released_fingerprint


def small():
    rng = np.random.default_rng(0)
    return EventStream.of(
        {
            "src": rng.integers(0, 4, 12),
            "dst": rng.integers(2, 7, 12),
            "t": np.arange(12) * 3,
            "msg": rng.normal(size=(12, 2)),
        }
    )


def test_closed_form():
    """G = sum over nodes, in the order of first appearance, of x_v w2_v^T."""
    events, seed = small(), 7
    generator = torch.Generator().manual_seed(seed)
    w1 = torch.randn(100_000, 5, generator=generator).double() / 100_000**0.5
    low, high = events.msg.min(axis=0), events.msg.max(axis=0)
    msg = (events.msg - low) / (high - low + 1e-6)
    t = (events.t - events.t[0]) / (np.ptp(events.t) + 1e-6)
    order, rows = [], {}
    for i in range(12):
        for role, node in enumerate((events.src[i], events.dst[i])):
            if node not in rows:
                order.append(node)
            rows.setdefault(node, []).extend([*msg[i], t[i], role])
    w2 = torch.randn(len(order), 3, generator=generator).double() / len(order) ** 0.5
    expected = sum(
        torch.outer(torch.tensor(rows[node]) @ w1[: len(rows[node])], w2[place])
        for place, node in enumerate(order)
    )
    found = released_fingerprint(events, 5, 3, seed).double()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-8)


def test_global_random_state_is_left_alone():
    torch.manual_seed(0)
    first = torch.rand(1)
    torch.manual_seed(0)
    released_fingerprint(small())
    assert torch.rand(1) == first


def test_a_history_beyond_the_matrix_is_an_error(monkeypatch):
    monkeypatch.setattr(released, "ROWS", 10)
    with pytest.raises(ValueError, match="10"):
        released_fingerprint(small(), 2, 2)
