"""A real watch through adb: push a program, run it, read what the watch says about itself."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from common.errors import RepriseError, did_you_mean
from common.hardware.probe import Unavailable
from common.hardware.targets.wearable import probing
from common.hardware.targets.wearable.emit import Program
from common.hardware.targets.wearable.emulate import (
    ARM_FLAGS,
    compile_program,
    read_outputs,
)

FOLDER = "/data/local/tmp/reprise"
CLOCKS = "cat /sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq"
CURRENT = "cat /sys/class/power_supply/battery/current_now"
TIMEOUT_S = 300


class DeviceError(RepriseError):
    """A watch refuses, fails or cannot be chosen."""


@dataclass(frozen=True)
class State:
    """What a watch says about itself; None where it does not tell.

    ``clock`` is the fastest core's, in Hz; ``level`` in percent; ``current`` in amperes, with
    the sign of the watch; ``temperature`` of the battery in degrees Celsius.
    """

    clock: float | None
    level: float | None
    current: float | None
    temperature: float | None


@dataclass(frozen=True, eq=False)
class Measurement:
    """Inferences on a watch.

    Attributes
    ----------
    seconds : ndarray, shape (runs,)
        Each inference after the warm-up.
    outputs : list of ndarray
        Outputs of the last one, to compare.
    before, after : State
        The watch around the run.
    meter : str
        Model of the watch and how the time was taken.
    """

    seconds: np.ndarray
    outputs: list[np.ndarray]
    before: State
    after: State
    meter: str


@dataclass(frozen=True)
class Watch:
    """One device that adb may use.

    Attributes
    ----------
    serial : str
        By which adb selects it; not shown anywhere.
    model : str
        What it calls itself.
    """

    serial: str = field(repr=False)
    model: str = "?"

    @classmethod
    def attached(cls, serial: str | None = None) -> Watch:
        """Return the attached watch.

        Parameters
        ----------
        serial : str, optional
            Which one; needed where several are attached.

        Raises
        ------
        Unavailable
            If none is attached, or it has not authorised this host.
        DeviceError
            If several are attached and none is named, or the named one is not there.
        """
        found, complaint = probing.devices()
        if serial is not None:
            found = [each for each in found if each.serial == serial] or _absent(serial, found)
        if not found:
            raise Unavailable(f"no device over adb: {complaint}; {probing.ATTACH}")
        if len(found) > 1:
            listed = ", ".join(f"{each.serial} ({each.model}, {each.state})" for each in found)
            raise DeviceError(f"adb lists several devices: {listed}; choose one with serial=")
        (only,) = found
        if only.state == "unauthorized":
            raise Unavailable(
                f"{only.model} has not authorised this host: accept the question on its screen"
            )
        if only.state != "device":
            raise Unavailable(f"adb lists {only.model} as {only.state}; connect it again")
        return cls(only.serial, only.model)

    def shell(self, command: str) -> str:
        """Run a command on the watch; return what it prints."""
        return self._adb("shell", command)

    def push(self, local: Path, name: str) -> str:
        """Copy a file to the watch; return where it is."""
        remote = f"{FOLDER}/{name}"
        self._adb("push", str(local), remote)
        return remote

    def state(self) -> State:
        """Read clock, battery level, current and temperature."""
        battery = self._told("dumpsys battery")
        clocks = [1e3 * float(n) for n in re.findall(r"^\d+", self._told(CLOCKS), re.M)]
        current = re.search(r"^-?\d+", self._told(CURRENT), re.M)
        level, warmth = (re.search(rf"{key}: (\d+)", battery) for key in ("level", "temperature"))
        return State(
            clock=max(clocks, default=None),
            level=float(level[1]) if level else None,
            current=float(current[0]) * 1e-6 if current else None,
            temperature=float(warmth[1]) / 10 if warmth else None,
        )

    def measure(
        self,
        program: Program,
        inputs: Sequence[np.ndarray],
        *,
        warmup: int = 20,
        runs: int = 200,
        cores: str = "1",
    ) -> Measurement:
        """Run the C program of a network on the watch and time each inference.

        Parameters
        ----------
        program : Program
            From :func:`~common.hardware.targets.wearable.emit.emit_c`; needs the cross compiler.
        inputs : sequence of ndarray
            One input.
        warmup, runs : int
            Inferences left out, and kept.
        cores : str
            Mask of ``taskset``, in hexadecimal.

        Raises
        ------
        Unavailable
            If the cross compiler is missing.
        DeviceError
            If a copy or the program fails on the watch.
        """
        if shutil.which(probing.CROSS_COMPILER) is None:
            lacks = f"{probing.CROSS_COMPILER} is missing"
            raise Unavailable(f"no program for the watch: {lacks}; {probing.EMULATE}")
        binary = compile_program(program, probing.CROSS_COMPILER, ARM_FLAGS)
        with tempfile.TemporaryDirectory() as folder, self._room():
            local = Path(folder, "inputs")
            local.write_bytes(b"".join(np.ascontiguousarray(each).tobytes() for each in inputs))
            remote = self.push(binary, "program")
            taken = self.push(local, "inputs")
            before = self.state()
            call = f"{remote} {warmup + runs} {taken} {FOLDER}/outputs {FOLDER}/times"
            self.shell(f"chmod 755 {remote} && taskset {cores} {call}")
            after = self.state()
            outputs, times = (self._fetch(name, folder) for name in ("outputs", "times"))
        seconds = np.frombuffer(times, np.int64)[warmup:] * 1e-9
        if len(seconds) != runs:
            raise DeviceError(f"{self.model} timed {len(seconds)} inferences, not {runs}")
        meter = f"clock of {self.model}, reference C runtime, taskset {cores}"
        return Measurement(seconds, read_outputs(program, outputs), before, after, meter)

    def run(self, binary: Path, files: Sequence[Path], arguments: str, cores: str = "1") -> str:
        """Run a benchmark of one's own, such as ``executor_runner`` or ``onnxruntime_perf_test``.

        ``{0}``, ``{1}``, ... in ``arguments`` stand for where the files are on the watch.
        """
        with self._room():
            remote = self.push(binary, binary.name)
            places = [self.push(file, file.name) for file in files]
            call = f"{remote} {arguments.format(*places)}"
            return self.shell(f"chmod 755 {remote} && taskset {cores} {call}")

    def _fetch(self, name: str, folder: str) -> bytes:
        local = Path(folder, f"{name}.fetched")
        self._adb("pull", f"{FOLDER}/{name}", str(local))
        return local.read_bytes()

    def _told(self, command: str) -> str:
        """What a command prints, nothing where the watch has no answer."""
        try:
            return self.shell(command)
        except DeviceError:
            return ""

    @contextlib.contextmanager
    def _room(self) -> Iterator[None]:
        """A folder of our own on the watch, gone afterwards."""
        self.shell(f"mkdir -p {FOLDER}")
        try:
            yield
        finally:
            self._told(f"rm -rf {FOLDER}")

    def _adb(self, *arguments: str) -> str:
        call = ["adb", "-s", self.serial, *arguments]
        what = f"adb {arguments[0]} on {self.model}"
        try:
            done = subprocess.run(call, capture_output=True, text=True, timeout=TIMEOUT_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DeviceError(f"{what} does not answer: {type(error).__name__}") from error
        if done.returncode:
            raise DeviceError(f"{what} failed: {(done.stdout + done.stderr).strip()[-300:]}")
        return done.stdout


def _absent(serial: str, found: Sequence[probing.Device]) -> list[probing.Device]:
    serials = [each.serial for each in found]
    raise DeviceError(f"adb lists no device {serial!r}{did_you_mean(serial, serials)}")
