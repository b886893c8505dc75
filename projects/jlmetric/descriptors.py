"""The fourteen classical measures: distances between statistics of snapshots, nodes, features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.graphs.distances import binned, jensen_shannon, ks, kullback_leibler, mean_gap
from common.graphs.events import EventStream
from common.graphs.growth import Sampled, sampled_growth

TOPOLOGY = ("degree", "largest component", "components", "exponent")
CLASSICAL = (
    *(f"{name} {distance}" for name in TOPOLOGY for distance in ("KS", "MMD")),
    *("activity KS", "activity MMD"),
    *("features JS", "features KL", "features KS", "features MMD"),
)


@dataclass(frozen=True)
class Description:
    """What the classical measures see of a stream.

    Attributes
    ----------
    growth : Sampled
        Statistics of the cumulative graph at whole times.
    activity : ndarray, shape (largest id + 1,)
        Events of each node.
    msg : ndarray, shape (E, F)
        Features, in no order that counts.
    """

    growth: Sampled
    activity: np.ndarray
    msg: np.ndarray

    @classmethod
    def of(cls, events: EventStream) -> Description:
        """Describe a stream; events out of order are sorted by time."""
        order = np.argsort(events.t, kind="stable")
        src, dst = events.src[order], events.dst[order]
        activity = np.bincount(src, minlength=events.num_nodes)
        activity = activity + np.bincount(dst, minlength=events.num_nodes)
        return cls(sampled_growth(src, dst, events.t[order]), activity, events.msg)


def classical_distances(a: Description, b: Description) -> dict[str, float]:
    """All fourteen distances between two streams; 0 for features where there are none.

    Raises
    ------
    ValueError
        If the streams have different numbers of features.
    """
    if a.msg.shape[1] != b.msg.shape[1]:
        raise ValueError(f"{a.msg.shape[1]} features against {b.msg.shape[1]}")
    found = {}
    for column, name in enumerate(TOPOLOGY):
        first, second = a.growth.values[:, column], b.growth.values[:, column]
        weights = a.growth.weights, b.growth.weights
        found[f"{name} KS"] = ks(first, second, *weights)
        found[f"{name} MMD"] = mean_gap(first, second, *weights)
    found["activity KS"] = ks(a.activity, b.activity)
    found["activity MMD"] = mean_gap(a.activity, b.activity)
    columns = range(a.msg.shape[1])
    bins = [binned(a.msg[:, c], b.msg[:, c]) for c in columns]
    found["features JS"] = _mean([jensen_shannon(p, q) for p, q in bins])
    found["features KL"] = _mean([kullback_leibler(p, q) for p, q in bins])
    found["features KS"] = _mean([ks(a.msg[:, c], b.msg[:, c]) for c in columns])
    found["features MMD"] = mean_gap(a.msg, b.msg) if len(columns) else 0.0
    return found


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else 0.0
