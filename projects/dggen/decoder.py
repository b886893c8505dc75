"""The decoder: who acts, on whom, when and with which features (paper's modules, section 2.3)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

# Floats of the hidden layer that are alive at once: a block that stays in the processor's cache.
CACHE_FLOATS = 2**17
DEVICE_FLOATS = 2**26


class _PairScores(torch.autograd.Function):
    """s_uv = w . relu(a_u + b_v) by blocks of u; the hidden layer (S, V, d) is never stored."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, w: Tensor, rows: int) -> Tensor:
        ctx.save_for_backward(a, b, w)
        ctx.rows = rows
        scores = a.new_empty(len(a), len(b))
        for begin in range(0, len(a), rows):
            hidden = (a[begin : begin + rows, None] + b).relu_()
            torch.matmul(hidden, w, out=scores[begin : begin + rows])
        return scores

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        a, b, w = ctx.saved_tensors
        grad_a, grad_b, grad_w = torch.empty_like(a), torch.zeros_like(b), torch.zeros_like(w)
        for begin in range(0, len(a), ctx.rows):
            part = slice(begin, begin + ctx.rows)
            hidden = a[part, None] + b
            g = grad[part]
            grad_w += hidden.relu().flatten(0, 1).T @ g.flatten()
            active = hidden.gt_(0)
            grad_a[part] = torch.bmm(g[:, None], active)[:, 0]
            grad_b += active.mul_(g[:, :, None]).sum(dim=0)
        return grad_a.mul_(w), grad_b.mul_(w), grad_w, None


def pair_scores(a: Tensor, b: Tensor, w: Tensor, *, floats: int | None = None) -> Tensor:
    """Return w . relu(a_u + b_v) of all pairs, in O(S V d) time and O(S V) memory.

    Parameters
    ----------
    a : Tensor, shape (S, d)
        First layer of the sources, L1 z_u.
    b : Tensor, shape (V, d)
        First layer of the destinations, L2 z_v.
    w : Tensor, shape (d,)
        Last layer.
    floats : int, optional
        Numbers of the hidden layer that are alive at once.

    Returns
    -------
    Tensor, shape (S, V)

    Examples
    --------
    >>> pair_scores(torch.ones(1, 2), torch.tensor([[1.0, -3.0]]), torch.ones(2))
    tensor([[2.]])
    """
    floats = floats or (DEVICE_FLOATS if a.is_cuda else CACHE_FLOATS)
    return _PairScores.apply(a, b, w, max(1, floats // max(b.numel(), 1)))


class Reshape(nn.Module):
    """Score of a source: s_u = L2(relu(L1 z_u))."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(dim, dim), nn.Linear(dim, 1)

    def forward(self, z: Tensor) -> Tensor:
        """Return scores (n,) of embeddings (n, d)."""
        return self.last(self.first(z).relu())[:, 0]


class Product(nn.Module):
    """Score of a destination given the source: s_{u,v} = L3(relu(L1 z_u + L2 z_v))."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.source, self.destination = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.last = nn.Linear(dim, 1)

    def forward(self, z_u: Tensor, z_v: Tensor) -> Tensor:
        """Return scores (S, V) of all pairs of embeddings (S, d) and (V, d)."""
        return self.scores(self.source(z_u), self.destination(z_v))

    def scores(self, a: Tensor, b: Tensor) -> Tensor:
        """Return scores (S, V) from the first layers, which callers may keep."""
        return pair_scores(a, b, self.last.weight[0]) + self.last.bias


class Merge(nn.Module):
    """Initial state of the column model: h0 = L3(relu(relu(L1 z_u) + relu(L2 z_v)))."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.source, self.destination = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.last = nn.Linear(dim, hidden)

    def forward(self, z_u: Tensor, z_v: Tensor) -> Tensor:
        """Return h0 (B, hidden) of pairs in step."""
        return self.last((self.source(z_u).relu() + self.destination(z_v).relu()).relu())
