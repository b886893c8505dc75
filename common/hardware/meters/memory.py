"""Peak resident memory of a region, process and children together."""

from __future__ import annotations

import itertools
import os
import threading
import time
from functools import cached_property
from pathlib import Path

import psutil

from common.hardware.meters import process_tree
from common.hardware.meters.base import Meter
from common.hardware.probe import Probe

PERIOD_S = 0.02
"""Time between two looks at the process tree."""

MAX_SHARE = 0.02
"""Largest share of one core that looking may cost; a slow look is followed by a longer pause."""

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): writing 5 sets the peak resident set size back to the current one


class PeakMemory(Meter):
    """Largest resident set (MiB) of the process and its children within the region.

    Where Linux lets the process reset its own high-water mark (VmHWM), the kernel supplies the
    peak of this process exactly, however short it was, and only the children are sampled; else
    both are sampled, and a spike between two samples goes unseen. Either way the states at start
    and stop count, so a region shorter than the period still has a true value. The value is
    absolute, not a rise; pages shared between processes count once in each.
    """

    kind = "peak_memory"
    quantity = "peak_memory"

    def __init__(self) -> None:
        super().__init__()
        how = "VmHWM, children" if _tracker.exact else "process and children"
        self.name = f"{self.kind} ({how} sampled every {PERIOD_S * 1e3:.0f} ms at best)"

    def probe(self) -> Probe:
        """It works everywhere; the reason says how exactly."""
        if _tracker.exact:
            return Probe(True, "the kernel's own peak of this process, children sampled")
        return Probe(
            True,
            "resident memory sampled; the kernel does not let this process reset its peak",
            "Linux with a writable /proc/self/clear_refs gives exact peaks",
        )

    def _begin(self) -> int:
        return _tracker.open()

    def _end(self, begun: int) -> float:
        return _tracker.close(begun) / 2**20


class _Tracker:
    """The one sampler and the one high-water mark that all open regions of a process share.

    Resetting the mark for an inner region would rob the outer ones of their peak, so the mark
    is credited to every open region before each reset.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._peaks: dict[int, int] = {}
        self._keys = itertools.count()
        self._stop: threading.Event | None = None

    @cached_property
    def exact(self) -> bool:
        """Whether the kernel lets this process reset its mark; found out by trying."""
        return self._reset_mark()

    def open(self) -> int:
        """Begin a region; return its key."""
        now = process_tree.resident_bytes(_resident())
        with self._lock:
            self._credit()
            if self.exact:
                self._reset_mark()
            key = next(self._keys)
            self._peaks[key] = now
            if self._stop is None:
                self._stop = threading.Event()
                name = "peak-memory-sampler"
                threading.Thread(
                    target=self._sample, args=(self._stop,), name=name, daemon=True
                ).start()
        return key

    def close(self, key: int) -> int:
        """End a region; return its peak in bytes."""
        tree = process_tree.resident_bytes(_resident())
        with self._lock:
            self._credit(tree)
            # a child forked within the region knows nothing of what went before it
            peak = self._peaks.pop(key, tree)
            if not self._peaks and self._stop is not None:
                self._stop.set()
                self._stop = None
        return peak

    def _credit(self, seen: int = 0) -> None:
        level = max(seen, _high_water_mark() if self.exact else _resident())
        for key, peak in self._peaks.items():
            self._peaks[key] = max(peak, level)

    def _sample(self, stop: threading.Event) -> None:
        pause = PERIOD_S
        while not stop.wait(pause):
            began = time.thread_time()  # not wall time: waiting for a core costs nothing
            try:
                tree = process_tree.resident_bytes(_resident())
            except psutil.Error:
                continue
            with self._lock:
                self._credit(tree)
            pause = max(PERIOD_S, (time.thread_time() - began) / MAX_SHARE)

    @staticmethod
    def _reset_mark() -> bool:
        try:
            _CLEAR_REFS.write_text(_RESET_PEAK)
            return _high_water_mark() > 0
        except (OSError, ValueError):
            return False


def _resident() -> int:
    return psutil.Process(os.getpid()).memory_info().rss


def _high_water_mark() -> int:
    """Peak resident bytes since the last reset; 0 where the kernel does not tell."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _renew() -> None:
    global _tracker
    _tracker = _Tracker()


_tracker = _Tracker()
os.register_at_fork(after_in_child=_renew)
