"""Ancestral sampling of events from the current state (section 2.6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Generator, Tensor

from projects.dggen.encoding import Batch, Scaling
from projects.dggen.network import Network
from projects.dggen.scores import ScoreTable

Rounding = Literal["stochastic", "floor", "none"]


@dataclass(frozen=True)
class Clock:
    """How sampled spans become times.

    Attributes
    ----------
    start : float
        Time that the first span is added to.
    origin, resolution : float
        Time and length of tick 0 of the memory.
    rounding : {"stochastic", "floor", "none"}
        Whole multiples of the resolution: floor(dt + U), which keeps the mean; floor(dt), which
        shortens spans by half a tick (as released); or spans as they are drawn.
    end : float, optional
        Time that no event passes.
    """

    start: float
    origin: float
    resolution: float = 1.0
    rounding: Rounding = "stochastic"
    end: float | None = None

    def spans(self, dt: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Round spans, shape (B,)."""
        if self.rounding == "none":
            return dt
        extra = rng.random(len(dt)) if self.rounding == "stochastic" else 0.0
        return np.floor(dt / self.resolution + extra) * self.resolution

    def ticks(self, t: np.ndarray) -> np.ndarray:
        """Return the memory's time, whole numbers."""
        return np.round((t - self.origin) / self.resolution).astype(np.int64)


@dataclass(frozen=True)
class Condition:
    """Ends that sampled events may have: sorted positions in the candidate sets, or None."""

    sources: Tensor | None = None
    destinations: Tensor | None = None

    @classmethod
    def of(
        cls,
        table: ScoreTable,
        src: int | Sequence[int] | None,
        dst: int | Sequence[int] | None,
    ) -> Condition:
        """Find ids among the candidates of a table.

        Raises
        ------
        ValueError
            Naming ids that are no candidates.
        """
        return cls(
            _positions(src, table.sources, "src"), _positions(dst, table.destinations, "dst")
        )


def _positions(ids: int | Sequence[int] | None, candidates: Tensor, which: str) -> Tensor | None:
    if ids is None:
        return None
    wanted = torch.as_tensor(np.unique(np.atleast_1d(ids)), device=candidates.device)
    missing = wanted[~torch.isin(wanted, candidates)].tolist()
    if missing or not len(wanted):
        raise ValueError(
            f"{which}={missing[:5]} can never be drawn: the candidates are the {len(candidates)} "
            "ids given to fit or seen in it"
        )
    return torch.searchsorted(candidates, wanted)


def draw_rows(probabilities: Tensor, rows: Tensor, generator: Generator) -> Tensor:
    """Draw one column of ``probabilities[row]`` for every row asked for, by inverting the sums.

    Parameters
    ----------
    probabilities : Tensor, shape (n, D)
        Not negative; rows need not sum to 1.
    rows : LongTensor, shape (B,)
        Rows, in any order and repeated.
    generator : Generator
        Source of randomness.

    Returns
    -------
    LongTensor, shape (B,)
    """
    sums = probabilities.double().cumsum(dim=1)
    draws = torch.rand(
        len(rows), generator=generator, device=sums.device, dtype=sums.dtype
    ).unsqueeze(1)
    picked = torch.searchsorted(sums[rows], draws * sums[rows, -1:], right=True)[:, 0]
    # Rounding can push a draw to the very end, past the last column that has weight.
    last = sums.shape[1] - 1 - (probabilities.flip(1) > 0).int().argmax(dim=1)
    return torch.minimum(picked, last[rows])


