"""Latency of an exported file on one thread of this host: a reference, not a watch."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from common.errors import ConfigError, known
from common.hardware.targets.wearable.export import RUNNERS

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = {"onnx": "ONNX Runtime", "executorch": "ExecuTorch"}


class Latency(NamedTuple):
    """Percentiles of the seconds of single inferences, how many, and what measured them."""

    p50: float
    p95: float
    runs: int
    meter: str


def time_export(
    path: Path | str,
    inputs: Sequence[np.ndarray],
    *,
    format: str = "onnx",
    warmup: int = 200,
    runs: int = 2000,
) -> Latency:
    """Time inferences of an exported file on one pinned thread.

    Parameters
    ----------
    path : Path or str
        The file.
    inputs : sequence of ndarray
        One input of the network.
    format : {"onnx", "executorch"}
        What runs it.
    warmup, runs : int
        Inferences before the clock, and timed.
    """
    known(format, RUNNERS, "format")
    with one_core() as core:
        run = RUNNERS[format](Path(path))
        return time_calls(
            lambda: run(inputs), warmup, runs, f"wall clock, {NAMES[format]}, 1 thread{core}"
        )


def time_calls(call: Callable[[], object], warmup: int, runs: int, meter: str) -> Latency:
    """Percentiles over single calls."""
    if warmup < 0 or runs < 1:
        raise ConfigError(f"warmup={warmup}, runs={runs}: at least one call has to be timed")
    for _ in range(warmup):
        call()
    seconds = np.empty(runs)
    for n in range(runs):
        begin = time.perf_counter()
        call()
        seconds[n] = time.perf_counter() - begin
    return Latency(*np.percentile(seconds, [50, 95]).tolist(), runs, meter)


@contextlib.contextmanager
def one_core() -> Iterator[str]:
    """Pin this thread, and those it starts, to its last core; yields ``", pinned"`` if it could."""
    if not hasattr(os, "sched_getaffinity"):
        yield ""
        return
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {max(before)})
    except OSError:
        yield ""
        return
    try:
        yield ", pinned"
    finally:
        os.sched_setaffinity(0, before)
