"""Wall-clock time and processor time."""

from __future__ import annotations

import time

from common.hardware.meters import process_tree
from common.hardware.meters.base import Meter
from common.hardware.probe import Probe


class WallClock(Meter):
    """Seconds between start and stop on the monotonic clock of highest resolution."""

    kind = "wall_clock"
    quantity = "wall_time"

    def probe(self) -> Probe:
        """Every machine has one."""
        resolution = time.get_clock_info("perf_counter").resolution
        return Probe(True, f"monotonic clock, resolution {resolution * 1e9:.0f} ns")

    def _begin(self) -> float:
        return time.perf_counter()

    def _end(self, begun: float) -> float:
        return time.perf_counter() - begun


class CpuTime(Meter):
    """User plus system seconds of this process, all its threads and its child processes."""

    kind = "cpu_time"
    quantity = "cpu_time"

    def probe(self) -> Probe:
        """Every POSIX machine keeps this account."""
        return Probe(True, "user + system seconds of the process and its children")

    # The children are looked up outside the span of the own clock: that search costs about a
    # millisecond, which is the meter's and not the region's.
    def _begin(self) -> float:
        children = process_tree.children_cpu_seconds()
        return children + time.process_time()

    def _end(self, begun: float) -> float:
        own = time.process_time()
        # the coarse clock of a living child may run ahead of the exact one kept after its death
        return max(0.0, own + process_tree.children_cpu_seconds() - begun)
