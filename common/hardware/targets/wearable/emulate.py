"""Exact aarch64 instruction counts of a C program, under QEMU's user-mode emulation.

Emulated time means nothing and is not read. The program, a network's by :mod:`emit`, runs n and
2n inferences under a plugin that counts executed instructions; the difference is free of start-up.
It is the program that was counted whose outputs are compared, a network's with ONNX Runtime on the
host.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import RepriseError
from common.hardware.targets.wearable import probing
from common.hardware.targets.wearable.emit import Program, emit_c
from common.hardware.targets.wearable.export import onnx_session
from common.hardware.targets.wearable.graph import load_graph
from common.locks import locked
from common.results import write_bytes, write_json

CORE = "cortex-a53"
ARM_FLAGS = (f"-mcpu={CORE}", "-static")
# Sums may be reordered, as every optimised runtime does; NaN and infinity keep their meaning.
FLAGS = (
    "-O3",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-signed-zeros",
    "-fassociative-math",
)
TOLERANCE = {"fp32": 1e-4, "int8": 0.05}
"""Largest difference from ONNX Runtime over the largest output, at least 1 in float."""

Check = Callable[[Sequence[np.ndarray]], tuple[float, float]]
"""Takes a program's outputs; returns largest difference and largest output, or raises."""

_SOURCES = Path(__file__).parent
TIMEOUT_S = 300


class EmulationError(RepriseError):
    """A program does not compile, does not run, or computes something else."""


@dataclass(frozen=True)
class Count:
    """Instructions of one inference.

    Attributes
    ----------
    instructions : float
        Of one inference: count(2n) - count(n), over n.
    repeats : tuple of float
        The same, each time anew; equal numbers show that the count is exact.
    startup : int
        Instructions besides the inferences.
    difference, scale : float
        Largest difference of the counted program's outputs from what they should be, for a network
        ONNX Runtime's, and the largest output.
    program_bytes : int
        Size of the static binary.
    meter : str
        Emulator, its version and core.
    """

    instructions: float
    repeats: tuple[float, ...]
    startup: int
    difference: float
    scale: float
    program_bytes: int
    meter: str


def count_instructions(
    onnx_path: Path | str,
    inputs: Sequence[np.ndarray],
    *,
    inferences: int = 1,
    repeats: int = 3,
) -> Count:
    """Count the instructions of one inference of a network on an emulated Cortex-A53.

    Parameters
    ----------
    onnx_path : Path or str
        Float or QDQ file of fixed shapes.
    inputs, inferences, repeats
        As for :func:`count_program`.

    Raises
    ------
    Unavailable
        If the emulator or a compiler is missing; names the packages.
    UnsupportedOperator
        If the graph holds an operator that has no C kernel.
    EmulationError
        If the program fails or differs from ONNX Runtime.
    """
    probing.emulator().require("emulation of aarch64")
    program = emit_c(load_graph(onnx_path))
    check = partial(compare_outputs, onnx_path, inputs)
    return count_program(program, inputs, check, inferences=inferences, repeats=repeats)


def count_program(
    program: Program,
    inputs: Sequence[np.ndarray],
    check: Check,
    *,
    inferences: int = 1,
    repeats: int = 3,
) -> Count:
    """Count the instructions of one run of a C program on an emulated Cortex-A53.

    The result is kept in the user's cache under the digest of program, inputs and tools.

    Parameters
    ----------
    program : Program
        A network's, or one of one's own.
    inputs : sequence of ndarray
        One input; branches may depend on it.
    check : callable
        What the outputs are compared by before a count is kept.
    inferences : int
        n; n and 2n inferences are run.
    repeats : int
        How often both are run.

    Raises
    ------
    Unavailable
        If the emulator or a compiler is missing; names the packages.
    EmulationError
        If the program fails or ``check`` refuses its outputs.
    """
    probing.emulator().require("emulation of aarch64")
    content = b"".join(np.ascontiguousarray(each).tobytes() for each in inputs)
    key = [program.digest, hashlib.sha256(content).hexdigest(), inferences, repeats, *_tools()]
    kept = cache_folder() / f"count-{_digest(json.dumps(key))}.json"
    with locked(kept.with_suffix(".lock"), "counts the same program"):
        if kept.is_file():
            found = json.loads(kept.read_text())
            return Count(**{**found, "repeats": tuple(found["repeats"])})
        count = _count(program, content, check, inferences, repeats)
        write_json(kept, asdict(count))
    return count


def compile_program(program: Program, compiler: str, flags: Sequence[str] = ()) -> Path:
    """Compile a program, once for each content, compiler and flags; return the binary.

    Raises
    ------
    EmulationError
        If the compiler refuses it.
    """
    options = [*FLAGS, *flags]
    binary = cache_folder() / f"program-{_digest(program.digest, _version(compiler), *options)}"
    with locked(binary.with_suffix(".lock"), "compiles the same program"):
        if not binary.is_file():
            with tempfile.TemporaryDirectory() as folder:
                Path(folder, "model.c").write_text(program.code)
                Path(folder, "weights.bin").write_bytes(program.weights)
                call = [compiler, *options, "model.c", "-o", "program", "-lm"]
                _run(call, f"{compiler} on the generated program", cwd=folder)
                write_bytes(binary, Path(folder, "program").read_bytes())
            binary.chmod(0o755)
    return binary


