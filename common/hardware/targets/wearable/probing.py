"""What of the wearable target this machine offers."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Callable
from typing import NamedTuple

from common.hardware.probe import Probe

PACKAGES = "qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross gcc"
ATTACH = (
    "`sudo apt-get install adb`, switch on ADB debugging on the watch, then "
    "`adb pair HOST:PORT` and `adb connect HOST:PORT`"
)
EMULATE = f"`sudo apt-get install {PACKAGES}`"
EDGE_EXTRA = "pip install -c envs/constraints.txt -e '.[edge]'"
CROSS_COMPILER = "aarch64-linux-gnu-gcc"
_EMULATORS = ("qemu-aarch64", "qemu-aarch64-static")


class Device(NamedTuple):
    """One line of ``adb devices``: its state and model, and the serial number to select it by."""

    state: str
    model: str
    serial: str = ""


def probe() -> Probe:
    """Say which is here: a watch to measure on, or an emulator to count with."""
    watch, emulated = device(), emulator()
    if watch:
        return Probe(True, f"real {watch.reason}; latency is measured on it")
    if not emulated:
        reason = f"{watch.reason}, and {emulated.reason}"
        return Probe(False, reason, f"a watch: {ATTACH}; or emulation: {EMULATE}")
    reason = f"{emulated.reason}: latency and energy are modelled; {watch.reason}"
    return Probe(True, reason, f"a watch: {ATTACH}")


def device() -> Probe:
    """A watch that adb may use."""
    found, complaint = devices()
    ready = [each for each in found if each.state == "device"]
    if ready:
        return Probe(True, f"device over adb: {', '.join(each.model for each in ready)}")
    waiting = "; ".join(f"adb lists {each.model} as {each.state}" for each in found)
    return Probe(False, waiting or complaint, ATTACH)


def emulator() -> Probe:
    """QEMU's user-mode emulation, a compiler for its programs and one for its plugin."""
    program = emulator_program()
    lacking = [] if program else ["no aarch64 emulator (qemu-aarch64) is installed"]
    for compiler, purpose in ((CROSS_COMPILER, "cross compiler"), ("gcc", "host compiler")):
        if not shutil.which(compiler):
            lacking.append(f"{purpose} {compiler} is missing")
    if lacking:
        return Probe(False, ", ".join(lacking), EMULATE)
    return Probe(True, f"emulated aarch64 by {program}: exact instruction counts, no times")


def chip_model() -> Probe:
    """The analytical model is arithmetic and works everywhere."""
    from common.hardware.targets.wearable.chips import CHIPS

    names = ", ".join(chip.name for chip in CHIPS.values())
    return Probe(True, f"an assumption, not a measurement: latency, energy, battery of {names}")


def x86_reference() -> Probe:
    """Runtimes that run exported files on this host, on one thread."""
    runtimes = {"onnxruntime": "ONNX Runtime", "executorch": "ExecuTorch"}
    found = [name for module, name in runtimes.items() if importlib.util.find_spec(module)]
    if not found:
        return Probe(False, "neither ONNX Runtime nor ExecuTorch is installed", EDGE_EXTRA)
    missing = "" if len(found) == len(runtimes) else EDGE_EXTRA
    return Probe(True, f"one thread of this host with {' and '.join(found)}: a reference", missing)


PARTS: dict[str, Callable[[], Probe]] = {
    "wearable device": device,
    "wearable emulator": emulator,
    "wearable chip model": chip_model,
    "wearable x86 reference": x86_reference,
}
"""What ``reprise doctor`` lists beneath the target itself."""


def emulator_program() -> str | None:
    """Name of the emulator on the path."""
    return next((name for name in _EMULATORS if shutil.which(name)), None)


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
        found.append(Device(fields[1], model, fields[0]))
    return found, "no watch is attached"
