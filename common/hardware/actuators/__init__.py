"""Actuators: change a setting of the machine for a while, then put it back.

>>> cap = SimulatedActuator("power cap", Range(low=40, high=100, unit="W"), initial=100)
>>> with cap.set(60) as watts:
...     watts
60
>>> cap.read(), cap.setpoints
(100, [60])
"""

from common.hardware.actuators.base import Actuator, Range
from common.hardware.actuators.cpu import CpuAffinity, ThreadCount
from common.hardware.actuators.gpu import GpuPowerLimit
from common.hardware.actuators.quota import CgroupCpuQuota
from common.hardware.actuators.simulated import SimulatedActuator
from common.hardware.actuators.sysfs import CpuFrequencyCap, CpuGovernor, RaplPowerCap

ACTUATORS: tuple[type[Actuator], ...] = (
    CpuAffinity,
    ThreadCount,
    CgroupCpuQuota,
    RaplPowerCap,
    CpuFrequencyCap,
    CpuGovernor,
    GpuPowerLimit,
)
"""Every actuator that changes a real machine; each can be made without arguments."""

__all__ = [
    "ACTUATORS",
    "Actuator",
    "CgroupCpuQuota",
    "CpuAffinity",
    "CpuFrequencyCap",
    "CpuGovernor",
    "GpuPowerLimit",
    "Range",
    "RaplPowerCap",
    "SimulatedActuator",
    "ThreadCount",
]
