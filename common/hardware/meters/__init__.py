"""Meters: what a region of code took, each value with its meter and how it came about.

>>> with MeterSet(["wall_clock", "cpu_time"]) as measured:
...     total = sum(range(100_000))
>>> [reading.meter for reading in measured.readings]
['wall_clock', 'cpu_time']
"""

from common.hardware.meters.base import Measurement, Meter, Quantity, Reading
from common.hardware.meters.clocks import CpuTime, WallClock
from common.hardware.meters.cuda import CudaEventTimer
from common.hardware.meters.energy import ModelledEnergy, NvmlEnergy, RaplEnergy
from common.hardware.meters.memory import PeakMemory
from common.hardware.meters.regions import METERS, MeterSet, available_meters, meter

__all__ = [
    "METERS",
    "CpuTime",
    "CudaEventTimer",
    "Measurement",
    "Meter",
    "MeterSet",
    "ModelledEnergy",
    "NvmlEnergy",
    "PeakMemory",
    "Quantity",
    "RaplEnergy",
    "Reading",
    "WallClock",
    "available_meters",
    "meter",
]
