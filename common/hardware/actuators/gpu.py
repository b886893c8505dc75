"""Power limit of an NVIDIA GPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from common.hardware import nvml
from common.hardware.actuators.base import Actuator, Range
from common.hardware.probe import Probe, Unavailable


class GpuPowerLimit(Actuator):
    """Board power limit of one GPU (W), through NVML. It binds everyone who uses that GPU.

    Parameters
    ----------
    index : int
        NVML's number of the GPU (not CUDA's: CUDA_VISIBLE_DEVICES does not renumber it).
    """

    name = "gpu_power_limit"

    def __init__(self, index: int = 0) -> None:
        self.index = index

    def probe(self) -> Probe:
        """Whether NVML sees the GPU, it has a limit, and this process may change it."""
        seen = nvml.probe()
        if not seen:
            return seen
        try:
            allowed = self.range
        except Unavailable as error:
            return Probe(False, str(error), "a GPU with adjustable power limit (not a MIG slice)")
        if os.geteuid() != 0:
            return Probe(False, f"GPU {self.index} takes {allowed}, from root only", "run as root")
        return Probe(True, f"GPU {self.index}, {allowed}")

    @property
    def range(self) -> Range:
        """Limits that the board accepts."""
        with self._gpu() as (library, handle):
            low, high = library.nvmlDeviceGetPowerManagementLimitConstraints(handle)
        return Range(low / 1e3, high / 1e3, "W")

    def read(self) -> float:
        """Limit in force (W)."""
        return self._snapshot() / 1e3

    def _snapshot(self) -> int:
        with self._gpu() as (library, handle):
            return library.nvmlDeviceGetPowerManagementLimit(handle)

    def _apply(self, value: float) -> None:
        self._restore(round(value * 1e3))

    def _restore(self, before: int) -> None:
        with self._gpu() as (library, handle):
            library.nvmlDeviceSetPowerManagementLimit(handle, before)

    @contextmanager
    def _gpu(self) -> Iterator[tuple[ModuleType, Any]]:
        with nvml.session() as library:
            try:
                yield library, library.nvmlDeviceGetHandleByIndex(self.index)
            except library.NVMLError as error:
                raise Unavailable(f"GPU {self.index}: NVML refuses ({error})") from error
