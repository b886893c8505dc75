"""Nested width for today's networks: Matryoshka embeddings and MatFormer's feed-forward layers.

Kusupati et al., 2022, and Devvrit et al., 2023. Both train one network at several widths, on the
sum of the losses; here every width is a task, so OSGD can train them.

>>> from projects.osgd.optimizer import OSGD
>>> model = MatFormer(8, sizes=(4, 8, 16), dim=16)
>>> descent = OSGD(torch.optim.AdamW(model.parameters(), 1e-3), tasks=model.num_stages)
>>> x, y = torch.randn(32, 8, 8), torch.arange(32) % 10
>>> losses = [F.cross_entropy(logits, y) for logits in model(x)]
>>> _ = descent.step(losses)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from projects.osgd.anytime import AnytimeModule, Cache, check_widths


class MatryoshkaHeads(AnytimeModule):
    """Classifiers on growing prefixes of one embedding.

    Parameters
    ----------
    backbone : Module
        Maps an input to an embedding (batch, d), d the last of ``sizes``; stage 0 runs it.
    sizes : sequence of int
        Lengths m_1 < ... < m_N of the prefixes.
    num_classes : int
        Outputs of every head.

    Raises
    ------
    ValueError
        If sizes do not increase, or the embedding has another length than the last of them.

    Examples
    --------
    >>> model = MatryoshkaHeads(nn.Linear(64, 32), sizes=(8, 16, 32))
    >>> [tuple(logits.shape) for logits in model(torch.zeros(2, 64))]
    [(2, 10), (2, 10), (2, 10)]
    """

    def __init__(self, backbone: nn.Module, sizes: Sequence[int], num_classes: int = 10) -> None:
        super().__init__()
        self.sizes = check_widths(sizes)
        self.num_stages = len(self.sizes)
        self.backbone = backbone
        self.heads = nn.ModuleList(nn.Linear(size, num_classes) for size in self.sizes)

    def step(self, stage: int, x: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """See :meth:`AnytimeModule.step`; the cache holds the embedding."""
        stage = self.check_stage(stage)
        embedding = cache["embedding"] if stage else self.backbone(x)
        if embedding.shape[-1] != self.sizes[-1]:
            raise ValueError(
                f"the embedding has {embedding.shape[-1]} entries, the last size is "
                f"{self.sizes[-1]}; they must agree"
            )
        logits = self.heads[stage](embedding[:, : self.sizes[stage]])
        return logits, {"embedding": embedding}

    def introduced(self, stage: int) -> Iterator[nn.Module]:
        """See :meth:`AnytimeModule.introduced`."""
        if stage == 0:
            yield self.backbone
        yield self.heads[stage]


class NestedFFN(nn.Module):
    """Feed-forward layer whose first h_s hidden units are a layer of their own (MatFormer).

    ``y_s = b + sum over t <= s of V_t gelu(U_t x)``: stage s adds one term.

    Parameters
    ----------
    dim : int
        Size of a token.
    sizes : sequence of int
        Cumulative hidden sizes h_1 < ... < h_N.

    Examples
    --------
    >>> layer, x = NestedFFN(8, (4, 16)), torch.randn(2, 5, 8)
    >>> torch.allclose(layer(x, 1), layer(x, 0) + layer.term(x, 1), atol=1e-6)
    True
    """

    def __init__(self, dim: int, sizes: Sequence[int]) -> None:
        super().__init__()
        sizes = check_widths(sizes)
        new = [wide - narrow for narrow, wide in zip((0, *sizes), sizes, strict=False)]
        self.into = nn.ModuleList(nn.Linear(dim, n) for n in new)
        self.out = nn.ModuleList(nn.Linear(n, dim, bias=False) for n in new)
        self.bias = nn.Parameter(torch.zeros(dim))

    def term(self, x: Tensor, stage: int) -> Tensor:
        """Return what the hidden units of one stage add, (batch, tokens, dim)."""
        return self.out[stage](F.gelu(self.into[stage](x)))

    def forward(self, x: Tensor, stage: int) -> Tensor:
        """Return the output of the first h_s hidden units."""
        y = self.bias + self.term(x, 0)
        for later in range(1, stage + 1):
            y = y + self.term(x, later)
        return y


class MatFormer(AnytimeModule):
    """Small pre-norm transformer encoder with nested feed-forward layers, for classification.

    From the first feed-forward layer on, activations depend on the size that is used, as in
    MatFormer: a stage reuses the first attention layer and recomputes the rest.

    Parameters
    ----------
    features : int
        Numbers in an input token; inputs are (batch, tokens, features).
    sizes : sequence of int
        Cumulative hidden sizes of every feed-forward layer.
    dim, heads, depth : int
        Token size, attention heads and blocks.
    tokens : int
        Number of tokens.
    num_classes : int
        Outputs.
    """

    def __init__(
        self,
        features: int,
        sizes: Sequence[int] = (8, 16, 32, 64),
        *,
        dim: int = 32,
        heads: int = 2,
        depth: int = 2,
        tokens: int = 8,
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        self.num_stages = len(check_widths(sizes))
        self.embed = nn.Linear(features, dim)
        self.places = nn.Parameter(torch.randn(tokens, dim) / dim**0.5)
        self.attention_norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(depth))
        self.attentions = nn.ModuleList(
            nn.MultiheadAttention(dim, heads, batch_first=True) for _ in range(depth)
        )
        self.ffn_norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(depth))
        self.ffns = nn.ModuleList(NestedFFN(dim, sizes) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.heads = nn.ModuleList(nn.Linear(dim, num_classes) for _ in sizes)

    def step(self, stage: int, x: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """See :meth:`AnytimeModule.step`; the cache holds the tokens after the first attention."""
        stage = self.check_stage(stage)
        first = cache["tokens"] if stage else self._attended(0, self.embed(x) + self.places)
        h = first
        for block, (norm, ffn) in enumerate(zip(self.ffn_norms, self.ffns, strict=True)):
            if block:
                h = self._attended(block, h)
            h = h + ffn(norm(h), stage)
        return self.heads[stage](self.norm(h).mean(1)), {"tokens": first}

    def _attended(self, block: int, h: Tensor) -> Tensor:
        normed = self.attention_norms[block](h)
        return h + self.attentions[block](normed, normed, normed, need_weights=False)[0]

    def parameters_of(self, stage: int) -> list[nn.Parameter]:
        """See :meth:`AnytimeModule.parameters_of`."""
        shared = [self.places, *(ffn.bias for ffn in self.ffns)] if stage == 0 else []
        return shared + super().parameters_of(stage)

    def introduced(self, stage: int) -> Iterator[nn.Module]:
        """See :meth:`AnytimeModule.introduced`; attention belongs to stage 0."""
        if stage == 0:
            yield from (self.embed, self.norm)
            yield from (self.attention_norms, self.attentions, self.ffn_norms)
        for ffn in self.ffns:
            yield ffn.into[stage]
            yield ffn.out[stage]
        yield self.heads[stage]
