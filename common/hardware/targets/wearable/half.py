"""ONNX files whose layers hold and multiply numbers of sixteen bits."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import require
from common.hardware.targets.wearable.export import Export, describe, export_onnx
from common.hardware.targets.wearable.graph import EXTRA, load_graph
from common.hardware.targets.wearable.quantize import QUANTISED, float_layers
from common.results import atomic

if TYPE_CHECKING:
    import torch

TOLERANCE = 1e-2
"""As that of a float export; a rounding to eleven bits is 5e-4, and layers add them up."""


def export_fp16_onnx(
    module: torch.nn.Module,
    inputs: Sequence[torch.Tensor],
    path: Path | str,
    *,
    checks: Sequence[Sequence[torch.Tensor]] = (),
    keep_float: Sequence[str] = (),
    protect_log: bool = True,
    tolerance: float | None = TOLERANCE,
    fp32: Export | None = None,
) -> Export:
    """Export a module to an ONNX file whose convolutions and products are in half precision.

    The same layers as in an eight-bit file, weights and inputs alike; what lies between them is
    computed in float, and so are the ports: a variance or a small constant leaves the range of
    sixteen bits.

    Parameters
    ----------
    module, inputs, path, checks, tolerance
        As for :func:`~common.hardware.targets.wearable.export.export_onnx`.
    keep_float, protect_log, fp32
        As for :func:`~common.hardware.targets.wearable.quantize.export_int8_onnx`.

    Raises
    ------
    ConfigError
        If a name in ``keep_float`` is unknown; names the closest.
    ExportError
        If the file computes something else, such as after an overflow.
    MissingExtra
        If a package is missing.

    Examples
    --------
    >>> import tempfile, torch
    >>> x = [torch.linspace(-1, 1, 8).reshape(1, 8)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = export_fp16_onnx(torch.nn.Linear(8, 2), x, f"{folder}/a.onnx")
    >>> made.precision, 0 < made.max_abs_difference < 1e-3
    ('fp16', True)
    """
    onnx = require("onnx", EXTRA)
    path = Path(path)
    with tempfile.TemporaryDirectory() as folder:
        made = fp32 or export_onnx(module, inputs, Path(folder, "fp32.onnx"))
        kept = float_layers(load_graph(made.path), keep_float, protect_log=protect_log)
        model = onnx.load(str(made.path))
    _halve(model.graph, kept)
    with atomic(path) as temporary:
        onnx.save(model, str(temporary))
    return describe(
        module, [inputs, *checks], path, "onnx", "fp16", tolerance=tolerance, kept_float=kept
    )


def _halve(graph: Any, kept: Sequence[str]) -> None:
    """Let the layers of a graph read and write halves, with conversions around them."""
    constants = {each.name: each for each in graph.initializer}
    known: set[str] = set()
    nodes = []
    for node in graph.node:
        if node.op_type in QUANTISED and node.name not in kept:
            nodes += _halved(graph, node, constants, known)
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    read = {name for node in nodes for name in node.input}
    needed = [each for each in graph.initializer if each.name in read]
    del graph.initializer[:]
    graph.initializer.extend(needed)


def _halved(graph: Any, node: Any, constants: dict[str, Any], known: set[str]) -> Iterator[Any]:
    """The nodes in place of one layer; ``known`` are the tensors that exist as halves already."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    for place, name in enumerate(node.input):
        if not name:
            continue
        half = node.input[place] = f"{name}_half"
        if half in known:
            continue
        known.add(half)
        if name in constants:
            with np.errstate(over="ignore"):  # infinities fail the comparison
                values = numpy_helper.to_array(constants[name]).astype(np.float16)
            graph.initializer.append(numpy_helper.from_array(values, half))
        else:
            yield helper.make_node("Cast", [name], [half], half, to=TensorProto.FLOAT16)
    out = node.output[0]
    half = node.output[0] = f"{out}_half"
    known.add(half)
    yield node
    yield helper.make_node("Cast", [half], [out], f"{out}_float", to=TensorProto.FLOAT)
