"""A continuous-time dynamic graph: a stream of timestamped edges with features."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from torch_geometric.data import TemporalData


@dataclass(frozen=True, eq=False)
class EventStream:
    """Events e_i = (src_i, dst_i, t_i, msg_i) in the order of time.

    Use :meth:`of` to build one from what users have; it checks and converts.

    Attributes
    ----------
    src, dst : ndarray of int64, shape (E,)
        Node ids, not negative. Sources and destinations share one space of ids.
    t : ndarray of float64, shape (E,)
        Times, not decreasing.
    msg : ndarray of float64, shape (E, F)
        Edge features; F may be 0.
    name : str
        What it is called in results.
    columns : tuple of str
        Names of the features.
    """

    src: np.ndarray
    dst: np.ndarray
    t: np.ndarray
    msg: np.ndarray
    name: str = ""
    columns: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if not self.columns and self.msg.shape[1]:
            names = tuple(f"msg_{column}" for column in range(self.msg.shape[1]))
            object.__setattr__(self, "columns", names)

    def __len__(self) -> int:
        return len(self.src)

    def __getitem__(self, chosen: slice | np.ndarray) -> EventStream:
        """Return the events of a slice, a mask or an array of positions in rising order."""
        return replace(
            self,
            src=self.src[chosen],
            dst=self.dst[chosen],
            t=self.t[chosen],
            msg=self.msg[chosen],
        )

    @property
    def num_features(self) -> int:
        """F."""
        return self.msg.shape[1]

    @cached_property
    def num_nodes(self) -> int:
        """Largest id plus one, 0 for a stream without events."""
        return int(max(self.src.max(initial=-1), self.dst.max(initial=-1))) + 1

    @cached_property
    def nodes(self) -> np.ndarray:
        """The ids that occur, sorted."""
        return np.unique(np.concatenate([self.src, self.dst]))

    @cached_property
    def bipartite(self) -> bool:
        """Whether no node is both a source and a destination."""
        return not np.intersect1d(self.src, self.dst).size

    def split(self, *shares: float) -> list[EventStream]:
        """Cut the stream in time, for example ``split(0.7, 0.15)`` into 70, 15 and 15 %.

        Examples
        --------
        >>> stream = EventStream.of({"src": [0, 1], "dst": [1, 2], "t": [0, 1]})
        >>> [len(part) for part in stream.split(0.5)]
        [1, 1]
        """
        ends = [round(share * len(self)) for share in np.cumsum(shares)]
        return [self[begin:end] for begin, end in pairwise([0, *ends, len(self)])]

    def shifted(self, origin: float = 0.0) -> EventStream:
        """Return the same events with the first one at ``origin``."""
        return replace(self, t=self.t - self.t[0] + origin) if len(self) else self

    @classmethod
    def of(
        cls, data: Any, *, name: str = "", sort: bool = True, zero_features: bool = False
    ) -> EventStream:
        """Build a stream from whatever holds events.

        Parameters
        ----------
        data : EventStream, TemporalData, DataFrame, mapping, str or Path
            PyTorch Geometric's ``TemporalData``; a frame or mapping with ``src``, ``dst``, ``t``
            and ``msg_*`` (or ``msg``) columns; the path of a CSV file of that form.
        name : str
            Name of the stream.
        sort : bool
            Sort events that are out of order, stably and with a warning; else they are an error.
        zero_features : bool
            Read ``TemporalData`` whose ``msg`` is None as F = 0 instead of refusing it.

        Returns
        -------
        EventStream

        Raises
        ------
        TypeError
            For another kind of object, such as a static graph.
        ValueError
            For columns of different lengths, ids that are negative or no integers, features
            or times that are not finite, events out of order with ``sort=False``.

        Examples
        --------
        >>> EventStream.of({"src": [0, 0], "dst": [1, 2], "t": [5, 9]}).num_nodes
        3
        """
        if isinstance(data, EventStream):
            return data if not name else replace(data, name=name)
        if isinstance(data, str | Path):
            return cls.of(read_csv(Path(data)), name=name or Path(data).stem, sort=sort)
        src, dst, t, msg, columns = _fields(data, zero_features)
        _warn_lost_resolution(t)
        src, dst = _ids(src, "src"), _ids(dst, "dst")
        t, msg = np.asarray(t, dtype=np.float64), np.asarray(msg, dtype=np.float64)
        if msg.ndim != 2:
            raise ValueError(
                f"msg has {msg.ndim} dimension(s), shape {msg.shape}; it must be (events, features)"
                ": use msg.reshape(-1, 1) for one feature"
            )
        lengths = {"src": len(src), "dst": len(dst), "t": len(t), "msg": len(msg)}
        if len(set(lengths.values())) > 1 or t.ndim != 1:
            raise ValueError(f"src, dst, t and msg must have one entry per event, got {lengths}")
        _finite(t, "t")
        _finite(msg, "msg")
        if (np.diff(t) < 0).any():
            first = int(np.flatnonzero(np.diff(t) < 0)[0]) + 1
            if not sort:
                raise ValueError(f"times go back at event {first}: {t[first - 1]} -> {t[first]}")
            warnings.warn(f"times go back at event {first}; sorted by time", stacklevel=2)
            order = np.argsort(t, kind="stable")
            src, dst, t, msg = src[order], dst[order], t[order], msg[order]
        return cls(src, dst, t, msg, name=name, columns=columns)

    def to_temporal_data(self) -> TemporalData:
        """Return PyTorch Geometric's form; times become int64 when they are whole numbers."""
        import torch
        from torch_geometric.data import TemporalData

        whole = bool((self.t == np.floor(self.t)).all())
        return TemporalData(
            src=torch.from_numpy(self.src.copy()),
            dst=torch.from_numpy(self.dst.copy()),
            t=torch.from_numpy(self.t.astype(np.int64) if whole else self.t.copy()),
            msg=torch.from_numpy(self.msg.astype(np.float32)),
        )

    def to_frame(self) -> pd.DataFrame:
        """Return a frame with columns ``src``, ``dst``, ``t`` and the features'."""
        import pandas as pd

        frame = pd.DataFrame({"src": self.src, "dst": self.dst, "t": self.t})
        for place, column in enumerate(self.columns):
            frame[column if column.startswith("msg") else f"msg_{column}"] = self.msg[:, place]
        return frame


