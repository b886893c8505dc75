"""Several meters around one region."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from common.errors import ConfigError, did_you_mean
from common.hardware.meters.base import Meter, Quantity, Reading
from common.hardware.meters.clocks import CpuTime, WallClock
from common.hardware.meters.cuda import CudaEventTimer
from common.hardware.meters.energy import ModelledEnergy, NvmlEnergy, RaplEnergy
from common.hardware.meters.memory import PeakMemory

_log = logging.getLogger(__name__)

METERS: dict[str, Callable[[], Meter]] = {
    cls.kind: cls
    for cls in (
        WallClock,
        CpuTime,
        PeakMemory,
        RaplEnergy,
        NvmlEnergy,
        CudaEventTimer,
        ModelledEnergy,
    )
}
"""Every meter by the word that asks for it."""

# In each list the first meter of a quantity is the one to prefer, and the meter nearest to the
# region comes first: it starts last and stops first. The wall clock stands after the CUDA timer
# so that it, too, waits for the device.
TARGET_METERS: dict[str, tuple[str, ...]] = {
    "cpu": ("wall_clock", "cpu_time", "peak_memory", "rapl_energy"),
    "gpu": ("cuda_event", "wall_clock", "cpu_time", "peak_memory", "nvml_energy", "rapl_energy"),
    "wearable": ("wall_clock", "cpu_time", "peak_memory"),
}


def meter(name: str) -> Meter:
    """Make the meter called ``name``.

    Raises
    ------
    ConfigError
        If there is no such meter; names the closest.
    """
    if name not in METERS:
        raise ConfigError(f"unknown meter {name!r}{did_you_mean(name, METERS)}")
    return METERS[name]()


def available_meters(target: str = "cpu") -> list[Meter]:
    """Fresh meters that work on this machine for a target; never a modelled one.

    For ``wearable`` they watch the host that emulates or drives the device, so their readings
    are labelled ``emulated``.

    Raises
    ------
    ConfigError
        If the target is unknown; names the closest.
    """
    if target not in TARGET_METERS:
        raise ConfigError(f"unknown target {target!r}{did_you_mean(target, TARGET_METERS)}")
    meters = [meter(name) for name in TARGET_METERS[target]]
    if target == "wearable":
        for host_meter in meters:
            host_meter.measurement = "emulated"
    return [found for found in meters if found.probe()]


class MeterSet:
    """Measure a region of code with several meters at once.

    Parameters
    ----------
    meters : sequence of Meter or str, optional
        Meters, or the words that ask for them; default: all that work for ``target``.
    target : str
        ``cpu``, ``gpu`` or ``wearable``; picks the default meters.

    Attributes
    ----------
    readings : list of Reading
        Values of the region closed last, in the order of the meters; filled on exit, also when
        the region raised.

    Raises
    ------
    Unavailable
        If a meter that was asked for does not work here; says why and what would enable it.
    ConfigError
        If a meter or target is unknown.

    Examples
    --------
    >>> with MeterSet(["wall_clock"]) as measured:
    ...     total = sum(range(1000))
    >>> measured.get("wall_time").unit
    's'
    """

    def __init__(self, meters: Sequence[Meter | str] | None = None, target: str = "cpu") -> None:
        if meters is None:
            self.meters = available_meters(target)
        else:
            self.meters = [meter(m) if isinstance(m, str) else m for m in meters]
            for asked in self.meters:
                asked.probe().require(f"meter {asked.name!r}")
        self.readings: list[Reading] = []

    def __enter__(self) -> MeterSet:
        started: list[Meter] = []
        try:
            for each in reversed(self.meters):
                each.start()
                started.append(each)
        except BaseException:
            for each in reversed(started):
                each.stop()
            raise
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        readings, failures = [], []
        for each in self.meters:
            try:
                readings.append(each.reading(each.stop()))
            except Exception as failure:  # the others must still close their region
                failures.append(failure)
                _log.error("meter %s failed: %s", each.name, failure)
        self.readings = readings
        if failures and error is None:
            raise failures[0]

    def get(self, quantity: Quantity) -> Reading | None:
        """Reading of the preferred meter of a quantity, None where none was measured."""
        return next((r for r in self.readings if r.quantity == quantity), None)