def run_program(
    program: Program,
    binary: Path,
    inputs: bytes,
    *,
    runs: int = 1,
    emulator: Sequence[str] = (),
) -> tuple[list[np.ndarray], str]:
    """Run a compiled program; return its outputs and what it and its emulator said."""
    with tempfile.TemporaryDirectory() as folder:
        taken, given = Path(folder, "inputs"), Path(folder, "outputs")
        taken.write_bytes(inputs)
        # as many digits for any number: reading it must cost the same
        call = [*emulator, str(binary), f"{runs:08d}", str(taken), str(given)]
        said = _run(call, f"{binary.name} ({runs} inferences)")
        return read_outputs(program, given.read_bytes()), said


def read_outputs(program: Program, content: bytes) -> list[np.ndarray]:
    """Arrays from the file that a program wrote."""
    arrays, start = [], 0
    for _, shape, dtype in program.outputs:
        size = int(np.prod(shape))
        arrays.append(np.frombuffer(content, dtype, size, start).reshape(shape))
        start += arrays[-1].nbytes
    return arrays


def compare_outputs(
    onnx_path: Path | str, inputs: Sequence[np.ndarray], found: Sequence[np.ndarray]
) -> tuple[float, float]:
    """Largest difference from ONNX Runtime and largest output; too large a one is an error."""
    session = onnx_session(onnx_path, literal=True)
    names = [each.name for each in session.get_inputs()]
    expected = session.run(None, dict(zip(names, inputs, strict=True)))
    quantised = any(node.op == "QuantizeLinear" for node in load_graph(onnx_path).nodes)
    precision = "int8" if quantised else "fp32"
    return compare(expected, found, Path(onnx_path).name, "ONNX Runtime", precision)


def compare(
    expected: Sequence[np.ndarray],
    found: Sequence[np.ndarray],
    name: str,
    reference: str,
    precision: str = "fp32",
) -> tuple[float, float]:
    """Do the same for outputs that are known; an error says what differs from which reference."""
    pairs = list(zip(expected, found, strict=True))
    difference = max(float(np.abs(a.astype(np.float64) - b).max(initial=0)) for a, b in pairs)
    scale = max(float(np.abs(a).max(initial=0)) for a in expected)
    limit = TOLERANCE[precision] * (scale if precision == "int8" else max(1.0, scale))
    if not difference <= limit:
        raise EmulationError(
            f"the C program of {name} differs from {reference} by {difference:.3g}, more than "
            f"{limit:.3g}: its count would be that of something else"
        )
    return difference, scale


def meter() -> str:
    """Name of the counter, for every number that comes from it."""
    name = _version(probing.emulator_program() or "")
    version = re.search(r"\d+\.\d+", name)
    return f"instructions (QEMU {version[0] if version else '?'} TCG, {CORE})"


def cache_folder() -> Path:
    """``wearable`` in ``$REPRISE_CACHE``, else in the user's cache."""
    chosen = os.environ.get("REPRISE_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute() / "wearable"
    import pooch

    return Path(pooch.os_cache("reprise")) / "wearable"


def _count(program: Program, content: bytes, check: Check, inferences: int, repeats: int) -> Count:
    binary = compile_program(program, probing.CROSS_COMPILER, ARM_FLAGS)
    qemu = probing.emulator_program()
    call = [str(qemu), "-cpu", CORE, "-plugin", str(_plugin()), "-d", "plugin"]
    found: list[np.ndarray] = []

    def executed(runs: int) -> int:
        nonlocal found
        found, said = run_program(program, binary, content, runs=runs, emulator=call)
        match = re.search(r"instructions (\d+)", said)
        if match is None:
            raise EmulationError(f"the emulator reported no count: {said[-300:]!r}")
        return int(match[1])

    pairs = [(executed(inferences), executed(2 * inferences)) for _ in range(repeats)]
    each = tuple((twice - once) / inferences for once, twice in pairs)
    difference, scale = check(found)
    startup = round(pairs[0][0] - inferences * each[0])
    size = binary.stat().st_size
    return Count(each[0], each, startup, difference, scale, size, meter())


def _plugin() -> Path:
    """The counting plugin, compiled once."""
    source = (_SOURCES / "plugin.c").read_bytes()
    library = cache_folder() / f"plugin-{_digest(source.decode(), _version('gcc'))}.so"
    with locked(library.with_suffix(".lock"), "compiles the counter"):
        if not library.is_file():
            with tempfile.TemporaryDirectory() as folder:
                Path(folder, "plugin.c").write_bytes(source)
                call = ["gcc", "-O2", "-shared", "-fPIC", "plugin.c", "-o", "plugin.so"]
                _run(call, "gcc on the counting plugin", cwd=folder)
                write_bytes(library, Path(folder, "plugin.so").read_bytes())
    return library


def _tools() -> list[str]:
    """Versions of everything that a count depends on."""
    plugin = (_SOURCES / "plugin.c").read_text()
    qemu, cross = str(probing.emulator_program()), probing.CROSS_COMPILER
    return [plugin, _version(qemu), _version(cross), *FLAGS, *ARM_FLAGS]


@lru_cache
def _version(program: str) -> str:
    """First line that a program says about its version."""
    if not shutil.which(program):
        return ""
    return _run([program, "--version"], program).partition("\n")[0]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _run(call: Sequence[str], what: str, **options: Any) -> str:
    """Run a program; return both its streams, or raise with their end."""
    try:
        done = subprocess.run(call, capture_output=True, text=True, timeout=TIMEOUT_S, **options)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EmulationError(f"{what} does not run: {error}") from error
    said = done.stdout + done.stderr
    if done.returncode:
        raise EmulationError(f"{what} failed ({done.returncode}): {said[-600:]}")
    return said
