"""The hot path beside its peers."""

from __future__ import annotations

from functools import partial

import numpy as np

from common.bench import Benchmark
from projects.watchhar.method import method


def benchmarks() -> list[Benchmark]:
    """Time the method beside a peer that does the same work."""
    x = np.ones(1000)
    peer = partial(np.copy, x)
    return [Benchmark("method", partial(method, x), peer, "numpy copy", {"n": 1000})]
