"""Eight-bit ONNX files, with the nodes that must not be quantised kept in float."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import ConfigError, did_you_mean, known, require
from common.hardware.targets.wearable.export import Export, describe, export_onnx
from common.hardware.targets.wearable.graph import EXTRA, Graph, load_graph
from common.results import atomic

if TYPE_CHECKING:
    import torch

MODES = ("static", "dynamic")
QUANTISED = ("Conv", "Gemm", "MatMul")
"""Operators that hold the weights and the work; everything else stays in float."""


def export_int8_onnx(
    module: torch.nn.Module,
    inputs: Sequence[torch.Tensor],
    path: Path | str,
    *,
    calibration: Sequence[Sequence[torch.Tensor]] = (),
    mode: str = "static",
    keep_float: Sequence[str] = (),
    protect_log: bool = True,
    weight_bits: int = 7,
    tolerance: float | None = None,
    fp32: Export | None = None,
    **names: Sequence[str],
) -> Export:
    """Export a module to an ONNX file with eight-bit weights and, statically, activations.

    Parameters
    ----------
    module, inputs, path
        As for :func:`~common.hardware.targets.wearable.export.export_onnx`.
    calibration : sequence of sequences of Tensor
        Inputs from which the ranges of the activations are taken; ``static`` needs some.
    mode : {"static", "dynamic"}
        ``dynamic`` quantises dense layers only and finds ranges at run time.
    keep_float : sequence of str
        Names of nodes, or of PyTorch modules with all that is below them, to leave in float.
    protect_log : bool
        Keep in float everything from which a logarithm is computed: a spectrogram spans many
        orders of magnitude, of which eight bits hold two.
    weight_bits : {7, 8}
        Bits that weights use of their byte. x86 processors without VNNI add pairs of products of
        eight bits in sixteen and saturate; with seven bits every processor gives the same sums.
    tolerance : float or None
        As for :func:`~common.hardware.targets.wearable.export.export_onnx`; none by default,
        because what eight bits cost is a result.
    fp32 : Export, optional
        The float file of the same module, if there is one: exporting takes far longer than
        quantising, so several precisions share it. Its ports keep their names.
    **names
        ``input_names`` and ``output_names``, where ``fp32`` is not given.

    Returns
    -------
    Export
        ``max_abs_difference`` is taken from eager float mode, over inputs and calibration data.

    Raises
    ------
    ValueError
        If a static export has no calibration data.
    ConfigError
        If a name in ``keep_float`` or the mode is unknown (names the closest), or ``fp32`` is no
        float ONNX file.
    MissingExtra
        If a package is missing.

    Examples
    --------
    >>> import tempfile, torch
    >>> x = [torch.linspace(-1, 1, 8).reshape(1, 8)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = export_int8_onnx(
    ...         torch.nn.Linear(8, 2), x, f"{folder}/a.onnx", calibration=[x]
    ...     )
    >>> made.precision, made.max_abs_difference < 0.05
    ('int8', True)
    """
    known(mode, MODES, "quantisation mode")
    if weight_bits not in (7, 8):
        raise ConfigError(f"weight_bits={weight_bits!r} is not allowed; pass 7 or 8")
    if mode == "static" and not calibration:
        raise ValueError(
            "quantisation without calibration data: static ranges come from inputs; pass "
            "calibration=[inputs, ...] of the training data, or mode='dynamic'"
        )
    if fp32 is not None and (fp32.format, fp32.precision) != ("onnx", "fp32"):
        raise ConfigError(
            f"fp32 is a file in {fp32.format} {fp32.precision}; pass what export_onnx returned"
        )
    require("onnxruntime.quantization", EXTRA)
    path = Path(path)
    with tempfile.TemporaryDirectory() as folder:
        made = fp32 or export_onnx(module, inputs, Path(folder, "fp32.onnx"), **names)
        whole, graph = made.path, load_graph(made.path)
        kept = float_layers(graph, keep_float, protect_log=protect_log)
        with _quiet(), atomic(path) as temporary:
            if mode == "static":
                _quantise_static(whole, temporary, graph, calibration, kept, weight_bits == 7)
            else:
                _quantise_dynamic(whole, temporary, kept, weight_bits == 7)
    precision = "int8" if mode == "static" else "int8 dynamic"
    return describe(
        module,
        [inputs, *calibration],
        path,
        "onnx",
        precision,
        tolerance=tolerance,
        kept_float=kept,
    )


def float_layers(graph: Graph, keep_float: Sequence[str], *, protect_log: bool) -> list[str]:
    """Names of the nodes of a quantised kind that stay in float."""
    protected = graph.ancestors("Log") if protect_log else set()
    for wanted in keep_float:
        inside = {
            node.name
            for node in graph.nodes
            if wanted in (node.name, node.module) or node.module.startswith(f"{wanted}.")
        }
        if not inside:
            allowed = {node.name for node in graph.nodes} | {node.module for node in graph.nodes}
            hint = did_you_mean(wanted, allowed - {""})
            raise ConfigError(f"keep_float: no node or module is called {wanted!r}{hint}")
        protected |= inside
    return [n.name for n in graph.nodes if n.name in protected and n.op in QUANTISED]


def _quantise_static(
    whole: Path,
    path: Path,
    graph: Graph,
    calibration: Sequence[Sequence[torch.Tensor]],
    kept: list[str],
    reduce_range: bool,
) -> None:
    from onnxruntime import quantization as q

    class Reader(q.CalibrationDataReader):
        def __init__(self) -> None:
            self._waiting = iter(calibration)

        def get_next(self) -> dict[str, Any] | None:
            inputs = next(self._waiting, None)
            if inputs is None:
                return None
            arrays = [tensor.detach().cpu().numpy() for tensor in inputs]
            return dict(zip(graph.inputs, arrays, strict=True))

    q.quantize_static(
        str(whole),
        str(path),
        Reader(),
        quant_format=q.QuantFormat.QDQ,
        op_types_to_quantize=list(QUANTISED),
        nodes_to_exclude=kept,
        per_channel=True,
        reduce_range=reduce_range,
        activation_type=q.QuantType.QUInt8,
        weight_type=q.QuantType.QInt8,
    )


def _quantise_dynamic(whole: Path, path: Path, kept: list[str], reduce_range: bool) -> None:
    from onnxruntime import quantization as q

    q.quantize_dynamic(
        str(whole),
        str(path),
        op_types_to_quantize=["Gemm", "MatMul"],
        nodes_to_exclude=kept,
        per_channel=True,
        reduce_range=reduce_range,
        weight_type=q.QuantType.QInt8,
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the advice to pre-process, which the exporter has done already."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
