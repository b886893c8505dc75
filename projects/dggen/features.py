"""Do generated features follow the real ones? Distances of histograms (section 2.8)."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from common.graphs.distances import jensen_shannon
from common.graphs.events import EventStream

EDGES = 40


def single_distance(real: np.ndarray, generated: np.ndarray) -> float:
    """Jensen-Shannon distance (root, nats) of two columns, 39 bins over their joint range.

    Examples
    --------
    >>> single_distance(np.arange(9.0), np.arange(9.0))
    0.0
    """
    both = np.concatenate([real, generated])
    edges = _edges(both, EDGES - 1)
    return jensen_shannon(*(_share(np.histogram(x, edges)[0]) for x in (real, generated)))


def pair_distance(real: np.ndarray, generated: np.ndarray) -> float:
    """Jensen-Shannon distance of two pairs of columns, shape (E, 2), in 40 x 40 bins.

    The bins are those of the real data; generated values beyond them count in the outermost bins,
    so that nothing is lost.
    """
    edges = [_edges(real[:, side], EDGES) for side in range(2)]
    low, high = ([edge[end] for edge in edges] for end in (0, -1))
    counts = (
        np.histogram2d(*np.clip(values, low, high).T, bins=edges)[0].ravel()
        for values in (real, generated)
    )
    return jensen_shannon(*map(_share, counts))


def feature_distances(real: EventStream, generated: EventStream, origin: float) -> dict[str, float]:
    """Compare the columns [inter-event time, features] of two streams.

    Parameters
    ----------
    real, generated : EventStream
        Streams that both begin after ``origin``. If ``generated`` has no features, as those of
        generators that cannot make any, only the inter-event times are compared.
    origin : float
        Time that the first inter-event time counts from.

    Returns
    -------
    dict
        ``js_span`` of inter-event times; ``js_single`` and ``js_single_std``, mean and standard
        deviation over all columns, inter-event times among them; ``js_feature``, the mean over
        features alone; ``js_pair`` and ``js_pair_std`` over all pairs of columns. NaN where
        there are no such columns.
    """
    ours, theirs = columns(real, origin), columns(generated, origin)
    span = single_distance(ours[:, 0], theirs[:, 0])
    if theirs.shape[1] != ours.shape[1]:
        return {"js_span": span}
    single = [single_distance(a, b) for a, b in zip(ours.T, theirs.T, strict=True)]
    sides = [list(pair) for pair in combinations(range(ours.shape[1]), 2)]
    pairs = [pair_distance(ours[:, pair], theirs[:, pair]) for pair in sides]
    return {
        "js_span": span,
        "js_single": _mean(single),
        "js_single_std": float(np.std(single)),
        "js_feature": _mean(single[1:]),
        "js_pair": _mean(pairs),
        "js_pair_std": float(np.std(pairs)) if pairs else float("nan"),
    }


def columns(events: EventStream, origin: float) -> np.ndarray:
    """Return [inter-event time, features], shape (E, 1 + F)."""
    return np.column_stack([np.diff(events.t, prepend=origin), events.msg])


def histograms(
    real: EventStream, generated: EventStream, origin: float
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return, for every column, bin centres and the shares of real and generated values."""
    found = []
    for a, b in zip(columns(real, origin).T, columns(generated, origin).T, strict=True):
        edges = _edges(np.concatenate([a, b]), EDGES - 1)
        shares = (_share(np.histogram(x, edges)[0]) for x in (a, b))
        found.append(((edges[1:] + edges[:-1]) / 2, *shares))
    return found


def _edges(values: np.ndarray, bins: int) -> np.ndarray:
    low, high = values.min(), values.max()
    return np.linspace(low, high if high > low else low + 1.0, bins + 1)


def _share(counts: np.ndarray) -> np.ndarray:
    return counts / max(counts.sum(), 1)


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
