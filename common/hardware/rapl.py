"""RAPL zones under /sys/class/powercap: the energy counters and power limits of CPU packages."""

from __future__ import annotations

import os
from pathlib import Path

from common.hardware.machine import virtualised
from common.hardware.probe import Probe

BARE_METAL = (
    "run on bare metal with an Intel (Sandy Bridge or later) or AMD (Zen or later, Linux 5.8 or "
    "later) CPU and `sudo modprobe intel_rapl_msr`; a virtual machine needs a host that passes "
    "RAPL through"
)
READ_RIGHTS = "run as root, or `sudo chmod o+r /sys/class/powercap/intel-rapl:*/energy_uj`"


def packages(root: Path | str = "/sys") -> list[Path]:
    """Folders of the CPU package zones (``intel-rapl:0``, ...; AMD uses the same name)."""
    zones = (Path(root) / "class/powercap").glob("intel-rapl:*")
    return sorted(
        (zone for zone in zones if zone.name.count(":") == 1),
        key=lambda zone: int(zone.name.split(":")[1]),
    )


def probe(root: Path | str = "/sys") -> Probe:
    """Whether the package energy counters exist and may be read."""
    if not (Path(root) / "class/powercap").is_dir():
        beneath = (
            "this is a virtual machine and its hypervisor passes no RAPL through"
            if virtualised()
            else "the kernel has no powercap driver loaded"
        )
        return Probe(False, f"/sys/class/powercap is absent: {beneath}", BARE_METAL)
    zones = packages(root)
    if not zones:
        return Probe(False, "/sys/class/powercap holds no intel-rapl zone", BARE_METAL)
    unreadable = [zone.name for zone in zones if not os.access(zone / "energy_uj", os.R_OK)]
    if unreadable:
        reason = f"energy_uj of {', '.join(unreadable)} may be read by root only"
        return Probe(False, reason, READ_RIGHTS)
    count = len(zones)
    return Probe(True, f"energy counters of {count} CPU package{'s' if count > 1 else ''}")
