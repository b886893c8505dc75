"""Time on the GPU's own clock."""

from __future__ import annotations

from typing import Any

from common.hardware.meters.base import Meter
from common.hardware.probe import Probe
from common.hardware.targets import gpu


class CudaEventTimer(Meter):
    """Seconds between two CUDA events on the current stream of the current device.

    The device is idle when the region opens and finished when it closes, so queued work of
    neither side is counted.
    """

    kind = "cuda_event"
    quantity = "wall_time"

    def probe(self) -> Probe:
        """It works where the ``gpu`` target does."""
        return gpu.probe()

    def _begin(self) -> Any:
        import torch

        torch.cuda.synchronize()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _end(self, begun: Any) -> float:
        import torch

        event = torch.cuda.Event(enable_timing=True)
        event.record()
        torch.cuda.synchronize()
        return begun.elapsed_time(event) / 1e3
