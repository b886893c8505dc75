"""Which cores the process may use, and how many threads its numeric libraries start."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from common.errors import ConfigError
from common.hardware.actuators.base import Actuator, Range
from common.hardware.probe import Probe, Unavailable

_THREADS = Path("/proc/self/task")


class CpuAffinity(Actuator):
    """The set of cores on which all threads of this process may run.

    Threads and processes started within the block inherit the set; of those, threads get the
    old set back at the end, processes keep theirs.

    ``set`` takes a number of cores (the first so many) or the core numbers themselves.
    """

    name = "cpu_affinity"

    def __init__(self) -> None:
        affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
        self._cores = tuple(sorted(affinity))

    def probe(self) -> Probe:
        """Linux lets every process choose among the cores it was given."""
        if not self._cores:
            return Probe(False, "this system cannot bind a process to cores", "run on Linux")
        return Probe(True, f"cores {', '.join(map(str, self._cores))}")

    @property
    def range(self) -> Range:
        """Core numbers that may be combined."""
        return Range(choices=self._cores, unit="core")

    def check(self, value: int | Iterable[int]) -> frozenset[int]:
        """Turn a count or core numbers into a set of cores."""
        if isinstance(value, int) and not isinstance(value, bool):
            if not 1 <= value <= len(self._cores):
                raise ConfigError(
                    f"{self.name}: {value} cores; allowed: 1 to {len(self._cores)}, or a "
                    f"collection of core numbers out of {self.range}"
                )
            return frozenset(self._cores[:value])
        cores = frozenset(value) if isinstance(value, Iterable) else frozenset()
        if not cores or not cores <= set(self._cores):
            raise ConfigError(
                f"{self.name}: {value!r}; allowed: a number of cores, or some of {self.range}"
            )
        return cores

    def read(self) -> set[int]:
        """Cores on which the calling thread may run."""
        return os.sched_getaffinity(0)

    def _snapshot(self) -> dict[int, set[int]]:
        return {thread: os.sched_getaffinity(thread) for thread in _threads()}

    def _apply(self, value: frozenset[int]) -> None:
        for thread in _threads():
            _bind(thread, value)

    def _restore(self, before: dict[int, set[int]]) -> None:
        inherited = before[os.getpid()]  # the main thread's id is the process'
        for thread in _threads():
            _bind(thread, before.get(thread, inherited))


class ThreadCount(Actuator):
    """Threads of the BLAS and OpenMP pools that are loaded in this process."""

    name = "thread_count"

    def probe(self) -> Probe:
        """Whether threadpoolctl is installed, and what it would limit."""
        if importlib.util.find_spec("threadpoolctl") is None:
            return Probe(False, "threadpoolctl is not installed", "pip install threadpoolctl")
        pools = sorted({pool.internal_api for pool in _pools()})
        loaded = ", ".join(pools) or "none loaded yet (import numpy or torch first)"
        return Probe(True, f"thread pools of this process: {loaded}")

    @property
    def range(self) -> Range:
        """One thread up to one per hardware thread."""
        return Range(1, os.cpu_count() or 1, "threads")

    def check(self, value: int) -> int:
        """Accept whole numbers only."""
        if not isinstance(value, int):
            raise ConfigError(f"{self.name}: {value!r} is no whole number; allowed: {self.range}")
        return super().check(value)

    def read(self) -> int:
        """Threads of the largest loaded pool."""
        return max((pool.num_threads for pool in _pools()), default=1)

    def _snapshot(self) -> list[tuple[Any, int]]:
        pools = _pools()
        if not pools:
            raise Unavailable(
                f"actuator {self.name!r}: no BLAS or OpenMP pool is loaded in this process, there "
                "is nothing to limit; import numpy or torch first"
            )
        return [(pool, pool.num_threads) for pool in pools]

    def _apply(self, value: int) -> None:
        for pool in _pools():
            pool.set_num_threads(value)

    def _restore(self, before: list[tuple[Any, int]]) -> None:
        for pool, threads in before:
            pool.set_num_threads(threads)


def _threads() -> list[int]:
    return [int(entry.name) for entry in _THREADS.iterdir()]


def _bind(thread: int, cores: Iterable[int]) -> None:
    with suppress(ProcessLookupError):  # the thread ended meanwhile
        os.sched_setaffinity(thread, cores)


def _pools() -> list[Any]:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().lib_controllers
