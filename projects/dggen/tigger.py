"""A small transductive TIGGER: temporal random walks, learnt and put together to a stream.

Section 4 of the brief. Left out: node clusters, and the inductive part (GraphSAGE and WGAN), so
that only nodes of training are generated. Edge features are not modelled (claim C2).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.graphs.events import EventStream
from projects.dggen.columns import LogNormalMixture
from projects.dggen.config import NotFittedError

# Smallest standard deviation of a log wait: equal waits have no infinite density.
_FLOOR = 0.05
# Walks that are sampled at once, and how often before sampling gives up.
_WALKS, _ROUNDS = 256, 1000


class Walks(NamedTuple):
    """Temporal walks of at most L events; -1 and NaN follow the end of shorter ones.

    Attributes
    ----------
    nodes : ndarray of int64, shape (W, L + 1)
    t : ndarray of float64, shape (W, L)
        Time of the event between node i and node i + 1, not decreasing.
    """

    nodes: np.ndarray
    t: np.ndarray


class WalkSampler:
    """Draws temporal walks from a stream.

    A walk starts with an event, from its source to its destination, and goes on along an event
    that comes later in the stream, drawn uniformly among the next ``reach`` of the node it is at.
    Directions are kept, except in a bipartite stream: there every walk would end at once, so events
    are taken from either end.

    Parameters
    ----------
    events : EventStream
        Stream to walk on.
    reach : int
        Number of next events to choose from.
    """

    def __init__(self, events: EventStream, reach: int = 10) -> None:
        if not len(events):
            raise ValueError("the stream has no events to walk on")
        self.events, self.reach = events, reach
        nodes, other, event = events.src, events.dst, np.arange(len(events))
        if events.bipartite:
            nodes, other = np.append(nodes, other), np.append(other, nodes)
            event = np.append(event, event)
        order = np.lexsort((event, nodes))
        self._event, self._other = event[order], other[order]
        # Sorted by node, then by event: one search finds a node's events after a given one.
        self._keys = nodes[order] * len(events) + self._event

    def walk(self, starts: np.ndarray, length: int, rng: np.random.Generator) -> Walks:
        """Draw a walk of at most ``length`` events from each of the events numbered ``starts``."""
        events, at = self.events, np.asarray(starts)
        nodes, t = np.full((len(at), length + 1), -1), np.full((len(at), length), np.nan)
        nodes[:, 0], nodes[:, 1], t[:, 0] = events.src[at], events.dst[at], events.t[at]
        alive, here = np.arange(len(at)), events.dst[at]
        for step in range(1, length):
            first = np.searchsorted(self._keys, here * len(events) + at, side="right")
            end = np.searchsorted(self._keys, (here + 1) * len(events))
            choices = np.minimum(end - first, self.reach)
            goes = choices > 0
            alive, first, choices = alive[goes], first[goes], choices[goes]
            chosen = first + rng.integers(0, choices)
            at, here = self._event[chosen], self._other[chosen]
            nodes[alive, step + 1], t[alive, step] = here, events.t[at]
        return Walks(nodes, t)


class WalkModel(nn.Module):
    """LSTM over walks; a softmax over the next node or the end, log-normals for the wait.

    At node i the LSTM reads the node's vector, the log of the wait before it and Time2Vec of its
    time; from its state come the next node and, given that one too, the wait until its event. The
    first node and the time of the first event are given.

    Parameters
    ----------
    num_nodes : int
        Nodes are 0 to N - 1; N means that the walk ends.
    origin, span : float
        Begin and length of training.
    offset : float
        Of the log-normals, in units of time.
    hidden, embedding, components, time : int
        Sizes of the LSTM, of the nodes' vectors, of the mixture and of Time2Vec.
    """

    def __init__(
        self,
        num_nodes: int,
        origin: float,
        span: float,
        offset: float,
        *,
        hidden: int = 64,
        embedding: int = 32,
        components: int = 8,
        time: int = 8,
    ) -> None:
        super().__init__()
        self.end, self.origin, self.span, self.offset = num_nodes, origin, span, offset
        self.embedding = nn.Embedding(num_nodes + 1, embedding)
        self.time2vec = nn.Linear(1, time)
        self.lstm = nn.LSTM(embedding + 1 + time, hidden, batch_first=True)
        self.node = nn.Linear(hidden, num_nodes + 1)
        self.joint = nn.Linear(hidden + embedding, hidden)
        self.wait = LogNormalMixture(hidden, components, offset, limit=span)
        # Waits spread over many orders of magnitude: components start apart.
        with torch.no_grad():
            _, mean, _ = self.wait.linear.bias.chunk(3)
            mean.copy_(torch.linspace(np.log(offset), np.log(span + offset), components))

    def read(
        self, nodes: Tensor, wait: Tensor, t: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the states (W, L, H) after nodes with their waits and (float64) times, (W, L)."""
        phase = self.time2vec(((t - self.origin) / self.span).float()[..., None])
        time = torch.cat([phase[..., :1], phase[..., 1:].sin()], dim=-1)
        log_wait = (wait.float() / self.offset).log1p()[..., None]
        return self.lstm(torch.cat([self.embedding(nodes), log_wait, time], dim=-1), state)

    def before_wait(self, h: Tensor, following: Tensor) -> Tensor:
        """Return what the wait depends on, the state and the next node, shape (B, H)."""
        return torch.tanh(self.joint(torch.cat([h, self.embedding(following)], dim=-1)))

    def log_prob(self, walks: Walks) -> tuple[Tensor, Tensor]:
        """Return the log likelihoods of all next nodes (ends included) and of all waits, flat."""
        nodes, t = torch.from_numpy(walks.nodes), torch.from_numpy(walks.t)
        # The event that led to node i is event i - 1; node 0 takes the time of event 0.
        arrival = torch.cat([t[:, :1], t[:, :-1]], dim=1)
        wait_before = torch.diff(arrival, dim=1, prepend=arrival[:, :1])
        is_node = nodes >= 0
        ids = nodes.where(is_node, self.end)
        h, _ = self.read(ids[:, :-1], wait_before.nan_to_num(), arrival.nan_to_num())
        here, goes = is_node[:, :-1], is_node[:, 1:].clone()
        log_node = -F.cross_entropy(self.node(h[here]), ids[:, 1:][here], reduction="none")
        goes[:, 0] = False
        waits = (t - arrival)[goes].float()
        return log_node, self.wait.log_prob(
            self.before_wait(h[goes], ids[:, 1:][goes]), waits, _FLOOR
        )

    @torch.no_grad()
    def sample(
        self, first: np.ndarray, t: np.ndarray, length: int, generator: torch.Generator
    ) -> Walks:
        """Draw walks of at most ``length`` events from nodes ``first`` with first events at t."""
        nodes, times = np.full((len(first), length + 1), -1), np.full((len(first), length), np.nan)
        nodes[:, 0], here, now = first, torch.from_numpy(first), torch.from_numpy(t)
        wait, state, goes = torch.zeros_like(now), None, torch.ones(len(first), dtype=torch.bool)
        for step in range(length):
            h, state = self.read(here[:, None], wait[:, None], now[:, None], state)
            h = h[:, 0]
            here = torch.multinomial(self.node(h).softmax(dim=1), 1, generator=generator)[:, 0]
            if step:
                wait = self.wait.sample(self.before_wait(h, here), generator, _FLOOR).double()
                now = now + wait
            goes &= here != self.end
            nodes[:, step + 1] = here.where(goes, -1)
            times[:, step] = now.where(goes, torch.nan)
        return Walks(nodes, times)


@dataclass
class Tigger:
    """A generator of streams from walks.

    Parameters
    ----------
    walk_length, sample_length : int
        Most events of a walk in training and in sampling.
    reach : int
        See :class:`WalkSampler`.
    hidden, embedding, components : int
        See :class:`WalkModel`.
    epochs, batch_size, learning_rate
        Of Adam; an epoch draws one walk from every event.
    seed : int
        Of the weights and of the walks in training.

    Attributes
    ----------
    losses : list of float
        Negative log likelihood per step of a walk, by epoch.

    Examples
    --------
    >>> train = EventStream.of({"src": [0, 1, 0, 1], "dst": [2, 2, 3, 3], "t": [0, 2, 3, 7]})
    >>> model = Tigger(epochs=1).fit(train)
    >>> len(model.sample(6, np.random.default_rng(0)))
    6
    """

    walk_length: int = 10
    sample_length: int = 10
    reach: int = 10
    hidden: int = 64
    embedding: int = 32
    components: int = 8
    epochs: int = 5
    batch_size: int = 128
    learning_rate: float = 5e-3
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name != "seed" and not value > 0:
                raise ValueError(f"{name}={value} must be positive")
        self.losses: list[float] = []
        self.model: WalkModel | None = None

    def fit(self, train: EventStream) -> Tigger:
        """Learn walks of a stream by maximum likelihood.

        Raises
        ------
        ValueError
            If the stream spans no time.
        """
        span = float(train.t[-1] - train.t[0]) if len(train) else 0.0
        if not span > 0:
            raise ValueError(f"{len(train)} training events span {span:g} units of time; need some")
        self._train, self._nodes = train, train.nodes
        compact = replace(
            train,
            src=np.searchsorted(self._nodes, train.src),
            dst=np.searchsorted(self._nodes, train.dst),
        )
        walker, rng = WalkSampler(compact, self.reach), np.random.default_rng(self.seed)
        gaps = np.diff(train.t)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.model = WalkModel(
                len(self._nodes),
                float(train.t[0]),
                span,
                float(gaps[gaps > 0].min()),
                hidden=self.hidden,
                embedding=self.embedding,
                components=self.components,
            )
        adam = torch.optim.Adam(self.model.parameters(), lr=self.learning_rate)
        self.losses = []
        for _ in range(self.epochs):
            walks = walker.walk(rng.permutation(len(train)), self.walk_length, rng)
            self.losses.append(self._epoch(self.model, adam, walks))
        return self

    def _epoch(self, model: WalkModel, adam: torch.optim.Optimizer, walks: Walks) -> float:
        total, steps = 0.0, 0
        for begin in range(0, len(walks.t), self.batch_size):
            part = slice(begin, begin + self.batch_size)
            log_node, log_wait = model.log_prob(Walks(walks.nodes[part], walks.t[part]))
            loss = -(log_node.sum() + log_wait.sum())
            adam.zero_grad()
            (loss / len(log_node)).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            adam.step()
            total, steps = total + loss.item(), steps + len(log_node)
        return total / steps

    def sample(
        self,
        num_events: int,
        rng: np.random.Generator,
        start_time: float = 0.0,
        span: float | None = None,
    ) -> EventStream:
        """Draw walks and put their events together to a stream.

        Walks start at the source and time of events drawn from the last ``num_events`` of training
        (all of it, if it has fewer); their events within that period are collected until there are
        enough, ``num_events`` of them are drawn, and the period is moved to ``start_time`` and
        stretched to ``span``. Steps from what is no source of training, or to what is no
        destination, are dropped: in a bipartite stream all steps from a destination back.

        Parameters
        ----------
        num_events : int
            Number of events.
        rng : Generator
            Source of randomness.
        start_time : float
            Begin of the period.
        span : float, optional
            Its length; by default ``num_events`` come at the pace of the period in training.

        Returns
        -------
        EventStream
            Without features.

        Raises
        ------
        NotFittedError
            Before :meth:`fit`.
        ValueError
            If ``num_events`` is less than 1.
        RuntimeError
            If the model's walks hold hardly any event that can be kept.
        """
        if self.model is None:
            raise NotFittedError("Tigger has learnt no walks yet; call fit(train) first")
        if num_events < 1:
            raise ValueError(f"num_events={num_events} must be at least 1")
        period = self._train[-min(num_events, len(self._train)) :]
        src, dst, t = self._collect(self.model, num_events, period, rng)
        chosen = rng.permutation(len(t))[:num_events]
        chosen = chosen[np.argsort(t[chosen], kind="stable")]
        length = float(period.t[-1] - period.t[0])
        wanted = length * num_events / len(period) if span is None else span
        stretch = wanted / length if length > 0 else 1.0
        times = start_time + (t[chosen] - period.t[0]) * stretch
        none = np.empty((num_events, 0))
        return EventStream(src[chosen], dst[chosen], times, none, name="tigger")

    def _collect(
        self, model: WalkModel, num_events: int, period: EventStream, rng: np.random.Generator
    ) -> list[np.ndarray]:
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        firsts = np.searchsorted(self._nodes, period.src)
        parts, found = [], 0
        for _ in range(_ROUNDS):
            starts = rng.integers(0, len(period), _WALKS)
            walks = model.sample(firsts[starts], period.t[starts], self.sample_length, generator)
            kept = walks.t <= period.t[-1]  # False after the end of a walk
            t = walks.t[kept]
            src, dst = (
                self._nodes[side[kept]] for side in (walks.nodes[:, :-1], walks.nodes[:, 1:])
            )
            real = np.isin(src, self._train.src) & np.isin(dst, self._train.dst)
            parts.append((src[real], dst[real], t[real]))
            found += int(real.sum())
            if found >= num_events:
                return [np.concatenate(column) for column in zip(*parts, strict=True)]
        raise RuntimeError(
            f"{_ROUNDS * _WALKS} walks gave {found} of {num_events} events; train for more epochs "
            f"(epochs={self.epochs})"
        )
