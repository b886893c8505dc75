"""Latency of several calls, taken in turn so that a busy moment of the machine hits all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

METER = "perf_counter"


def alternate(
    calls: Mapping[str, Callable[[], Any]], *, rounds: int, repeats: int, warm_up: int
) -> dict[str, np.ndarray]:
    """Time every call ``repeats`` times in a row, in each of so many rounds.

    Returns
    -------
    dict
        Milliseconds of shape (rounds, repeats) per call.

    Examples
    --------
    >>> alternate({"nothing": lambda: None}, rounds=2, repeats=3, warm_up=1)["nothing"].shape
    (2, 3)
    """
    for call in calls.values():
        for _ in range(warm_up):
            call()
    found = {name: np.empty((rounds, repeats)) for name in calls}
    for turn in range(rounds):
        for name, call in calls.items():
            for k in range(repeats):
                begin = time.perf_counter_ns()
                call()
                found[name][turn, k] = (time.perf_counter_ns() - begin) / 1e6
    return found


def quantiles(milliseconds: np.ndarray) -> list[dict[str, float]]:
    """Median and 95th percentile of every round."""
    medians, tails = np.percentile(milliseconds, [50, 95], axis=1)
    return [
        {"latency": float(median), "latency_p95": float(tail)}
        for median, tail in zip(medians, tails, strict=True)
    ]
