"""Energy: counters of CPU packages and GPUs through Zeus, and a model that says it is one."""

from __future__ import annotations

import importlib.util
import itertools
import logging
import math
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from common.errors import ConfigError
from common.hardware import machine, nvml, rapl
from common.hardware.meters import process_tree
from common.hardware.meters.base import Measurement, Meter
from common.hardware.meters.clocks import CpuTime, WallClock
from common.hardware.probe import HW_EXTRA, Probe

BUSY_WATTS = 3.5
"""Assumed power of one busy hardware thread with its share of the server (W).

Average over the processors of a large cloud provider, derived from SPECpower_ssj2008 results by
the Cloud Carbon Footprint methodology; single processor families range from 1.6 to 6.0 W.
"""

IDLE_WATTS = 0.74
"""Assumed power of one idle hardware thread (W), same source; families range from 0.4 to 1.9 W."""

_windows = itertools.count()


class RaplEnergy(Meter):
    """Joules of all CPU packages, from the RAPL counters (memory excluded).

    Everything that runs on the packages counts, not this process alone. Zeus follows counters
    that wrap around from a helper process; start measuring under ``if __name__ == "__main__":``
    in a script of your own.

    Parameters
    ----------
    root : path
        Where sysfs is mounted; the probe looks there.
    """

    kind = "rapl_energy"
    quantity = "energy"

    def __init__(self, root: Path | str = "/sys") -> None:
        super().__init__()
        self.name = "rapl_energy (CPU packages, Zeus)"
        self._root = root

    def probe(self) -> Probe:
        """Zeus says nothing where it has no counter, so the files themselves are looked at."""
        return _with_zeus(rapl.probe(self._root))

    def _begin(self) -> str:
        return _open_window(_monitor("cpu"))

    def _end(self, begun: str) -> float:
        energy = _monitor("cpu").end_window(begun, sync_execution=False).cpu_energy
        if energy is None:
            raise RuntimeError("Zeus returned no CPU energy although RAPL counters are readable")
        return float(sum(energy.values()))


class NvmlEnergy(Meter):
    """Joules of all GPUs visible to this process, from NVML's energy counters.

    Everything that runs on those GPUs counts. The counter moves about ten times a second; for a
    region too short to move it, Zeus gives power at the end times duration.
    """

    kind = "nvml_energy"
    quantity = "energy"

    def __init__(self) -> None:
        super().__init__()
        self.name = "nvml_energy (whole GPUs, Zeus)"

    def probe(self) -> Probe:
        """Whether NVML sees a GPU and Zeus is there to read it."""
        return _with_zeus(nvml.probe())

    def _begin(self) -> str:
        return _open_window(_monitor("gpu"))

    def _end(self, begun: str) -> float:
        # work still queued on the device belongs to the region
        measured = _monitor("gpu").end_window(begun, sync_execution=_device_busy())
        return float(sum(measured.gpu_energy.values()))


class ModelledEnergy(Meter):
    """Joules from a linear power model: a stand-in for counters, never a measurement.

    ``E = idle * cores * wall + (busy - idle) * cpu_time``: every usable core draws the idle
    power all the time, and each CPU second of the program raises one core to the busy power.
    It knows nothing of frequency, instruction mix, memory or GPU. The defaults are assumptions
    (see ``BUSY_WATTS``, ``IDLE_WATTS``) that may be off by a factor of two for a given machine.
    It runs only where it is asked for by name.

    Parameters
    ----------
    busy_watts, idle_watts : float
        Power of one hardware thread, busy and idle (W).
    cores : float, optional
        Cores whose idle power counts; default: those this process may use.

    Raises
    ------
    ConfigError
        If not ``0 <= idle_watts <= busy_watts`` with both finite.
    """

    kind = "modelled_energy"
    quantity = "energy"
    measurement: Measurement = "modelled"

    def __init__(
        self,
        busy_watts: float = BUSY_WATTS,
        idle_watts: float = IDLE_WATTS,
        cores: float | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= idle_watts <= busy_watts < math.inf:
            raise ConfigError(
                f"busy_watts={busy_watts}, idle_watts={idle_watts}; allowed: "
                "0 <= idle_watts <= busy_watts, in watts per core"
            )
        self.busy_watts, self.idle_watts = busy_watts, idle_watts
        self.cores = machine.usable_cores() if cores is None else cores
        self.name = (
            f"modelled_energy ({busy_watts:g} W a busy core, {idle_watts:g} W idle, "
            f"{self.cores:g} cores)"
        )
        self._cpu, self._wall = CpuTime(), WallClock()

    def probe(self) -> Probe:
        """A model works everywhere; the reason repeats that it is one."""
        return Probe(True, f"an assumption, not a measurement: {self.name}")

    def energy(self, wall: float, cpu: float) -> float:
        """Joules that the model gives for ``wall`` seconds with ``cpu`` CPU seconds in them."""
        return self.idle_watts * self.cores * wall + (self.busy_watts - self.idle_watts) * cpu

    def _begin(self) -> None:
        self._cpu.start()
        self._wall.start()

    def _end(self, begun: None) -> float:
        wall = self._wall.stop()
        return self.energy(wall, self._cpu.stop())


def _with_zeus(counters: Probe) -> Probe:
    """Withdraw an available counter where the library that reads it is missing."""
    if counters and importlib.util.find_spec("zeus") is None:
        return Probe(False, f"{counters.reason}, but Zeus is not installed", HW_EXTRA)
    return counters


def _device_busy() -> bool:
    """Whether this process may have work queued on a GPU that a window has to wait for."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_initialized()


@lru_cache(maxsize=2)
def _monitor(kind: str) -> Any:
    """Zeus' monitor of the CPU packages or of the GPUs, made once: it takes seconds."""
    # Zeus reports each sensor that a machine lacks; the probes say so better
    for name in ("zeus", "amdsmi"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from zeus.monitor import ZeusMonitor

    with process_tree.starting_helpers():
        if kind == "cpu":
            monitor = ZeusMonitor(gpu_indices=[])
        else:
            monitor = ZeusMonitor(cpu_indices=[], approx_instant_energy=True)
        # the first window starts the helper processes
        monitor.end_window(_open_window(monitor), sync_execution=False)
    return monitor


def _open_window(monitor: Any) -> str:
    key = f"region-{next(_windows)}"
    monitor.begin_window(key, sync_execution=_device_busy())
    return key
