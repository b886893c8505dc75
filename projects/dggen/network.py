"""Encoder and decoder in one module, and an event's likelihood under them (section 2.3 and 2.4)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from common.graphs.tgn import TGN
from projects.dggen.columns import ColumnModel
from projects.dggen.config import DGGenConfig
from projects.dggen.decoder import Merge, Product, Reshape
from projects.dggen.encoding import Batch, Scaling


class Network(nn.Module):
    """TGN encoder and the four modules of the decoder.

    Parameters
    ----------
    config : DGGenConfig
        Sizes.
    num_nodes : int
        Size of the table of nodes.
    laws : tuple
        Laws of the columns [dt, msg].
    scaling : Scaling
        What the networks see of raw columns.
    """

    def __init__(
        self, config: DGGenConfig, num_nodes: int, laws: tuple[int | str, ...], scaling: Scaling
    ) -> None:
        super().__init__()
        self.num_nodes = num_nodes
        self.tgn = TGN(
            num_nodes,
            len(laws),
            config.memory_dim,
            config.time_dim,
            config.embedding_dim,
            config.num_neighbors,
            config.heads,
            config.dropout,
            identity_dim=config.identity_dim,
            log_frequencies=config.time_init == "log",
        )
        dim = config.embedding_dim
        self.reshape, self.product = Reshape(dim), Product(dim)
        self.merge = Merge(dim, config.feats_dim)
        # One tick in the units that the networks see.
        offset = config.resolution / float(scaling.scale[0])
        self.columns = ColumnModel(
            laws, config.feats_dim, config.num_components, scaling.floors, offset, scaling.limit
        )
        self.continuous = [place for place, law in enumerate(laws) if place and law == str(law)]

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.tgn.device

    def update(self, batch: Batch) -> None:
        """Show events to the encoder, after they were scored."""
        self.tgn.update(batch.src, batch.dst, batch.ticks, batch.x)

    def terms(self, batch: Batch, sources: Candidates, destinations: Candidates) -> list[Tensor]:
        """Return log p(src), log p(dst | src), both (B,), and of the columns, (B, 1 + F).

        The candidates hold all sources and destinations of the batch.
        """
        nodes, place = torch.cat([sources.ids, destinations.ids]).unique(return_inverse=True)
        z = self.tgn.embed(nodes)
        z_sources, z_destinations = z[place[: len(sources)]], z[place[len(sources) :]]
        u, v = sources.place(batch.src), destinations.place(batch.dst)
        log_p_src = (self.reshape(z_sources) + sources.log_weight).log_softmax(dim=0)[u]
        rows, row = u.unique(return_inverse=True)
        scores = self.product(z_sources[rows], z_destinations) + destinations.log_weight
        log_p_dst = scores[row, v] - scores.logsumexp(dim=1)[row]
        h0 = self.merge(z_sources[u], z_destinations[v])
        return [log_p_src, log_p_dst, self.columns.log_prob(h0, batch.x)]


@dataclass(frozen=True)
class Candidates:
    """The set that a softmax runs over.

    Attributes
    ----------
    ids : LongTensor, shape (C,)
        Sorted ids.
    log_weight : Tensor, shape (C,)
        Added to the scores: minus the log probability that the candidate was drawn, so that the
        sum over the set is an unbiased estimate of the sum over all.
    """

    ids: Tensor
    log_weight: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def place(self, nodes: Tensor) -> Tensor:
        """Return the positions of nodes that the set holds."""
        return torch.searchsorted(self.ids, nodes)

    @classmethod
    def all_of(cls, ids: Tensor) -> Candidates:
        """Return the exact softmax's candidates."""
        return cls(ids, torch.zeros(len(ids), device=ids.device))

    @classmethod
    def sample(cls, ids: Tensor, positives: Tensor, num: int, correction: str) -> Candidates:
        """Return the positives and ``num`` others drawn without replacement (section 2.4).

        With ``correction="logq"`` an other counts (number of others) / num times, which makes the
        normaliser unbiased given the batch; with ``"none"`` once, as released.
        """
        positives = positives.unique()
        others = ids[~torch.isin(ids, positives)]
        if num >= len(others):
            return cls.all_of(ids)
        drawn = others[torch.randperm(len(others))[:num].to(ids.device)]
        chosen, order = torch.cat([positives, drawn]).sort()
        weight = torch.zeros(len(chosen), device=ids.device)
        if correction == "logq":
            weight[len(positives) :] = math.log(len(others) / num)
        return cls(chosen, weight[order])
