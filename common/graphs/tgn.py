"""Temporal graph networks (Rossi et al. 2020) from PyTorch Geometric's parts, with strict state.

One object holds the memory, the last neighbours and the log of events, so that they cannot get
out of step: score events with :meth:`TGN.embed` first, then show them to :meth:`TGN.update`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.nn import TransformerConv
from torch_geometric.nn.models.tgn import (
    IdentityMessage,
    LastAggregator,
    LastNeighborLoader,
    TGNMemory,
)

from common.graphs.projections import keyed_normal


class LastNeighbors(LastNeighborLoader):
    """PyG's loader, with the last interactions also of a node that has many in one batch.

    ``LastNeighborLoader.insert`` (PyG 2.8) keeps arbitrary ones, not the last, when a batch holds
    more interactions of a node than ``size``. Slots that were never filled hold zeros.
    """

    def insert(self, src: Tensor, dst: Tensor) -> None:
        """Add interactions in the order of time."""
        e_id = torch.arange(self.cur_e_id, self.cur_e_id + len(src), device=src.device)
        self.cur_e_id += len(src)
        # Both directions of an event side by side, so that a stable sort keeps the order of time.
        nodes, order = torch.stack([dst, src], dim=1).flatten().sort(stable=True)
        neighbors, e_id = torch.stack([src, dst], dim=1).flatten()[order], e_id[order // 2]
        n_id, group, count = nodes.unique_consecutive(return_inverse=True, return_counts=True)
        slot = count.cumsum(0)[group] - 1 - torch.arange(len(nodes), device=nodes.device)
        last = slot < self.size
        row, slot = group[last], slot[last]
        new = e_id.new_full((len(n_id), self.size), -1), e_id.new_zeros(len(n_id), self.size)
        new[0][row, slot], new[1][row, slot] = e_id[last], neighbors[last]
        e_id, order = torch.cat([self.e_id[n_id], new[0]], dim=1).topk(self.size, dim=1)
        self.e_id[n_id] = e_id
        self.neighbors[n_id] = torch.cat([self.neighbors[n_id], new[1]], dim=1).gather(1, order)

    def reset_state(self) -> None:
        """Forget all interactions."""
        super().reset_state()
        self.neighbors.zero_()


class TGN(nn.Module):
    """Memory of every node plus attention over its last interactions.

    Parameters
    ----------
    num_nodes : int
        V; ids are 0 to V - 1.
    msg_dim : int
        Width of the edge features given to :meth:`update`; may be 0.
    memory_dim, time_dim, embedding_dim : int
        Widths of the memory, of the cosine encoding of time spans and of the embeddings.
    num_neighbors : int
        Last interactions of a node that its embedding attends to.
    heads : int
        Attention heads; divides ``embedding_dim``.
    dropout : float
        Dropout of the attention weights, in training only.
    identity_dim : int
        Width of a fixed random code of every node, a function of its id, that the attention sees
        beside the memory. The original has none: nodes with equal histories look the same.
    log_frequencies : bool
        Start the time encoding with frequencies from 1 down to 1e-9, as the original TGN does;
        PyG's start uniform in (-1, 1), too fast for spans of many units.

    Raises
    ------
    ValueError
        If ``heads`` does not divide ``embedding_dim``, or a size is not positive.

    Notes
    -----
    The parts are ``TGNMemory`` (``IdentityMessage``, ``LastAggregator``, GRU cell),
    ``LastNeighborLoader`` (see :class:`LastNeighbors`) and ``TransformerConv``. Two habits of
    ``TGNMemory`` matter here. In training it applies a node's message when the node is next asked
    for, so that gradients reach the memory; in evaluation it applies messages at once. And in
    training a node without messages has the memory GRU(0, 0), whereas ``reset_state`` leaves
    zeros: :meth:`reset` in evaluation mode starts from GRU(0, 0) too, so that a model meets unseen
    nodes as it learned them.

    Examples
    --------
    >>> tgn = TGN(num_nodes=3, msg_dim=0, memory_dim=4, time_dim=4, embedding_dim=4).eval()
    >>> tgn.update(torch.tensor([0]), torch.tensor([2]), torch.tensor([5]), torch.zeros(1, 0))
    >>> tuple(tgn.embed(torch.tensor([0, 1])).shape)
    (2, 4)
    """

    def __init__(
        self,
        num_nodes: int,
        msg_dim: int,
        memory_dim: int = 100,
        time_dim: int = 100,
        embedding_dim: int = 100,
        num_neighbors: int = 10,
        heads: int = 2,
        dropout: float = 0.1,
        *,
        identity_dim: int = 0,
        log_frequencies: bool = False,
    ) -> None:
        super().__init__()
        sizes = {"num_nodes": num_nodes, "memory_dim": memory_dim, "num_neighbors": num_neighbors}
        if bad := {name: size for name, size in sizes.items() if size < 1}:
            raise ValueError(f"sizes must be positive, got {bad}")
        if embedding_dim % heads:
            raise ValueError(f"heads={heads} does not divide embedding_dim={embedding_dim}")
        self.num_nodes, self.msg_dim, self.embedding_dim = num_nodes, msg_dim, embedding_dim
        # TGNMemory drops messages without entries, so a stream without features gets a zero.
        width = max(msg_dim, 1)
        message = IdentityMessage(width, memory_dim, time_dim)
        self.node_memory = TGNMemory(
            num_nodes, width, memory_dim, time_dim, message, LastAggregator()
        )
        if log_frequencies:
            with torch.no_grad():
                frequencies = 10.0 ** -torch.linspace(0, 9, time_dim)
                self.node_memory.time_enc.lin.weight.copy_(frequencies[:, None])
                self.node_memory.time_enc.lin.bias.zero_()
        codes = keyed_normal(0, np.arange(num_nodes), identity_dim).astype(np.float32)
        self.register_buffer("_identity", torch.from_numpy(codes), persistent=False)
        self.conv = TransformerConv(
            memory_dim + identity_dim,
            embedding_dim // heads,
            heads=heads,
            dropout=dropout,
            edge_dim=width + time_dim,
        )
        self.neighbors = LastNeighbors(num_nodes, num_neighbors)
        self._place = torch.empty(num_nodes, dtype=torch.long)
        self._log_t, self._log_msg = torch.empty(0, dtype=torch.long), torch.empty(0, width)
        self._kept: tuple[list[int], Tensor] | None = None
        self.reset()

    def _apply(self, fn: Any, recurse: bool = True) -> TGN:
        """Move what is no parameter along with the module, for example to a GPU."""
        super()._apply(fn, recurse)
        loader = self.neighbors
        loader.neighbors, loader.e_id = fn(loader.neighbors), fn(loader.e_id)
        loader._assoc, self._place = fn(loader._assoc), fn(self._place)
        self._log_t, self._log_msg = fn(self._log_t), fn(self._log_msg)
        self._kept = None
        return self

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self._place.device

    @property
    def memory(self) -> Tensor:
        """Memory of all nodes, pending messages included, shape (V, memory_dim)."""
        with torch.no_grad():
            return self.node_memory(torch.arange(self.num_nodes, device=self.device))[0]

    @property
    def num_events(self) -> int:
        """Number of events since the last :meth:`reset`."""
        return self.neighbors.cur_e_id

    def train(self, mode: bool = True) -> TGN:
        """Switch modes; pending messages are applied on the way from training to evaluation.

        Call :meth:`reset` before going back to training: applied messages would count again.
        """
        self._kept = None
        with torch.no_grad():
            return super().train(mode)

    def reset(self) -> None:
        """Forget all events: every node is unseen again."""
        self._kept = None
        self.node_memory.reset_state()
        self.neighbors.reset_state()
        if not self.training:
            self.node_memory.memory[:] = self.unseen_memory()

    @torch.no_grad()
    def unseen_memory(self) -> Tensor:
        """Memory of a node without events as training sees it, GRU(0, 0); shape (memory_dim,)."""
        gru = self.node_memory.gru
        zeros = self._log_msg.new_zeros
        return gru(zeros(1, gru.input_size), zeros(1, gru.hidden_size))[0]

    def snapshot(self) -> dict[str, Tensor]:
        """Return a copy of the state (no parameters); in evaluation mode only.

        Raises
        ------
        RuntimeError
            In training mode, where messages are pending.
        """
        if self.training:
            raise RuntimeError("messages are pending in training mode; call eval() first")
        events = self.num_events
        state = {
            "memory": self.node_memory.memory,
            "last_update": self.node_memory.last_update,
            "neighbors": self.neighbors.neighbors,
            "e_id": self.neighbors.e_id,
            "log_t": self._log_t[:events],
            "log_msg": self._log_msg[:events],
        }
        return {name: tensor.detach().clone() for name, tensor in state.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Return to a state of :meth:`snapshot`, also one of a TGN with fewer nodes.

        Nodes that the state does not hold are unseen.
        """
        self.reset()
        known = len(state["memory"])
        for name, target in (
            ("memory", self.node_memory.memory),
            ("last_update", self.node_memory.last_update),
            ("neighbors", self.neighbors.neighbors),
            ("e_id", self.neighbors.e_id),
        ):
            target[:known] = state[name]
        self._append(state["log_t"].to(self.device), state["log_msg"].to(self.device))
        self.neighbors.cur_e_id = len(state["log_t"])

    def detach(self) -> None:
        """Cut the memory from the graph of gradients; call it after every optimiser step."""
        self.node_memory.detach()

    def embed(self, nodes: Tensor) -> Tensor:
        """Return temporal embeddings from all events shown so far.

        Parameters
        ----------
        nodes : LongTensor, shape (n,)
            Ids, without repeats.

        Returns
        -------
        Tensor, shape (n, embedding_dim)
        """
        if not self.training and not torch.is_grad_enabled():
            return self._attend(nodes)
        n_id, edge_index, e_id = self.neighbors(nodes)
        z, last_update = self.node_memory(n_id)
        edge_attr = self._edge_attr(last_update[edge_index[0]], e_id)
        z = self.conv(torch.cat([z, self._identity[n_id]], dim=1), edge_index, edge_attr)
        self._place[n_id] = torch.arange(len(n_id), device=self.device)
        return z[self._place[nodes]]

    def _edge_attr(self, last_update: Tensor, e_id: Tensor) -> Tensor:
        span = (last_update - self._log_t[e_id]).to(self._log_msg.dtype)
        return torch.cat([self.node_memory.time_enc(span), self._log_msg[e_id]], dim=-1)

    def _attend(self, nodes: Tensor) -> Tensor:
        """Do what ``conv`` does on the last neighbours, with keys and values kept per node."""
        conv, heads = self.conv, self.conv.heads
        e_id = self.neighbors.e_id[nodes]
        valid = e_id >= 0
        row, neighbor, e_id = valid.nonzero()[:, 0], self.neighbors.neighbors[nodes], e_id[valid]
        neighbor = neighbor[valid]
        key, value = self._keys_values(neighbor).chunk(2, dim=1)
        edge = conv.lin_edge(self._edge_attr(self.node_memory.last_update[neighbor], e_id))
        x = torch.cat([self.node_memory.memory[nodes], self._identity[nodes]], dim=1)
        query = conv.lin_query(x)[row]
        logits = (query * (key + edge)).view(len(row), heads, conv.out_channels).sum(dim=-1)
        weight = logits.new_full((*valid.shape, heads), -torch.inf)
        weight[valid] = logits / conv.out_channels**0.5
        weight = weight.softmax(dim=1)[valid]
        message = (value + edge).view(len(row), heads, conv.out_channels) * weight[:, :, None]
        return conv.lin_skip(x).index_add_(0, row, message.flatten(1))

    def _keys_values(self, nodes: Tensor) -> Tensor:
        """Return keys and values of the attention, shape (n, 2 embedding_dim).

        They are a function of a node's memory, so those of a node that had no event since they
        were last asked for are kept; a change of weights shows in their version counters.
        """
        layers = self.conv.lin_key, self.conv.lin_value
        versions = [p._version for layer in layers for p in (layer.weight, layer.bias)]
        if self._kept is None or self._kept[0] != versions:
            table = self._log_msg.new_empty(self.num_nodes, 2 * self.embedding_dim)
            self._kept = versions, table
            self._stale = torch.ones(self.num_nodes, dtype=torch.bool, device=self.device)
        table = self._kept[1]
        if (stale := self._stale[nodes]).any():
            renew = nodes[stale].unique()
            x = torch.cat([self.node_memory.memory[renew], self._identity[renew]], dim=1)
            table[renew] = torch.cat([layer(x) for layer in layers], dim=1)
            self._stale[renew] = False
        return table[nodes]

    def update(self, src: Tensor, dst: Tensor, t: Tensor, msg: Tensor) -> None:
        """Show events, in the order of time; later embeddings depend on them.

        Parameters
        ----------
        src, dst : LongTensor, shape (B,)
            Ids.
        t : Tensor, shape (B,)
            Times; the memory counts in whole units, so fractions are rounded.
        msg : FloatTensor, shape (B, msg_dim)
            Edge features.

        Raises
        ------
        ValueError
            For features of another width.
        """
        if msg.dim() != 2 or msg.shape[1] != self.msg_dim:
            raise ValueError(f"msg has shape {tuple(msg.shape)}; the width must be {self.msg_dim}")
        t = t.round().long() if t.is_floating_point() else t.long()
        msg = msg.detach().to(self._log_msg.dtype)
        if not self.msg_dim:
            msg = msg.new_zeros(len(msg), 1)
        self._append(t, msg)
        if self.training:
            self.node_memory.update_state(src, dst, t, msg)
        else:
            self._apply_messages(src, dst, t, msg)
        self.neighbors.insert(src, dst)

    @torch.no_grad()
    def _apply_messages(self, src: Tensor, dst: Tensor, t: Tensor, msg: Tensor) -> None:
        """Do what ``TGNMemory.update_state`` does in evaluation, without a Python step per node.

        Of a node's messages in the batch the last one counts, so only that one is computed.
        """
        store, events = self.node_memory, torch.arange(len(src), device=src.device)
        nodes, place = torch.cat([src, dst]).unique(return_inverse=True)
        # Messages in the order of events, an event's message to its source before the other.
        rank = torch.cat([2 * events, 2 * events + 1])
        last = rank.new_zeros(len(nodes)).scatter_reduce_(0, place, rank, "amax")
        event, to_dst = last // 2, last % 2 == 1
        other = torch.where(to_dst, src[event], dst[event])
        span = t[event] - store.last_update[nodes]
        encoded = store.time_enc(span.to(msg.dtype))
        message = torch.cat([store.memory[nodes], store.memory[other], msg[event], encoded], dim=1)
        store.memory[nodes] = store.gru(message, store.memory[nodes])
        store.last_update[nodes] = t[event]
        if self._kept is not None:
            self._stale[nodes] = True

    def _append(self, t: Tensor, msg: Tensor) -> None:
        """Write the log of events that the neighbours point into; it grows by doubling."""
        begin = self.num_events
        end = begin + len(t)
        if end > len(self._log_t):
            room = max(end, 2 * len(self._log_t), 1024)
            log_t, log_msg = self._log_t.new_zeros(room), self._log_msg.new_zeros(room, msg.size(1))
            log_t[:begin], log_msg[:begin] = self._log_t[:begin], self._log_msg[:begin]
            self._log_t, self._log_msg = log_t, log_msg
        self._log_t[begin:end], self._log_msg[begin:end] = t, msg
