"""What machine this is: facts that place a measurement, and nothing that names its owner."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from common.hardware import cgroup, nvml


def fingerprint() -> dict[str, Any]:
    """Describe this machine, ready for JSON.

    Returns
    -------
    dict
        ``id`` (12 hex digits over the hardware facts alone, so that an update of the system
        keeps it), ``label`` (for people), ``cpu``, ``physical_cores``, ``logical_cores``,
        ``usable_cores`` (what affinity and cgroup quota leave), ``memory_gib``, ``arch``,
        ``os``, ``kernel``, ``python``, ``gpus`` (name, memory_gib, driver), ``virtualised``
        (True, False, or None where the machine does not tell). No host name, no user name and
        no path is in it.

    Examples
    --------
    >>> fingerprint()["id"] == fingerprint()["id"]
    True
    """
    logical = os.cpu_count() or 1
    facts: dict[str, Any] = {
        "cpu": cpu_model(),
        "physical_cores": psutil.cpu_count(logical=False) or logical,
        "logical_cores": logical,
        # whole GiB: the kernel's own reserve moves the exact figure between boots
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "arch": platform.machine(),
        "gpus": nvml.gpus(),
        "virtualised": virtualised(),
    }
    hardware = {**facts, "gpus": [(gpu["name"], gpu["memory_gib"]) for gpu in facts["gpus"]]}
    digest = hashlib.sha256(json.dumps(hardware, sort_keys=True).encode()).hexdigest()
    cores = usable_cores()
    return {
        "id": digest[:12],
        "label": _label(facts, cores),
        **facts,
        "usable_cores": cores,
        "os": _os_name(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Installed version of each distribution, read from metadata without importing anything.

    A package that is not installed has no entry.

    Examples
    --------
    >>> sorted(versions(["numpy", "no-such-distribution"]))
    ['numpy']
    """
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def usable_cores(root: Path | str = "/") -> float:
    """Cores that this process may use: its affinity, cut by the cgroup quota (v1 and v2).

    A whole number comes back as ``int``; a quota may also be a fraction of a core.
    """
    if hasattr(os, "sched_getaffinity"):
        cores: float = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    group = cgroup.cpu_group(root)
    quota = group.quota() if group else None
    if quota is not None:
        cores = min(cores, round(quota, 2))
    return int(cores) if cores == int(cores) else cores


def cpu_model(root: Path | str = "/") -> str:
    """Model name of the processor as the kernel gives it, else the best there is."""
    info = _cpuinfo(Path(root))
    if name := info.get("model name") or info.get("Processor"):
        return name
    if "CPU part" in info:  # arm64 kernels give numbers only
        return f"ARM implementer {info.get('CPU implementer', '?')} part {info['CPU part']}"
    return platform.processor() or platform.machine() or "unknown CPU"


def virtualised(root: Path | str = "/") -> bool | None:
    """Whether a hypervisor runs beneath; None where neither CPU nor firmware tells."""
    root = Path(root)
    if "hypervisor" in _cpuinfo(root).get("flags", "").split():
        return True
    if (root / "proc/device-tree/hypervisor").exists() or (root / "sys/hypervisor/type").exists():
        return True
    return False if "flags" in _cpuinfo(root) else None


def _cpuinfo(root: Path) -> dict[str, str]:
    """First processor's block of /proc/cpuinfo."""
    block = []
    try:
        with (root / "proc/cpuinfo").open(errors="replace") as lines:
            for line in lines:
                if not line.strip():  # the other processors cost time and say the same
                    break
                block.append(line)
    except OSError:
        return {}
    pairs = (line.partition(":") for line in block)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}"


def _label(facts: dict[str, Any], cores: float) -> str:
    cpu = re.sub(r"\((R|TM)\)|\s*\d+-Core Processor|\s*CPU @.*", "", facts["cpu"]).strip()
    all_cores = facts["logical_cores"]
    share = f"{cores:g}" if cores == all_cores else f"{cores:g} of {all_cores}"
    names = [str(gpu["name"]) for gpu in facts["gpus"]]
    counts = {name: names.count(name) for name in names}
    gpus = [name if count == 1 else f"{count}x {name}" for name, count in counts.items()]
    plural = "core" if share == "1" else "cores"
    return ", ".join([cpu, f"{share} {plural}", f"{facts['memory_gib']} GiB", *gpus])
