"""The scores of the current state, kept up to date while events come in."""

from __future__ import annotations

import torch
from torch import Tensor

from projects.dggen.encoding import Batch
from projects.dggen.network import Network

# Nodes that are embedded at once: bounds the memory of the attention over their neighbours.
CHUNK = 4096


class ScoreTable:
    """p(src) and p(dst | src) over candidate sets, from cached embeddings of all nodes.

    Events change the embeddings of their own nodes and of the nodes that have one of these among
    their last neighbours; only those are computed anew.

    Parameters
    ----------
    network : Network
        In evaluation mode; its state is the current one.
    sources, destinations : LongTensor
        Sorted candidate ids.
    refresh : {"exact", "touched"}
        Renew all embeddings that changed, or those of the events' own nodes only (as released).
    """

    @torch.no_grad()
    def __init__(
        self, network: Network, sources: Tensor, destinations: Tensor, refresh: str = "exact"
    ) -> None:
        self.network, self.refresh = network, refresh
        self.sources, self.destinations = sources, destinations
        nodes = torch.arange(network.num_nodes, device=network.device)
        self._source_at = torch.full_like(nodes, -1)
        self._source_at[sources] = torch.arange(len(sources), device=nodes.device)
        self._destination_at = torch.full_like(nodes, -1)
        self._destination_at[destinations] = torch.arange(len(destinations), device=nodes.device)
        dim = network.tgn.embedding_dim
        self.z = torch.empty(len(nodes), dim, device=nodes.device)
        self._scores = torch.empty(len(sources), device=nodes.device)
        self._b = torch.empty(len(destinations), dim, device=nodes.device)
        self._renew(nodes)

    @torch.no_grad()
    def advance(self, batch: Batch) -> None:
        """Show events to the encoder and renew what they change."""
        self.network.update(batch)
        touched = torch.cat([batch.src, batch.dst]).unique()
        if self.refresh == "exact":
            loader = self.network.tgn.neighbors
            is_touched = torch.zeros(self.network.num_nodes, dtype=torch.bool, device=self.z.device)
            is_touched[touched] = True
            changed = (is_touched[loader.neighbors] & (loader.e_id >= 0)).any(dim=1)
            changed |= is_touched
            touched = changed.nonzero()[:, 0]
        self._renew(touched)

    def _renew(self, nodes: Tensor) -> None:
        network = self.network
        for part in nodes.split(CHUNK):
            self.z[part] = z = network.tgn.embed(part)
            at = self._source_at[part]
            if (is_source := at >= 0).any():
                self._scores[at[is_source]] = network.reshape(z[is_source])
            at = self._destination_at[part]
            if (is_destination := at >= 0).any():
                self._b[at[is_destination]] = network.product.destination(z[is_destination])

    def log_p_sources(self) -> Tensor:
        """Return log p(src) over the candidate sources, shape (S,)."""
        return self._scores.log_softmax(dim=0)

    @torch.no_grad()
    def log_p_destinations(self, nodes: Tensor) -> Tensor:
        """Return log p(dst | src) of every source asked for, shape (n, D)."""
        a = self.network.product.source(self.z[nodes])
        return self.network.product.scores(a, self._b).log_softmax(dim=1)

    @torch.no_grad()
    def log_p_links(self, src: Tensor, dst: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p(src) and log p(dst | src), both (B,); minus infinity outside the sets."""
        u, v = self._source_at[src], self._destination_at[dst]
        log_p_src = self.log_p_sources()[u].where(u >= 0, -torch.inf)
        rows, row = src.unique(return_inverse=True)
        log_p_dst = self.log_p_destinations(rows)[row, v].where(v >= 0, -torch.inf)
        return log_p_src, log_p_dst

    @torch.no_grad()
    def log_p_columns(self, batch: Batch) -> Tensor:
        """Return the log densities of the columns that the networks see, shape (B, 1 + F)."""
        h0 = self.network.merge(self.z[batch.src], self.z[batch.dst])
        return self.network.columns.log_prob(h0, batch.x)
