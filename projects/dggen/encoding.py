"""Streams of events as the tensors that the networks see, checked on the way."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from common.graphs.events import EventStream
from projects.dggen.columns import TINY
from projects.dggen.config import DGGenConfig

STD_FLOOR = 1e-3


@dataclass(frozen=True)
class Scaling:
    """Affine maps between raw columns [dt, msg] and those that the networks see, and the floors.

    Attributes
    ----------
    shift, scale : ndarray, shape (1 + F,)
        ``seen = (raw - shift) / scale``.
    floors : tuple of float
        Smallest standard deviation per column: 1e-3 raw where a continuous column is constant,
        whose likelihood would grow without bound.
    limit : float
        Longest span that is ever sampled, as seen: ten times the longest of training.
    """

    shift: np.ndarray
    scale: np.ndarray
    floors: tuple[float, ...]
    limit: float = np.inf

    @classmethod
    def fit(cls, columns: np.ndarray, laws: tuple[int | str, ...], standardise: bool) -> Scaling:
        """Measure training columns, shape (E, 1 + F); warn of constant ones."""
        shift, scale = np.zeros(len(laws)), np.ones(len(laws))
        floors = [TINY] * len(laws)
        for place, law in enumerate(laws):
            values = columns[:, place]
            if isinstance(law, int):
                continue
            if place and np.ptp(values) == 0:
                warnings.warn(
                    f"feature column {place - 1} is constant ({values[0]:g}); the standard "
                    f"deviation of its law is kept above {STD_FLOOR:g}, else its likelihood would "
                    "grow without bound",
                    stacklevel=5,
                )
                floors[place] = STD_FLOOR
                shift[place] = values[0] if standardise and law != "exponential" else 0.0
            elif standardise and law in ("exponential", "lognormal"):
                scale[place] = values.mean() or 1.0
            elif standardise:
                shift[place], scale[place] = values.mean(), values.std()
        longest = float(columns[:, 0].max()) or 1.0
        return cls(shift, scale, tuple(floors), 10 * longest / float(scale[0]))

    def seen(self, columns: np.ndarray) -> np.ndarray:
        """Return what the networks see, float32."""
        return ((columns - self.shift) / self.scale).astype(np.float32)

    def raw(self, seen: np.ndarray) -> np.ndarray:
        """Invert :meth:`seen`."""
        return seen.astype(np.float64) * self.scale + self.shift


@dataclass(frozen=True)
class Batch:
    """Events as tensors: src, dst, ticks (B,) of int64 and the seen columns x (B, 1 + F)."""

    src: Tensor
    dst: Tensor
    ticks: Tensor
    x: Tensor

    def __len__(self) -> int:
        return len(self.src)

    def __getitem__(self, part: slice) -> Batch:
        return Batch(self.src[part], self.dst[part], self.ticks[part], self.x[part])

    def split(self, size: int) -> list[Batch]:
        """Cut into consecutive batches."""
        return [self[begin : begin + size] for begin in range(0, len(self), size)]


class Past(NamedTuple):
    """Times of the first and the last event of a stream that goes on."""

    origin: float
    last: float

    @staticmethod
    def after(past: Past | None, events: EventStream) -> Past | None:
        """Return the past once ``events`` have happened too."""
        if not len(events):
            return past
        return Past(past.origin if past else float(events.t[0]), float(events.t[-1]))


def raw_columns(events: EventStream, last_t: float | None) -> np.ndarray:
    """Return [dt, msg], shape (E, 1 + F); the first dt counts from ``last_t``, or is 0.

    Raises
    ------
    ValueError
        If the first event comes before ``last_t``.
    """
    if last_t is not None and len(events) and events.t[0] < last_t:
        raise ValueError(
            f"the first event is at t={events.t[0]:g}, before the last one of the history, "
            f"t={last_t:g}; the model only goes on in time (start='empty' forgets the history)"
        )
    first = events.t[:1] if last_t is None else [last_t]
    return np.column_stack([np.diff(events.t, prepend=first), events.msg])


@dataclass(frozen=True)
class Encoding:
    """What turns events into a :class:`Batch`, fixed by the training data.

    Attributes
    ----------
    laws : tuple
        Law of every column of [dt, msg].
    names : tuple of str
        Names of the features.
    scaling : Scaling
        Between raw columns and those that the networks see.
    resolution : float
        Length of a tick of the memory's clock; tick 0 is the first event of a stream.
    num_nodes : int
        Size of the table of nodes.
    """

    laws: tuple[int | str, ...]
    names: tuple[str, ...]
    scaling: Scaling
    resolution: float
    num_nodes: int

    @classmethod
    def fit(cls, events: EventStream, num_nodes: int, config: DGGenConfig) -> Encoding:
        """Measure the training events."""
        laws = config.laws(events.num_features)
        check_levels(events, laws)
        scaling = Scaling.fit(raw_columns(events, None), laws, config.standardise)
        return cls(laws, events.columns, scaling, config.resolution, num_nodes)

    def batch(self, events: EventStream, past: Past | None, device: str) -> Batch:
        """Return events that follow a past, or begin a stream, as tensors.

        Raises
        ------
        ValueError
            For another number of features, values that a column's law does not allow, ids without
            room in the table, events before the last one of the past.
        """
        if events.num_features != len(self.laws) - 1:
            raise ValueError(
                f"the events have {events.num_features} features, but the model was fitted with "
                f"{len(self.laws) - 1}"
            )
        if events.num_nodes > self.num_nodes:
            raise ValueError(
                f"the events hold node id {events.num_nodes - 1}, but the model has a table of "
                f"{self.num_nodes} nodes; fit with num_nodes={events.num_nodes} or more"
            )
        check_levels(events, self.laws)
        elapsed = (events.t - (past.origin if past else events.t[:1])) / self.resolution
        ticks = np.round(elapsed).astype(np.int64)
        if not np.allclose(elapsed, ticks, rtol=0, atol=1e-3):
            warnings.warn(
                f"times are no whole multiples of resolution={self.resolution:g}; the memory's "
                "clock rounds them, the densities of spans do not",
                stacklevel=4,
            )
        x = self.scaling.seen(raw_columns(events, past.last if past else None))
        arrays = events.src, events.dst, ticks, x
        return Batch(*(torch.from_numpy(np.array(array)).to(device) for array in arrays))


def check_levels(events: EventStream, laws: tuple[int | str, ...]) -> None:
    """Refuse values outside the support of a column's law.

    Raises
    ------
    ValueError
        Naming the column, the value, the event and what is allowed.
    """
    for place, law in enumerate(laws[1:]):
        values = events.msg[:, place]
        if isinstance(law, int):
            bad = (values != np.floor(values)) | (values < 0) | (values >= law)
        else:
            bad = (values < 0) & (law == "exponential")
        if bad.any():
            allowed = f"levels 0 to {law - 1}" if isinstance(law, int) else "values from 0 on"
            raise ValueError(
                f"column {place} ({events.columns[place]}) holds {values[bad][0]:g} at event "
                f"{int(np.argmax(bad))}; its law {law!r} allows {allowed}"
            )