def draw_pairs(
    table: ScoreTable, count: int, condition: Condition, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Draw sources and destinations, independently given the state; ids of shape (count,).

    With a condition on the destinations, sources follow p(src | dst allowed), which needs the
    scores of all sources.
    """
    log_p = table.log_p_sources()
    if condition.sources is not None:
        allowed = torch.full_like(log_p, -torch.inf)
        allowed[condition.sources] = log_p[condition.sources]
        log_p = allowed
    if condition.destinations is not None:
        log_p_all = table.log_p_destinations(table.sources)[:, condition.destinations]
        log_p = log_p + log_p_all.logsumexp(dim=1)
    first = torch.zeros(count, dtype=torch.long, device=log_p.device)
    place = draw_rows(log_p.sub(log_p.max()).exp()[None], first, generator)
    rows, row = place.unique(return_inverse=True)
    log_p_dst = table.log_p_destinations(table.sources[rows])
    targets = table.destinations
    if condition.destinations is not None:
        log_p_dst, targets = log_p_dst[:, condition.destinations], targets[condition.destinations]
    highest = log_p_dst.max(dim=1, keepdim=True).values
    picked = draw_rows((log_p_dst - highest).exp(), row, generator)
    return table.sources[place], targets[picked]


def with_new_nodes(
    table: ScoreTable,
    num_new_nodes: int | tuple[int, int],
    bipartite: bool,
    make_network: Callable[[int], Network],
) -> ScoreTable:
    """Return scores of the same state over a larger table of nodes.

    Parameters
    ----------
    table : ScoreTable
        The state.
    num_new_nodes : int or (int, int)
        New sources and new destinations; a single number are ids that may be both, or only
        sources where the graph is bipartite.
    bipartite : bool
        Whether sources and destinations are different nodes.
    make_network : callable
        Makes a network for a number of nodes.

    Raises
    ------
    ValueError
        For negative numbers.
    """
    both = isinstance(num_new_nodes, int) and not bipartite
    counts = (num_new_nodes, 0) if isinstance(num_new_nodes, int) else num_new_nodes
    if min(counts) < 0:
        raise ValueError(f"{num_new_nodes=} must not be negative")
    if not any(counts):
        return table
    old = table.network.num_nodes
    network = make_network(old + sum(counts)).eval()
    network.load_state_dict(dict(table.network.named_parameters()), strict=False)
    network.tgn.restore(table.network.tgn.snapshot())
    new = torch.arange(old, old + sum(counts), device=table.z.device)
    sources = torch.cat([table.sources, new[: counts[0]]])
    destinations = torch.cat([table.destinations, new if both else new[counts[0] :]])
    return ScoreTable(network, sources, destinations)


@torch.no_grad()
def generate(
    table: ScoreTable,
    scaling: Scaling,
    num_events: int,
    *,
    clock: Clock,
    batch_size: int,
    seed: int,
    condition: Condition | None = None,
) -> dict[str, np.ndarray]:
    """Draw a stream; the state of the table moves on with it.

    Parameters
    ----------
    table : ScoreTable
        The state to go on from.
    scaling : Scaling
        Between the columns that the networks see and raw ones.
    num_events : int
        At most so many; fewer where the clock ends.
    clock : Clock
        Start, rounding and end of time.
    batch_size : int
        Events drawn from one state; 1 is exact, more lose the dependence within a batch (T2).
    seed : int
        Of all draws.
    condition : Condition, optional
        Ends that events may have.

    Returns
    -------
    dict
        src, dst (E,), t (E,), msg (E, F).
    """
    device, condition = table.z.device, condition or Condition()
    generator, rng = Generator(device).manual_seed(seed), np.random.default_rng(seed)
    parts: list[tuple[np.ndarray, ...]] = []
    t, done = clock.start, 0
    while done < num_events:
        count = min(batch_size, num_events - done)
        src, dst = draw_pairs(table, count, condition, generator)
        h0 = table.network.merge(table.z[src], table.z[dst])
        x = table.network.columns.sample(h0, generator)
        raw = scaling.raw(x.cpu().numpy())
        raw[:, 0] = clock.spans(raw[:, 0], rng)
        times = t + np.cumsum(raw[:, 0])
        inside = count if clock.end is None else int((times <= clock.end).sum())
        parts.append(
            tuple(a[:inside] for a in (src.cpu().numpy(), dst.cpu().numpy(), times, raw[:, 1:]))
        )
        done += inside
        if inside < count:
            break
        t = float(times[-1])
        x[:, 0] = torch.from_numpy((raw[:, 0] - scaling.shift[0]) / scaling.scale[0])
        if done < num_events:
            ticks = torch.from_numpy(clock.ticks(times)).to(device)
            table.advance(Batch(src, dst, ticks, x))
    src, dst, times, msg = (np.concatenate(column) for column in zip(*parts, strict=True))
    return {"src": src, "dst": dst, "t": times, "msg": msg}
