"""What a network costs, layer by layer, counted on its exported graph."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from common.errors import ConfigError
from common.hardware.targets.wearable.graph import Graph, Node, load_graph

# They change how a tensor is read, not what is in it.
FREE = frozenset({"Constant", "Flatten", "Identity", "Reshape", "Shape", "Squeeze", "Unsqueeze"})
# They multiply in a way that is not counted here; a cost of zero would be a lie.
UNCOUNTED = frozenset({"Attention", "DFT", "Einsum", "RNN", "STFT", "QLinearConv", "QLinearMatMul"})
GATES = {"LSTM": 4, "GRU": 3}


@dataclass(frozen=True)
class LayerCost:
    """Cost of one node of a graph.

    Attributes
    ----------
    name : str
        Name of the node.
    kind : str
        ``conv``, ``depthwise``, ``dense``, ``recurrent`` or ``elementwise`` (no products of
        weights: activations, pooling, copies, conversions).
    macs : int
        Multiply-accumulate operations, counted with those on padding, as is usual.
    weight_bytes, activation_bytes : int
        Bytes of its weights, and of what it reads and writes besides.
    precision : str
        ``int8`` where weights and activations are quantised, else ``fp32``.
    module : str
        Dotted path of the PyTorch module it comes from, where known.
    """

    name: str
    kind: str
    macs: int
    weight_bytes: int
    activation_bytes: int
    precision: str = "fp32"
    module: str = ""


def layer_costs(onnx_path: Path | str) -> list[LayerCost]:
    """Count multiply-accumulates and bytes of every layer of an ONNX file.

    Works on float files and on files with QuantizeLinear and DequantizeLinear pairs, where the
    bytes are those of the quantised tensors. Reshapes are free and have no entry.

    Parameters
    ----------
    onnx_path : Path or str
        File with fixed shapes.

    Raises
    ------
    ConfigError
        If the file is not ONNX, a shape is not fixed, or an operator multiplies in a way that
        is not counted.

    Examples
    --------
    A convolution from 6 to 256 channels over 5 samples of a window of 50:

    >>> import tempfile
    >>> from onnx import TensorProto, helper, save
    >>> x, w, y = (
    ...     helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    ...     for name, shape in [("x", (1, 6, 50)), ("w", (256, 6, 5)), ("y", (1, 256, 46))]
    ... )
    >>> conv = helper.make_node("Conv", ["x", "w"], ["y"], name="conv")
    >>> with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
    ...     save(helper.make_model(helper.make_graph([conv], "g", [x, w], [y])), file.name)
    ...     (cost,) = layer_costs(file.name)
    >>> cost.macs == 46 * 256 * 6 * 5
    True
    """
    return graph_costs(load_graph(onnx_path))


def graph_costs(graph: Graph) -> list[LayerCost]:
    """Do the same for a graph that is already read."""
    return [_cost(graph, node) for node in graph.nodes if not _free(graph, node)]


def total_macs(costs: list[LayerCost]) -> int:
    """Sum of the multiply-accumulates."""
    return sum(cost.macs for cost in costs)


def is_int8(graph: Graph, node: Node) -> bool:
    """Whether a layer multiplies integers: data and weights both come out of DequantizeLinear."""
    if node.op not in ("Conv", "Gemm", "MatMul"):
        return False
    made = [graph.producer(name) for name in node.inputs[:2]]
    return all(each is not None and each.op == "DequantizeLinear" for each in made)


def _free(graph: Graph, node: Node) -> bool:
    """Whether a node does nothing at run time: a reshape, a weight, part of an integer layer."""
    if node.op in FREE or all(_constant(graph, name) for name in node.inputs if name):
        return True
    if node.op == "DequantizeLinear":
        readers = graph.consumers(node.outputs[0])
        return bool(readers) and all(is_int8(graph, reader) for reader in readers)
    made = graph.producer(node.inputs[0])
    return node.op == "QuantizeLinear" and made is not None and is_int8(graph, made)


def _cost(graph: Graph, node: Node) -> LayerCost:
    macs, kind = _macs(graph, node)
    stored = _stored if is_int8(graph, node) else (lambda graph, name: name)
    reads = [stored(graph, name) for name in node.inputs if name]
    weights = [name for name in reads if _constant(graph, name)]
    others = [name for name in reads if name not in weights]
    written = [_written(graph, node, name) for name in node.outputs if name]
    weighted = [name for name in weights if graph.shapes[name]]
    return LayerCost(
        node.name,
        kind,
        macs,
        sum(_bytes(graph, name) for name in weighted),
        sum(_bytes(graph, name) for name in (*others, *written)),
        "int8" if is_int8(graph, node) else "fp32",
        node.module,
    )


def _macs(graph: Graph, node: Node) -> tuple[int, str]:
    if node.op in UNCOUNTED:
        raise ConfigError(
            f"the multiplications of operator {node.op} ({node.name}) are not counted; express it "
            "through Conv, Gemm, MatMul, LSTM or GRU"
        )
    shapes = [graph.shapes.get(name, ()) for name in node.inputs]
    out = math.prod(graph.shapes[node.outputs[0]]) if node.outputs[0] else 0
    if node.op in ("Conv", "ConvInteger"):
        kernel, group = shapes[1], int(node.attributes.get("group", 1))
        kind = "depthwise" if group > 1 and kernel[1] == 1 else "conv"
        return out * math.prod(kernel[1:]), kind
    if node.op == "ConvTranspose":
        return math.prod(shapes[0]) * math.prod(shapes[1][1:]), "conv"
    if node.op in ("MatMul", "MatMulInteger"):
        return out * shapes[0][-1], "dense"
    if node.op == "Gemm":
        return out * shapes[0][0 if node.attributes.get("transA") else 1], "dense"
    if node.op in GATES:
        steps, batch, width = shapes[0]
        directions, _, hidden = shapes[2]
        each = GATES[node.op] * hidden * (width + hidden)
        return steps * batch * directions * each, "recurrent"
    return 0, "elementwise"


def _constant(graph: Graph, name: str) -> bool:
    """Whether a tensor is known before the first input: a constant, or one dequantised."""
    if name in graph.constants:
        return True
    made = graph.producer(name)
    return made is not None and all(_constant(graph, each) for each in made.inputs if each)


def _stored(graph: Graph, name: str) -> str:
    """Tensor that really lies in memory: the integers behind a DequantizeLinear."""
    made = graph.producer(name)
    return made.inputs[0] if made is not None and made.op == "DequantizeLinear" else name


def _written(graph: Graph, node: Node, name: str) -> str:
    """Tensor that is really written: the integers where an integer layer is quantised again."""
    readers = graph.consumers(name)
    again = len(readers) == 1 and readers[0].op == "QuantizeLinear"
    return readers[0].outputs[0] if again and is_int8(graph, node) else name


def _bytes(graph: Graph, name: str) -> int:
    import numpy as np

    return math.prod(graph.shapes[name]) * np.dtype(graph.dtypes[name]).itemsize