def read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV file of events, with a header line that names src, dst, t and msg columns.

    Raises
    ------
    ValueError
        If the file is no CSV file or lacks a column; names what it has.
    """
    import pandas as pd

    try:
        frame = pd.read_csv(path)
    except (ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} is not a CSV file with a header line: {error}") from error
    missing = [column for column in ("src", "dst", "t") if column not in frame.columns]
    if missing:
        raise ValueError(
            f"{path.name} has no column {', '.join(missing)}; it has {list(frame.columns)[:8]}, "
            "and needs src, dst, t and, for features, msg_*"
        )
    return frame


def _fields(data: Any, zero_features: bool) -> tuple[Any, Any, Any, Any, tuple[str, ...]]:
    """Take src, dst, t, msg and the names of the features out of a frame, mapping or object."""
    if hasattr(data, "columns") or isinstance(data, dict):
        names = tuple(str(name) for name in (data.columns if hasattr(data, "columns") else data))
        if missing := [column for column in ("src", "dst", "t") if column not in names]:
            raise ValueError(f"no column {', '.join(missing)} among {list(names)[:8]}")
        columns = tuple(name for name in names if name.startswith("msg_"))
        if "msg" in names:
            return data["src"], data["dst"], data["t"], data["msg"], ()
        msg = np.empty((len(data["src"]), len(columns)))
        for place, column in enumerate(columns):
            msg[:, place] = data[column]
        return data["src"], data["dst"], data["t"], msg, columns
    if not all(hasattr(data, attribute) for attribute in ("src", "dst", "t")):
        raise TypeError(
            f"{type(data).__name__} holds no stream of events; pass a "
            "torch_geometric.data.TemporalData(src, dst, t, msg), a frame with columns src, dst, "
            "t, msg_*, or a CSV file. A static graph has no times: give every edge one first"
        )
    msg = getattr(data, "msg", None)
    if msg is None and not zero_features:
        raise ValueError(
            "msg is None; pass zero_features=True to read the stream as one without features"
        )
    src, dst, t = (_numpy(getattr(data, attribute)) for attribute in ("src", "dst", "t"))
    return src, dst, t, np.empty((len(src), 0)) if msg is None else _numpy(msg), ()


def _numpy(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)


def _ids(values: Any, which: str) -> np.ndarray:
    ids = np.asarray(values)
    if ids.size and not np.issubdtype(ids.dtype, np.number):
        raise ValueError(f"{which} must hold integers, got {ids.dtype}")
    whole = ids.astype(np.int64)
    if ids.ndim != 1 or (whole != ids).any():
        raise ValueError(f"{which} must be one column of integers, got {ids.dtype} {ids.shape}")
    if (whole < 0).any():
        first = int(np.flatnonzero(whole < 0)[0])
        raise ValueError(f"{which} holds a negative node id, {whole[first]} at event {first}")
    return whole


def _finite(values: np.ndarray, which: str) -> None:
    bad = ~np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
    if bad.any():
        raise ValueError(
            f"{which} is not finite in {int(bad.sum())} events, first at {int(np.argmax(bad))}"
        )


def _warn_lost_resolution(t: Any) -> None:
    """Float32 cannot tell apart unix seconds that are less than 128 s apart."""
    dtype = str(getattr(t, "dtype", ""))
    if dtype.endswith("float32") and len(t) and float(np.max(np.abs(_numpy(t)))) >= 2**24:
        warnings.warn(
            "times are float32 and above 2**24: seconds are lost; convert to int64 or float64 "
            "before the data becomes float32",
            stacklevel=3,
        )
