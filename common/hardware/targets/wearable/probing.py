"""A real watch through adb, else an emulated aarch64 core."""

from __future__ import annotations

import shutil
import subprocess
from typing import NamedTuple

from common.hardware.probe import Probe

EMULATOR_PACKAGES = "qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
ATTACH = (
    "`sudo apt-get install adb`, switch on ADB debugging on the watch, then "
    "`adb pair HOST:PORT` and `adb connect HOST:PORT`"
)
EMULATE = f"`sudo apt-get install {EMULATOR_PACKAGES}`"
_EMULATORS = ("qemu-aarch64", "qemu-aarch64-static")
_COMPILER = "aarch64-linux-gnu-gcc"


class Device(NamedTuple):
    """One line of ``adb devices``: its state and model, without the serial number."""

    state: str
    model: str


def probe() -> Probe:
    """Say which of the two is here: a watch to measure on, or an emulator to count with."""
    found, complaint = devices()
    ready = [device for device in found if device.state == "device"]
    if ready:
        models = ", ".join(device.model for device in ready)
        return Probe(True, f"real device over adb: {models}; latency is measured on it")
    waiting = "; ".join(f"adb lists {d.model} as {d.state}" for d in found) or complaint
    emulator = next((name for name in _EMULATORS if shutil.which(name)), None)
    if emulator is None:
        reason = f"{waiting}, and no aarch64 emulator (qemu-aarch64) is installed"
        return Probe(False, reason, f"a watch: {ATTACH}; or emulation: {EMULATE}")
    lacks = "" if shutil.which(_COMPILER) else f" (cross compiler {_COMPILER} is missing)"
    reason = (
        f"emulated aarch64 by {emulator}{lacks}: instruction counts only, latency and energy are "
        f"modelled; {waiting}"
    )
    remedy = f"{EMULATE}; for real numbers a watch: {ATTACH}" if lacks else f"a watch: {ATTACH}"
    return Probe(True, reason, remedy)


def devices() -> tuple[list[Device], str]:
    """Devices that adb lists, and what to say where it lists none.

    Asking starts adb's own server on the loopback interface if it does not run yet.
    """
    adb = shutil.which("adb")
    if adb is None:
        return [], "adb is not installed"
    try:
        answer = subprocess.run(
            [adb, "devices", "-l"], capture_output=True, text=True, timeout=10, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return [], f"adb does not answer ({type(error).__name__})"
    found = []
    for line in answer.splitlines():
        fields = line.split()
        if len(fields) < 2 or line.startswith(("List of", "*")):
            continue
        model = next((f.removeprefix("model:") for f in fields if f.startswith("model:")), "?")
        found.append(Device(fields[1], model))
    return found, "no watch is attached"
