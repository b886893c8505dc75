"""Link prediction with a temporal graph network, by PyTorch Geometric's recipe."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from common.graphs.events import EventStream
from common.graphs.tgn import TGN


class LinkPredictor(nn.Module):
    """Logit of a link from two embeddings: W3 relu(W1 z_u + W2 z_v).

    Examples
    --------
    >>> tuple(LinkPredictor(4)(torch.zeros(3, 4), torch.zeros(3, 4)).shape)
    (3,)
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.source, self.destination = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.final = nn.Linear(dim, 1)

    def forward(self, z_src: Tensor, z_dst: Tensor) -> Tensor:
        """Return logits, shape (B,), for embeddings of shape (B, dim)."""
        return self.final((self.source(z_src) + self.destination(z_dst)).relu())[:, 0]


def event_tensors(events: EventStream, device: str = "cpu") -> tuple[Tensor, ...]:
    """Return src, dst (int64), t (float64) and msg (float32) on a device.

    Examples
    --------
    >>> src, dst, t, msg = event_tensors(EventStream.of({"src": [0], "dst": [1], "t": [2]}))
    >>> src.dtype, tuple(msg.shape)
    (torch.int64, (1, 0))
    """
    arrays = events.src, events.dst, events.t, events.msg.astype(np.float32)
    return tuple(torch.from_numpy(np.array(array)).to(device) for array in arrays)


def link_logits(
    tgn: TGN, predictor: LinkPredictor, src: Tensor, *destinations: Tensor
) -> list[Tensor]:
    """Score pairs (src, d) for several columns d of destinations with one embedding of all nodes.

    Parameters
    ----------
    tgn, predictor : TGN, LinkPredictor
        From :func:`train_tgn`.
    src, *destinations : LongTensor, shape (B,)
        Ids.

    Returns
    -------
    list of Tensor, shape (B,)
        One per column of destinations.
    """
    nodes, place = torch.cat([src, *destinations]).unique(return_inverse=True)
    z = tgn.embed(nodes)[place].split(len(src))
    return [predictor(z[0], z_dst) for z_dst in z[1:]]


def train_tgn(
    events: EventStream,
    *,
    epochs: int = 10,
    batch_size: int = 200,
    lr: float = 1e-4,
    seed: int = 0,
    device: str = "cpu",
    num_nodes: int | None = None,
    **sizes: int | float,
) -> tuple[TGN, LinkPredictor]:
    """Train link prediction by the recipe of PyTorch Geometric's ``examples/tgn.py``.

    Every event is set against one destination drawn from those of the stream; binary cross
    entropy, Adam; the memory is reset at every epoch and sees a batch after it was scored.

    Parameters
    ----------
    events : EventStream
        Training events. Times are taken as they are; see :meth:`EventStream.shifted`.
    epochs, batch_size : int
        Passes over the events; events per step.
    lr : float
        Learning rate of Adam.
    seed : int
        Of the initial weights, the negatives and the dropout.
    device : str
        ``cpu`` or ``cuda``.
    num_nodes : int, optional
        Size of the table of nodes if later events have larger ids.
    **sizes
        Sizes of :class:`TGN`.

    Returns
    -------
    TGN, LinkPredictor
        In evaluation mode, with the state after the last training event.

    Raises
    ------
    ValueError
        Without events.

    Examples
    --------
    >>> stream = EventStream.of({"src": [0, 1] * 8, "dst": [2, 3] * 8, "t": range(16)})
    >>> small = {"memory_dim": 8, "time_dim": 8, "embedding_dim": 8}
    >>> tgn, predictor = train_tgn(stream, epochs=1, batch_size=4, **small)
    >>> tgn.num_events
    16
    """
    if not len(events):
        raise ValueError("no events to train on")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tgn = TGN(num_nodes or events.num_nodes, events.num_features, **sizes).to(device)
        predictor = LinkPredictor(tgn.embedding_dim).to(device)
        optimizer = torch.optim.Adam([*tgn.parameters(), *predictor.parameters()], lr=lr)
        src, dst, t, msg = event_tensors(events, device)
        pool = dst.unique()
        tgn.train(), predictor.train()
        for _ in range(epochs):
            tgn.reset()
            for batch in torch.arange(len(src), device=device).split(batch_size):
                negative = pool[torch.randint(len(pool), (len(batch),)).to(device)]
                logits = torch.cat(link_logits(tgn, predictor, src[batch], dst[batch], negative))
                target = torch.zeros_like(logits)
                target[: len(batch)] = 1.0
                loss = nn.functional.binary_cross_entropy_with_logits(logits, target)
                tgn.update(src[batch], dst[batch], t[batch], msg[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                tgn.detach()
    return tgn.eval(), predictor.eval()
