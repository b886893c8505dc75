"""ExecuTorch programs with the XNNPACK backend."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import known, require
from common.hardware.probe import Unavailable
from common.hardware.targets.wearable.export import (
    EXTRA,
    TOLERANCE,
    Export,
    ExportError,
    describe,
    evaluating,
)
from common.results import write_bytes

if TYPE_CHECKING:
    import torch

PRECISIONS = ("fp32", "int8")


def export_executorch(
    module: torch.nn.Module,
    inputs: Sequence[torch.Tensor],
    path: Path | str,
    *,
    precision: str = "fp32",
    calibration: Sequence[Sequence[torch.Tensor]] = (),
    keep_float: Sequence[str] = (),
    checks: Sequence[Sequence[torch.Tensor]] = (),
    tolerance: float | None = TOLERANCE,
) -> Export:
    """Export a module to an ExecuTorch program and compare it with eager mode.

    Parameters
    ----------
    module, inputs, checks
        As for :func:`~common.hardware.targets.wearable.export.export_onnx`.
    path : Path or str
        Where the ``.pte`` file goes; written atomically.
    precision : {"fp32", "int8"}
        ``int8`` quantises what XNNPACK supports, statically and symmetrically (PT2E).
    calibration : sequence of sequences of Tensor
        Inputs from which the ranges of the activations are taken; ``int8`` needs some.
    keep_float : sequence of str
        Dotted names of modules that ``int8`` leaves in float, such as a logarithmic front end.
    tolerance : float or None
        As for ``export_onnx``, for ``fp32`` alone: what eight bits cost is a result.

    Raises
    ------
    MissingExtra
        If ExecuTorch is not installed.
    ConfigError
        If the precision or a module is unknown; names the closest.
    ValueError
        If an ``int8`` export has no calibration data.
    Unavailable
        If ``int8`` does not work with the installed versions; gives the reason.
    ExportError
        If the module cannot be exported, or the program computes something else.
    """
    known(precision, PRECISIONS, "precision")
    if precision == "int8" and not calibration:
        raise ValueError(
            "quantisation without calibration data: static ranges come from inputs; pass "
            "calibration=[inputs, ...] of the training data"
        )
    names = [name for name, _ in module.named_modules() if name]
    for wanted in keep_float:
        known(wanted, names, "module in keep_float")
    require("executorch.exir", EXTRA)
    path = Path(path)
    with evaluating(module), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside the exporter
        if precision == "int8":
            program = _quantised(module, tuple(inputs), calibration, keep_float)
        else:
            program = _program(module, tuple(inputs))
    write_bytes(path, program)
    checked = [inputs, *checks, *calibration]
    limit = tolerance if precision == "fp32" else None
    return describe(
        module, checked, path, "executorch", precision, tolerance=limit, kept_float=keep_float
    )


def _program(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> bytes:
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    try:
        exported = torch.export.export(module, inputs)
        edge = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
        return bytes(edge.to_executorch().buffer)
    except Exception as error:
        name = type(module).__name__
        raise ExportError(f"{name} cannot be exported to ExecuTorch: {error}") from error


def _quantised(
    module: torch.nn.Module,
    inputs: tuple[torch.Tensor, ...],
    calibration: Sequence[Sequence[torch.Tensor]],
    keep_float: Sequence[str],
) -> bytes:
    quantizer = require("executorch.backends.xnnpack.quantizer.xnnpack_quantizer", EXTRA)
    pt2e: Any = require("torchao.quantization.pt2e.quantize_pt2e", EXTRA)
    import torch

    try:
        recipe = quantizer.XNNPACKQuantizer().set_global(
            quantizer.get_symmetric_quantization_config(is_per_channel=True)
        )
        recipe.set_filter_function(lambda node: not _inside(node, keep_float))
        prepared = pt2e.prepare_pt2e(torch.export.export(module, inputs).module(), recipe)
        for each in calibration:
            prepared(*each)
        converted = pt2e.convert_pt2e(prepared)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise Unavailable(f"int8 through torchao and XNNPACK fails here: {reason}") from error
    return _program(converted, inputs)


def _inside(node: torch.fx.Node, modules: Sequence[str]) -> bool:
    """Whether an exported operation belongs to one of the modules or to what is below it."""
    paths = [path for path, _ in node.meta.get("nn_module_stack", {}).values()]
    # a path ends in the dotted name, with the root in front of it in some versions of PyTorch
    return any(f".{path}".endswith(f".{name}") for path in paths for name in modules)
