"""One table of what an exported model costs everywhere: the front door of the target."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from common.errors import MissingExtra, known
from common.hardware.probe import Unavailable
from common.hardware.targets.wearable import chips, costs, host
from common.hardware.targets.wearable.emit import Program, UnsupportedOperator, emit_c
from common.hardware.targets.wearable.export import Export, export_onnx
from common.hardware.targets.wearable.graph import load_graph

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch

    from common.hardware.targets.wearable.emulate import Check, Count
    from common.hardware.targets.wearable.watch import Watch

TARGETS = ("x86", "emulator", "device", *chips.CHIPS)
STATIC = "counted on the exported graph"


class Row(NamedTuple):
    """One number of a profile.

    Attributes
    ----------
    target : str
        ``file``, ``x86``, ``emulator``, ``device`` or a chip.
    format, precision : str
        Of the exported file; ``c`` is a program of one's own.
    quantity : str
        ``bytes``, ``difference``, ``macs``, ``weight_bytes``, ``latency``, ``latency_p95``,
        ``instructions``, ``energy``, ``battery_level``, ``clock`` or ``skipped``.
    value, low, high : float
        The number and its range (of a model; of repeats); NaN where it is skipped.
    unit, measurement, meter : str
        As in observations.
    note : str
        Why something is skipped.
    """

    target: str
    format: str
    precision: str
    quantity: str
    value: float
    low: float
    high: float
    unit: str
    measurement: str
    meter: str
    note: str = ""


def profile(
    model: torch.nn.Module | Export | Sequence[Export],
    example_inputs: Sequence[torch.Tensor],
    *,
    calibration: Sequence[Sequence[torch.Tensor]] = (),
    keep_float: Sequence[str] = (),
    targets: Sequence[str] = TARGETS,
    cores: int | None = None,
    runs: int = 200,
    warmup: int = 50,
    serial: str | None = None,
) -> pd.DataFrame:
    """Profile a model on every part of the wearable target that this machine offers.

    Parameters
    ----------
    model : torch.nn.Module, Export or sequence of Export
        A module is exported to ONNX, in floats and, given calibration data, in eight bits.
    example_inputs : sequence of Tensor
        One input.
    calibration, keep_float
        As for :func:`~common.hardware.targets.wearable.quantize.export_int8_onnx`.
    targets : sequence of str
        Out of ``x86``, ``emulator``, ``device`` and the names of chips.
    cores : int, optional
        Cores of the chip models; at most two by default.
    runs, warmup : int
        Inferences timed on this host and on a device, and before.
    serial : str, optional
        Which device, where several are attached.

    Returns
    -------
    DataFrame
        One :class:`Row` a number. What is not available here has a row ``skipped`` with a note.

    Raises
    ------
    ConfigError
        If a target is unknown.
    DeviceError
        If several devices are attached and none is named, or one fails.

    Examples
    --------
    >>> import torch
    >>> table = profile(torch.nn.Linear(4, 2), [torch.ones(1, 4)], targets=["w5"])
    >>> float(table.set_index("quantity").value["macs"])
    8.0
    """
    import pandas as pd

    for target in targets:
        known(target, TARGETS, "part of the wearable target")
    arrays = [tensor.detach().cpu().numpy() for tensor in example_inputs]
    work = _Work(arrays, cores, runs, warmup, serial)
    with tempfile.TemporaryDirectory() as folder:
        exports = _exports(model, example_inputs, calibration, keep_float, Path(folder))
        rows = [row for export in exports for row in _rows(export, targets, work)]
    return pd.DataFrame(rows, columns=list(Row._fields))


def profile_program(
    program: Program,
    inputs: Sequence[np.ndarray],
    expected: Sequence[np.ndarray],
    *,
    name: str,
    targets: Sequence[str] = ("emulator", "device"),
    runs: int = 200,
    warmup: int = 50,
    serial: str | None = None,
) -> pd.DataFrame:
    """Profile a C program of one's own, such as what runs before a network.

    Parameters
    ----------
    program : Program
        In floats.
    inputs, expected : sequence of ndarray
        One input, and what the program has to make of it.
    name : str
        What an error calls the program.
    targets : sequence of str
        Out of ``emulator`` and ``device``.
    runs, warmup, serial
        As for :func:`profile`.

    Returns
    -------
    DataFrame
        As of :func:`profile`, of the format ``c``.

    Raises
    ------
    ConfigError
        If a target is unknown, or cannot run a program.
    EmulationError
        If the program fails or computes something else.
    """
    import pandas as pd

    from common.hardware.targets.wearable.emulate import compare

    def check(found: Sequence[np.ndarray]) -> tuple[float, float]:
        return compare(expected, found, name, "what is expected")

    work = _Work(list(inputs), None, runs, warmup, serial)
    row = _maker("c", "fp32")
    rows: list[Row] = []
    for target in targets:
        part = PROGRAM_PARTS[known(target, PROGRAM_PARTS, "part that runs programs")]
        rows += _or_skipped(target, part(target, program, check, work, row), row)
    return pd.DataFrame(rows, columns=list(Row._fields))


class _Work(NamedTuple):
    inputs: list[np.ndarray]
    cores: int | None
    runs: int
    warmup: int
    serial: str | None


def _exports(
    model: Any,
    inputs: Sequence[torch.Tensor],
    calibration: Sequence[Sequence[torch.Tensor]],
    keep_float: Sequence[str],
    folder: Path,
) -> list[Export]:
    if isinstance(model, Export):
        return [model]
    if isinstance(model, Sequence):
        return list(model)
    from common.hardware.targets.wearable.quantize import export_int8_onnx

    made = [export_onnx(model, inputs, folder / "fp32.onnx")]
    if calibration:
        path = folder / "int8.onnx"
        options = {"calibration": calibration, "keep_float": keep_float, "fp32": made[0]}
        made.append(export_int8_onnx(model, inputs, path, **options))
    return made


def _rows(export: Export, targets: Sequence[str], work: _Work) -> Iterator[Row]:
    row = _maker(export.format, export.precision)
    yield from _file(export, row)
    for target in targets:
        part = PARTS.get(target, _chip)
        yield from _or_skipped(target, part(target, export, work, row), row)


def _maker(format: str, precision: str) -> Make:
    def row(target: str, quantity: str, value: float, unit: str, *labels: str, **more: Any) -> Row:
        ends = (more.pop("low", value), more.pop("high", value))
        return Row(target, format, precision, quantity, value, *ends, unit, *labels, **more)

    return row


def _or_skipped(target: str, rows: Iterable[Row], row: Make) -> Iterator[Row]:
    """Pass rows on; what is not available here becomes a row with the reason."""
    try:
        yield from rows
    except (Unavailable, MissingExtra, UnsupportedOperator) as reason:
        yield row(target, "skipped", float("nan"), "", "measured", "", note=str(reason))


Make = Callable[..., Row]


def _file(export: Export, row: Make) -> Iterator[Row]:
    yield row("file", "bytes", float(export.bytes), "B", "measured", "size of the file")
    meter = "largest difference from eager mode"
    yield row("file", "difference", export.max_abs_difference, "", "measured", meter)
    if export.format == "onnx":
        layers = _layers(export)
        macs, weights = costs.total_macs(layers), sum(layer.weight_bytes for layer in layers)
        yield row("file", "macs", float(macs), "MAC", "measured", STATIC)
        yield row("file", "weight_bytes", float(weights), "B", "measured", STATIC)


@lru_cache(maxsize=8)
def _layers(export: Export) -> list[costs.LayerCost]:
    """Costs of the layers of a file, whose digest is part of the record, counted once."""
    return costs.layer_costs(export.path)


def _x86(target: str, export: Export, work: _Work, row: Make) -> Iterator[Row]:
    took = host.time_export(
        export.path, work.inputs, format=export.format, warmup=work.warmup, runs=work.runs
    )
    yield row(target, "latency", took.p50, "s", "measured", took.meter)
    yield row(target, "latency_p95", took.p95, "s", "measured", took.meter)


def _emulator(target: str, export: Export, work: _Work, row: Make) -> Iterator[Row]:
    from common.hardware.targets.wearable.emulate import count_instructions

    _needs_known(export)
    yield _counted(target, count_instructions(export.path, work.inputs), row)


def _program_in_emulator(
    target: str, program: Program, check: Check, work: _Work, row: Make
) -> Iterator[Row]:
    from common.hardware.targets.wearable.emulate import count_program

    yield _counted(target, count_program(program, work.inputs, check), row)


def _counted(target: str, count: Count, row: Make) -> Row:
    ends = {"low": min(count.repeats), "high": max(count.repeats)}
    value, meter = count.instructions, count.meter
    return row(target, "instructions", value, "instructions", "emulated", meter, **ends)


def _device(target: str, export: Export, work: _Work, row: Make) -> Iterator[Row]:
    from common.hardware.targets.wearable.emulate import compare_outputs
    from common.hardware.targets.wearable.watch import Watch

    watch = Watch.attached(work.serial)
    _needs_known(export)
    check = partial(compare_outputs, export.path, work.inputs)
    yield from _timed(target, watch, emit_c(load_graph(export.path)), check, work, row)


def _program_on_device(
    target: str, program: Program, check: Check, work: _Work, row: Make
) -> Iterator[Row]:
    from common.hardware.targets.wearable.watch import Watch

    yield from _timed(target, Watch.attached(work.serial), program, check, work, row)


def _timed(
    target: str, watch: Watch, program: Program, check: Check, work: _Work, row: Make
) -> Iterator[Row]:
    import numpy as np

    found = watch.measure(program, work.inputs, warmup=work.warmup, runs=work.runs)
    check(found.outputs)
    middle, late = np.percentile(found.seconds, [50, 95]).tolist()
    yield row(target, "latency", middle, "s", "measured", found.meter)
    yield row(target, "latency_p95", late, "s", "measured", found.meter)
    told = {
        "clock": (found.after.clock, "Hz"),
        "battery_level": (found.after.level, "%"),
        "current": (found.after.current, "A"),
    }
    for quantity, (value, unit) in told.items():
        if value is not None:
            yield row(target, quantity, value, unit, "measured", f"as {watch.model} says")


def _chip(target: str, export: Export, work: _Work, row: Make) -> Iterator[Row]:
    _needs_known(export)
    layers = _layers(export)
    for quantity, unit, model in (("latency", "s", chips.latency), ("energy", "J", chips.energy)):
        found = model(layers, target, work.cores)
        meter = f"{chips.METER}, {chips.CHIPS[target].name}"
        yield row(target, quantity, found.value, unit, "modelled", meter, low=found.low,
                  high=found.high)  # fmt: skip


def _needs_known(export: Export) -> None:
    """Kernels and coefficients exist for ONNX files in floats and in eight bits."""
    if export.format != "onnx":
        raise Unavailable(f"takes ONNX files, not {export.format}")
    if export.precision == "fp16":
        raise Unavailable("knows floats of 32 bits and integers of eight, not fp16")


PARTS: dict[str, Callable[[str, Export, _Work, Make], Iterator[Row]]] = {
    "device": _device,
    "emulator": _emulator,
    "x86": _x86,
}
PROGRAM_PARTS: dict[str, Callable[[str, Program, Check, _Work, Make], Iterator[Row]]] = {
    "device": _program_on_device,
    "emulator": _program_in_emulator,
}
"""Where a C program of one's own runs; the chips are modelled from layers, which it has not."""
