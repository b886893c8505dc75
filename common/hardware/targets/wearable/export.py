"""A PyTorch module as a file for a device, with the proof that the file computes the same.

Export lives beside the target because a file is the first thing every step here needs; it
needs no device itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import RepriseError, require
from common.hardware.targets.wearable.graph import EXTRA, SCOPES
from common.results import write_bytes

if TYPE_CHECKING:
    import numpy as np
    import torch

OPSET = 20
TOLERANCE = 1e-4
"""Largest allowed difference of a float export, in units of the largest output (at least 1)."""

Runner = Callable[[Sequence["np.ndarray"]], "list[np.ndarray]"]


class ExportError(RepriseError):
    """A module cannot be exported, or its export computes something else."""


@dataclass(frozen=True)
class Port:
    """Name, shape and NumPy type of an input or output."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Export:
    """One exported file.

    Attributes
    ----------
    path : Path
        The file.
    format : str
        ``onnx`` or ``executorch``.
    precision : str
        ``fp32``, ``fp16``, ``int8`` (static) or ``int8 dynamic``.
    bytes : int
        Size of the file.
    sha256 : str
        Its digest.
    inputs, outputs : tuple of Port
        What it takes and gives.
    max_abs_difference : float
        Largest absolute difference from the module in eager mode, over all checked inputs.
    scale : float
        Largest absolute output of the module, so that the difference can be judged.
    kept_float : tuple of str
        Nodes that stay in float although their kind does not.
    """

    path: Path
    format: str
    precision: str
    bytes: int
    sha256: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    max_abs_difference: float
    scale: float
    kept_float: tuple[str, ...] = ()


def export_onnx(
    module: torch.nn.Module,
    inputs: Sequence[torch.Tensor],
    path: Path | str,
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    checks: Sequence[Sequence[torch.Tensor]] = (),
    tolerance: float | None = TOLERANCE,
) -> Export:
    """Export a module to one ONNX file of fixed shapes and compare it with eager mode.

    Parameters
    ----------
    module : torch.nn.Module
        Exported in evaluation mode; its own mode is restored.
    inputs : sequence of Tensor
        Example inputs; their shapes become those of the file.
    path : Path or str
        Where the file goes; written atomically.
    input_names, output_names : sequence of str, optional
        Names of the ports; by default those of ``forward`` and of the exporter.
    checks : sequence of sequences of Tensor
        Further inputs to compare on; ``inputs`` are always compared.
    tolerance : float or None
        Largest difference over the largest output (at least 1); None accepts any.

    Returns
    -------
    Export

    Raises
    ------
    MissingExtra
        If onnx, onnxscript or onnxruntime is not installed.
    ExportError
        If the exporter refuses the module, or the file computes something else.

    Examples
    --------
    >>> import tempfile, torch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = export_onnx(torch.nn.Linear(4, 2), [torch.ones(1, 4)], f"{folder}/a.onnx")
    >>> made.inputs[0].shape, made.max_abs_difference < 1e-6
    ((1, 4), True)
    """
    require("onnxruntime", EXTRA)
    model = onnx_model(module, inputs, input_names=input_names, output_names=output_names)
    path = Path(path)
    write_bytes(path, model.SerializeToString())
    return describe(module, [inputs, *checks], path, "onnx", "fp32", tolerance=tolerance)


def onnx_model(
    module: torch.nn.Module,
    inputs: Sequence[torch.Tensor],
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    dynamic_shapes: Any = None,
) -> Any:
    """One pass of PyTorch's exporter, which takes seconds before its first operator.

    Parameters
    ----------
    module, inputs, input_names, output_names
        As for :func:`export_onnx`.
    dynamic_shapes : sequence, optional
        Sizes that stay free, as for :func:`torch.export.export`; by default none.

    Returns
    -------
    onnx.ModelProto
        Its nodes name the modules that they come from, and no folder.

    Raises
    ------
    MissingExtra
        If onnx or onnxscript is not installed.
    ExportError
        If the exporter refuses the module.
    """
    torch = require("torch", "torch")
    require("onnx", EXTRA)
    require("onnxscript", EXTRA)
    names = {"input_names": input_names, "output_names": output_names}
    with evaluating(module), _quiet():
        try:
            program = torch.onnx.export(
                module,
                tuple(inputs),
                dynamo=True,
                opset_version=OPSET,
                dynamic_shapes=dynamic_shapes,
                external_data=False,
                verbose=False,
                **{key: list(value) for key, value in names.items() if value},
            )
        except Exception as error:
            raise ExportError(f"{_name(module)} cannot be exported to ONNX: {error}") from error
    model = program.model_proto
    _strip(model)
    return model


