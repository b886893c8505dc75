"""Sketches that mix the features of all nodes: Z = S(Phi) (section 3 of the paper)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from common.graphs.projections import (
    StructuredProjection,
    keyed_normal_torch,
    power_of_two,
)

SKETCHES = ("gaussian", "hadamard", "gram", "none")
DENSE_LIMIT = 20_000
SMALLEST_ROTATION = 64
_BLOCK = 1 << 22


def gaussian_sketch(phi: Tensor, state: int, noise_scale: float = 1.0) -> Tensor:
    """Return (I + c G / sqrt(N)) Phi with a dense Gaussian G that is a function of ``state``.

    Entry (i, j) of G depends on (state, i, j) alone, so graphs that share a state share the upper
    left corner of one matrix and no largest size exists. Rows are drawn in blocks: O(N D) memory,
    O(N^2 D) time.

    Parameters
    ----------
    phi : Tensor, shape (N, D)
        Random features.
    state : int
        From :func:`common.graphs.projections.stream`.
    noise_scale : float
        c; 1 in the paper.
    """
    n = len(phi)
    if not n:
        return phi
    rows = max(1, _BLOCK // n)
    wide = phi.double()
    blocks = [
        keyed_normal_torch(state, nodes, n) @ wide
        for nodes in torch.arange(n, device=phi.device).split(rows)
    ]
    return phi + (noise_scale / math.sqrt(n)) * torch.cat(blocks).to(phi.dtype)


def hadamard_sketch(phi: Tensor, state: int, noise_scale: float = 1.0) -> Tensor:
    """Return the sketch with G = sqrt(n') H D1 H D2 H D3, n' the next power of two, cut to N rows.

    O(N) memory, O(N log N D) time; the signs are a function of ``state``, so graphs of the same n'
    share one G. The second moments are those of the Gaussian sketch, but the rows of G are
    orthogonal, not independent. Of a small rotation some entries are exactly 0, hence n' >= 64.
    """
    n = len(phi)
    if not n:
        return phi
    size = max(power_of_two(n), SMALLEST_ROTATION)
    padded = torch.zeros(phi.shape[1], size, dtype=phi.dtype, device=phi.device)
    padded[:, :n] = phi.T
    mixed = math.sqrt(size) * StructuredProjection(size, state)(padded)[:, :n].T
    return phi + (noise_scale / math.sqrt(n)) * mixed


def gram_sketch(
    phi: Tensor, noise: Tensor, noise_scale: float = 1.0, graph: Tensor | None = None
) -> Tensor:
    """Return a sketch distributed exactly as the Gaussian one with a fresh G, in O(N D^2).

    The rows of G Phi are independent normals with covariance Phi^T Phi. Hence
    G Phi / sqrt(N) = Xi C for Xi ~ N(0, I) of shape (N, D) and C^T C = Phi^T Phi / N. The root C is
    taken by an eigenvalue decomposition, because Phi^T Phi is singular when N < D.

    Parameters
    ----------
    phi : Tensor, shape (N, D)
        Random features of one graph or, with ``graph``, of many.
    noise : Tensor, shape (N, D)
        Xi, standard normals.
    noise_scale : float
        c; 1 in the paper.
    graph : LongTensor, shape (N,), optional
        Number of the graph of each node, not decreasing; every graph has its own sketch.
    """
    n, d = phi.shape
    if not n or not d:
        return phi
    if graph is None:
        root = _root(phi.T.double() @ phi.double() / n)
        return phi + noise_scale * (noise.double() @ root).to(phi.dtype)
    count = torch.bincount(graph)
    gram = phi.new_zeros((len(count), d, d), dtype=torch.double)
    for nodes in torch.arange(n, device=phi.device).split(max(1, _BLOCK // (d * d))):
        part = phi[nodes].double()
        gram.index_add_(0, graph[nodes], part[:, :, None] * part[:, None, :])
    root = _root(gram / count.clamp(min=1)[:, None, None])
    mixed = torch.empty_like(phi)
    for nodes in torch.arange(n, device=phi.device).split(max(1, _BLOCK // (d * d))):
        xi = noise[nodes].double()[:, None, :]
        mixed[nodes] = torch.bmm(xi, root[graph[nodes]])[:, 0].to(phi.dtype)
    return phi + noise_scale * mixed


def _root(gram: Tensor) -> Tensor:
    """Symmetric root C of a positive semi-definite matrix, C^T C = gram."""
    values, vectors = torch.linalg.eigh(gram)
    return (vectors * values.clamp(min=0).sqrt()[..., None, :]) @ vectors.mT


def fresh_noise(nodes: int, width: int, seed: int, device: torch.device) -> Tensor:
    """Standard normals from a generator of their own, shape (nodes, width)."""
    generator = torch.Generator(device).manual_seed(seed % 2**63)
    return torch.randn(nodes, width, generator=generator, device=device, dtype=torch.double)
