"""How much of a generated stream was copied from the training stream: a privacy check."""

from __future__ import annotations

from typing import Any

import numpy as np

from common.graphs.events import EventStream


def copy_report(train: Any, generated: Any, *, decimals: int = 6) -> dict[str, float]:
    """Compare generated events with those of training.

    Parameters
    ----------
    train, generated : EventStream or what :meth:`EventStream.of` takes
        Streams with the same features.
    decimals : int
        Features are equal if they agree to so many decimals.

    Returns
    -------
    dict
        ``copied_pairs``: share of generated events whose (src, dst) occurs in training;
        ``copied_pairs_train``: the same share of training events whose pair occurred before
        them, the rate at which the data repeat themselves; ``copied_events``: share of generated
        events whose (src, dst, msg) occurs in training; ``copied_exactly``: (src, dst, msg) and t;
        ``nearest_time``: median over copied events of the distance in time to the nearest
        training event with the same (src, dst, msg), NaN if none was copied.

    Raises
    ------
    ValueError
        If the streams have different numbers of features, or one is empty.

    Notes
    -----
    A stream in which pairs repeat by nature must be expected to repeat training pairs: compare
    ``copied_pairs`` with ``copied_pairs_train``. Copies of continuous features, or copies in
    time, are what a model should not make. Times are compared as they are; a stream generated
    from an empty state starts at 0.

    Examples
    --------
    >>> train = EventStream.of({"src": [0, 1], "dst": [2, 3], "t": [0, 10]})
    >>> new = EventStream.of({"src": [0, 0], "dst": [2, 3], "t": [4, 10]})
    >>> report = copy_report(train, new)
    >>> report["copied_pairs"], report["copied_exactly"], report["nearest_time"]
    (0.5, 0.0, 4.0)
    """
    train, generated = EventStream.of(train), EventStream.of(generated)
    if train.num_features != generated.num_features:
        raise ValueError(
            f"training events have {train.num_features} features, generated ones "
            f"{generated.num_features}; compare streams of one kind"
        )
    if not len(train) or not len(generated):
        raise ValueError(f"no events to compare: {len(train)} and {len(generated)}")
    pairs, new_pairs = _codes(train, generated, features=False, decimals=decimals)
    events, new_events = _codes(train, generated, features=True, decimals=decimals)
    distance = _nearest(events, train.t, new_events, generated.t)
    copied = np.isfinite(distance)
    _, first = np.unique(pairs, return_index=True)
    return {
        "copied_pairs": float(np.isin(new_pairs, pairs).mean()),
        "copied_pairs_train": 1.0 - len(first) / len(pairs),
        "copied_events": float(copied.mean()),
        "copied_exactly": float((distance == 0).mean()),
        "nearest_time": float(np.median(distance[copied])) if copied.any() else float("nan"),
    }


def _codes(
    one: EventStream, two: EventStream, *, features: bool, decimals: int
) -> tuple[np.ndarray, np.ndarray]:
    """Number equal rows of (src, dst[, msg]) alike over both streams."""
    rows = [
        np.column_stack([s.src, s.dst, *([s.msg.round(decimals)] if features else [])])
        for s in (one, two)
    ]
    _, codes = np.unique(np.concatenate(rows), axis=0, return_inverse=True)
    codes = codes.reshape(-1)
    return codes[: len(one)], codes[len(one) :]


def _nearest(codes: np.ndarray, t: np.ndarray, asked: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Distance in time to the nearest event with the same code; infinite without one."""
    order = np.lexsort((t, codes))
    codes, t = codes[order], t[order]
    distance = np.full(len(asked), np.inf)
    begin, end = np.searchsorted(codes, asked, "left"), np.searchsorted(codes, asked, "right")
    for place in np.flatnonzero(end > begin):
        times = t[begin[place] : end[place]]
        after = np.searchsorted(times, at[place])
        near = times[max(after - 1, 0) : after + 1]
        distance[place] = np.abs(near - at[place]).min()
    return distance
