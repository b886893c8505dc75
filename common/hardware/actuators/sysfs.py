"""Actuators that are files under /sys: power cap, highest frequency, governor."""

from __future__ import annotations

import os
from abc import abstractmethod
from pathlib import Path
from typing import Any

from common.hardware import rapl
from common.hardware.actuators.base import Actuator, Range
from common.hardware.probe import Probe

RUN_AS_ROOT = "run as root, or give this user the right to write these files"


class SysfsActuator(Actuator):
    """A setting held in files; undoing writes their old text back.

    Parameters
    ----------
    root : path
        Where sysfs is mounted.
    """

    def __init__(self, root: Path | str = "/sys") -> None:
        self.root = Path(root)

    @abstractmethod
    def files(self) -> list[Path]:
        """Files that hold the setting, in the order in which they are written."""

    def _snapshot(self) -> list[tuple[Path, str]]:
        return [(file, file.read_text().strip()) for file in self.files()]

    def _restore(self, before: list[tuple[Path, str]]) -> None:
        # backwards: a zone that was disabled goes back to that after its cap is back
        for file, text in reversed(before):
            file.write_text(text)

    def _writable(self, gives: str) -> Probe:
        locked = [file for file in self.files() if not os.access(file, os.W_OK)]
        if locked:
            names = ", ".join(f"{file.parent.name}/{file.name}" for file in locked)
            return Probe(False, f"{gives}, but {names} may not be written", RUN_AS_ROOT)
        return Probe(True, gives)


class RaplPowerCap(SysfsActuator):
    """Long-term power limit of every CPU package (W), through RAPL."""

    name = "rapl_power_cap"

    def probe(self) -> Probe:
        """Whether the package zones exist, carry a limit and may be written."""
        zones = rapl.packages(self.root)
        if not zones:
            return rapl.probe(self.root)
        if not self._limits():
            return Probe(
                False,
                "the RAPL zones count energy but carry no power limit (AMD)",
                "an Intel CPU; on AMD, cap the frequency instead",
            )
        return self._writable(f"power limit of {len(zones)} CPU packages")

    @property
    def range(self) -> Range:
        """Above zero, up to the smallest maximum that a package names (none if none does)."""
        named = [zone / "constraint_0_max_power_uw" for zone in rapl.packages(self.root)]
        largest = [int(file.read_text()) / 1e6 for file in named if file.exists()]
        known = [watts for watts in largest if watts > 0]
        return Range(1, min(known, default=None), "W")

    def read(self) -> float:
        """Limit of the first package (W)."""
        return int(self._limits()[0].read_text()) / 1e6

    def files(self) -> list[Path]:
        """Each package's switch, where there is one, and its limit."""
        switches = [limit.parent / "enabled" for limit in self._limits()]
        return [*(file for file in switches if file.exists()), *self._limits()]

    def _limits(self) -> list[Path]:
        limits = [zone / "constraint_0_power_limit_uw" for zone in rapl.packages(self.root)]
        return [limit for limit in limits if limit.exists()]

    def _apply(self, value: float) -> None:
        for file in self.files():
            file.write_text("1" if file.name == "enabled" else str(round(value * 1e6)))


class _CpuFreq(SysfsActuator):
    """One file in every cpufreq policy."""

    file_name: str
    gives: str

    def probe(self) -> Probe:
        """Whether the kernel has cpufreq policies with this file, and they may be written."""
        if not self._policies():
            return Probe(
                False,
                "/sys/devices/system/cpu/cpufreq holds no policy: the kernel does not scale "
                "frequencies here (usual in virtual machines)",
                "run on bare metal with a cpufreq driver (intel_pstate, amd_pstate, acpi-cpufreq)",
            )
        if not self.files():
            return Probe(False, f"the cpufreq driver has no {self.file_name}", "another driver")
        return self._writable(f"{self.gives} of {len(self.files())} cpufreq policies")

    def files(self) -> list[Path]:
        """The file in each policy that has it."""
        return [file for policy in self._policies() if (file := policy / self.file_name).exists()]

    def _policies(self) -> list[Path]:
        return sorted((self.root / "devices/system/cpu/cpufreq").glob("policy*"))

    def _across(self, name: str) -> list[str]:
        return [(policy / name).read_text() for policy in self._policies()]


class CpuFrequencyCap(_CpuFreq):
    """Highest frequency that every core may take (MHz)."""

    name = "cpu_frequency_cap"
    file_name = "scaling_max_freq"
    gives = "highest frequency"

    @property
    def range(self) -> Range:
        """Frequencies that all policies share."""
        low = max(int(khz) for khz in self._across("cpuinfo_min_freq"))
        high = min(int(khz) for khz in self._across("cpuinfo_max_freq"))
        return Range(low / 1e3, high / 1e3, "MHz")

    def read(self) -> float:
        """Cap of the first policy (MHz)."""
        return int(self.files()[0].read_text()) / 1e3

    def _apply(self, value: float) -> None:
        for file in self.files():
            file.write_text(str(round(value * 1e3)))


class CpuGovernor(_CpuFreq):
    """The kernel's rule for choosing frequencies."""

    name = "cpu_governor"
    file_name = "scaling_governor"
    gives = "governor"

    @property
    def range(self) -> Range:
        """Governors that all policies offer."""
        offers = [set(text.split()) for text in self._across("scaling_available_governors")]
        return Range(choices=tuple(sorted(set.intersection(*offers))))

    def read(self) -> str:
        """Governor of the first policy."""
        return self.files()[0].read_text().strip()

    def _apply(self, value: Any) -> None:
        for file in self.files():
            file.write_text(value)