def describe(
    module: torch.nn.Module,
    checked: Sequence[Sequence[torch.Tensor]],
    path: Path,
    format: str,
    precision: str,
    *,
    tolerance: float | None,
    kept_float: Sequence[str] = (),
) -> Export:
    """Compare a file with its module and return its record; a file that fails is removed."""
    import numpy as np

    run = RUNNERS[format](path)
    difference = scale = 0.0
    for inputs in checked:
        arrays = [tensor.detach().cpu().numpy() for tensor in inputs]
        expected, found = eager(module, inputs), run(arrays)
        # unlike Python's max, this keeps a NaN
        difference = float(np.maximum(difference, _distance(expected, found)))
        scale = max(scale, *(float(abs(each).max(initial=0.0)) for each in expected))
    if tolerance is not None and not difference <= tolerance * max(1.0, scale):
        path.unlink()
        raise ExportError(
            f"the {format} {precision} export of {_name(module)} differs from eager mode by "
            f"{difference:.3g} (largest output {scale:.3g}, tolerance {tolerance:g} of it); "
            "look for an operator that depends on the input's values, or pass tolerance="
        )
    names = _port_names(path, format, len(arrays), len(expected))
    content = path.read_bytes()
    return Export(
        path,
        format,
        precision,
        len(content),
        hashlib.sha256(content).hexdigest(),
        tuple(_port(*pair) for pair in zip(names[0], arrays, strict=True)),
        tuple(_port(*pair) for pair in zip(names[1], expected, strict=True)),
        difference,
        scale,
        tuple(kept_float),
    )


def eager(module: torch.nn.Module, inputs: Sequence[torch.Tensor]) -> list[np.ndarray]:
    """Outputs of the module in evaluation mode."""
    import torch

    with evaluating(module), torch.no_grad():
        outputs = module(*inputs)
    outputs = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)
    return [each.detach().cpu().numpy() for each in outputs]


@contextlib.contextmanager
def evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode for the block."""
    modes = [(each, each.training) for each in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for each, mode in modes:
            each.training = mode


def onnx_session(path: Path | str, threads: int = 1, *, literal: bool = False) -> Any:
    """ONNX Runtime session on the CPU with a fixed number of threads.

    ``literal`` computes node by node what the file says; by default integer layers are fused,
    and their sums may saturate on processors without VNNI.
    """
    runtime = require("onnxruntime", EXTRA)
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    if literal:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def onnx_runner(path: Path) -> Runner:
    """Run an ONNX file on arrays."""
    session = onnx_session(path)
    names = [each.name for each in session.get_inputs()]
    return lambda arrays: session.run(None, dict(zip(names, arrays, strict=True)))


def executorch_runner(path: Path) -> Runner:
    """Run an ExecuTorch program on arrays."""
    runtime = require("executorch.runtime", EXTRA)
    import torch

    content = path.read_bytes()
    program = runtime.Runtime.get().load_program(content)
    method = program.load_method("forward")

    # a method reads the memory of its program, which has to live as long: hence the default
    def run(arrays: Sequence[np.ndarray], _owners: Any = (content, program)) -> list[np.ndarray]:
        # the program owns its outputs and overwrites them in the next call
        outputs = method.execute([torch.from_numpy(each) for each in arrays])
        return [each.numpy().copy() for each in outputs]

    return run


RUNNERS: dict[str, Callable[[Path], Runner]] = {
    "onnx": onnx_runner,
    "executorch": executorch_runner,
}


def _distance(expected: list[np.ndarray], found: list[np.ndarray]) -> float:
    import numpy as np

    if [each.shape for each in expected] != [each.shape for each in found]:
        shapes = [each.shape for each in found], [each.shape for each in expected]
        raise ExportError(f"the export gives shapes {shapes[0]}, eager mode {shapes[1]}")
    pairs = zip(expected, found, strict=True)
    gaps = [np.abs(np.subtract(a, b, dtype=np.float64)).max(initial=0.0) for a, b in pairs]
    return float(np.max(gaps))


def _port(name: str, array: np.ndarray) -> Port:
    return Port(name, tuple(array.shape), array.dtype.name)


def _port_names(path: Path, format: str, taken: int, given: int) -> tuple[list[str], list[str]]:
    if format != "onnx":  # positions only
        return [f"input {n}" for n in range(taken)], [f"output {n}" for n in range(given)]
    session = onnx_session(path)
    return [p.name for p in session.get_inputs()], [p.name for p in session.get_outputs()]


def _strip(model: Any) -> None:
    """Leave module paths in the file and drop stack traces, which hold the exporter's folders."""
    graph = model.graph
    del graph.metadata_props[:]
    for each in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del each.metadata_props[:]
    for node in graph.node:
        scopes = [(p.key, p.value) for p in node.metadata_props if p.key == SCOPES]
        del node.metadata_props[:]
        node.doc_string = ""
        for key, value in scopes:
            node.metadata_props.add(key=key, value=value)


def _name(module: Any) -> str:
    return type(module).__name__


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's notices about packages and deprecations that concern nobody here."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch.export")]
    levels = [each.level for each in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for each in loggers:
                each.setLevel(logging.ERROR)
            yield
        finally:
            for each, level in zip(loggers, levels, strict=True):
                each.setLevel(level)
