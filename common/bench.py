"""Our implementation beside a peer: same process, alternated, ratio of medians."""

from __future__ import annotations

import contextlib
import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from common.papers import load_paper, load_target


@dataclass(frozen=True)
class Benchmark:
    """One hot path and a peer that does the same work.

    Attributes
    ----------
    name : str
        What is timed.
    ours, peer : callable
        Called without arguments; only the call is timed.
    peer_name : str
        Library and function of the peer.
    sizes : dict
        Problem size, such as ``{"tasks": 1000, "features": 15}``.
    agreement : callable, optional
        Maps the results of ours and the peer's to named numbers that show that both did the
        same work, such as ``{"F1 ours": 0.91, "F1 peer": 0.91}``.
    """

    name: str
    ours: Callable[[], Any]
    peer: Callable[[], Any]
    peer_name: str
    sizes: dict[str, Any]
    agreement: Callable[[Any, Any], dict[str, float]] | None = None


@dataclass(frozen=True)
class Timing:
    """Result of one benchmark; seconds are medians over the repeats."""

    name: str
    peer_name: str
    ours_seconds: float
    peer_seconds: float
    ratio: float
    repeats: int
    sizes: dict[str, Any]
    ours_range: tuple[float, float]
    peer_range: tuple[float, float]
    agreement: dict[str, float] = field(default_factory=dict)


def time_pair(benchmark: Benchmark, repeats: int = 7) -> Timing:
    """Time ours and the peer in turn, so that a busy moment of the machine hits both.

    Each is called once beforehand, so that compilation and caches are not timed.
    """
    results = benchmark.ours(), benchmark.peer()
    agreed = benchmark.agreement(*results) if benchmark.agreement else {}
    ours: list[float] = []
    peer: list[float] = []
    with _settled():
        for _ in range(repeats):
            ours.append(_seconds(benchmark.ours))
            peer.append(_seconds(benchmark.peer))
    return Timing(
        name=benchmark.name,
        peer_name=benchmark.peer_name,
        ours_seconds=statistics.median(ours),
        peer_seconds=statistics.median(peer),
        ratio=statistics.median(peer) / statistics.median(ours),
        repeats=repeats,
        sizes=benchmark.sizes,
        ours_range=(min(ours), max(ours)),
        peer_range=(min(peer), max(peer)),
        agreement={name: float(value) for name, value in agreed.items()},
    )


def run_benchmarks(slug: str, repeats: int = 7, threads: int = 1) -> list[dict[str, Any]]:
    """Run ``projects.<slug>.bench:benchmarks()`` with a fixed number of threads."""
    from threadpoolctl import threadpool_limits

    load_paper(slug)
    benchmarks: Sequence[Benchmark] = load_target(f"projects.{slug}.bench:benchmarks")()
    with threadpool_limits(threads):
        return [asdict(time_pair(benchmark, repeats)) for benchmark in benchmarks]


@contextlib.contextmanager
def _settled() -> Iterator[None]:
    """What is in memory already is left out of the collections between calls, which it delays."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _seconds(call: Callable[[], Any]) -> float:
    gc.collect()
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin
