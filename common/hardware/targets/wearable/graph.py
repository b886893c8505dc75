"""An ONNX file as plain tables: nodes in order, the shape of every tensor, the constants."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import ConfigError, require

if TYPE_CHECKING:
    import numpy as np

EXTRA = "edge"
SCOPES = "pkg.torch.onnx.name_scopes"
"""Key under which PyTorch's exporter notes the path of modules that a node comes from."""


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes
    ----------
    name, op : str
        Name in the file and ONNX operator.
    inputs, outputs : tuple of str
        Tensors; ``""`` stands for an optional input that is left out.
    attributes : dict
        Attributes as Python values.
    module : str
        Dotted path of the PyTorch module it comes from, ``""`` where the file does not say.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    module: str = ""


@dataclass(frozen=True, eq=False)
class Graph:
    """A graph of fixed shapes.

    Attributes
    ----------
    nodes : tuple of Node
        In an order in which they can run.
    shapes : dict of str to tuple of int
        Shape of every tensor.
    dtypes : dict of str to str
        NumPy name of every tensor's type.
    constants : dict of str to ndarray
        Weights and other tensors whose value is in the file.
    inputs, outputs : tuple of str
        Tensors that come from and go to the caller.
    """

    nodes: tuple[Node, ...]
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]
    constants: dict[str, np.ndarray]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def producer(self, tensor: str) -> Node | None:
        """Node that computes a tensor; None for constants and inputs of the graph."""
        return self._producers.get(tensor)

    def consumers(self, tensor: str) -> list[Node]:
        """Nodes that read a tensor."""
        return [node for node in self.nodes if tensor in node.inputs]

    @property
    def _producers(self) -> dict[str, Node]:
        if "_made_by" not in self.__dict__:
            made_by = {out: node for node in self.nodes for out in node.outputs if out}
            object.__setattr__(self, "_made_by", made_by)
        return self.__dict__["_made_by"]

    def ancestors(self, op: str) -> set[str]:
        """Names of all nodes from which a node of operator ``op`` is computed, without itself."""
        waiting = [tensor for node in self.nodes if node.op == op for tensor in node.inputs]
        found: set[str] = set()
        while waiting:
            node = self.producer(waiting.pop())
            if node is not None and node.name not in found:
                found.add(node.name)
                waiting += node.inputs
        return found


def load_graph(path: Path | str) -> Graph:
    """Read an ONNX file and infer the shape of every tensor.

    Raises
    ------
    MissingExtra
        If the package ``onnx`` is not installed.
    ConfigError
        If the file is not ONNX, or a dimension is not fixed.
    """
    onnx = require("onnx", EXTRA)
    try:
        model = onnx.shape_inference.infer_shapes(onnx.load(str(path)), data_prop=True)
    except (OSError, ValueError, onnx.shape_inference.InferenceError) as error:
        raise ConfigError(f"{path} is not a readable ONNX file: {error}") from error
    except Exception as error:  # protobuf's DecodeError, whose module depends on its version
        raise ConfigError(f"{path} is not an ONNX file: {error}") from error
    graph = model.graph
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    nodes = []
    for place, proto in enumerate(graph.node):
        node = _node(proto, place)
        if node.op == "Constant":
            constants[node.outputs[0]] = next(iter(node.attributes.values()))
        else:
            nodes.append(node)
    shapes = {name: value.shape for name, value in constants.items()}
    dtypes = {name: value.dtype.name for name, value in constants.items()}
    for info in (*graph.input, *graph.value_info, *graph.output):
        tensor = info.type.tensor_type
        shapes[info.name] = _shape(path, info)
        dtypes[info.name] = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    lacking = [out for node in nodes for out in node.outputs if out and out not in shapes]
    if lacking:
        raise ConfigError(f"{path}: the shape of {lacking[0]!r} cannot be inferred")
    return Graph(
        tuple(nodes),
        shapes,
        dtypes,
        constants,
        tuple(info.name for info in graph.input if info.name not in constants),
        tuple(info.name for info in graph.output),
    )


def _shape(path: Path | str, info: Any) -> tuple[int, ...]:
    shape = []
    for axis, dim in enumerate(info.type.tensor_type.shape.dim):
        if not dim.HasField("dim_value"):
            raise ConfigError(
                f"{path}: dimension {axis} of {info.name!r} is free ({dim.dim_param or '?'}); a "
                "cost or a C program needs fixed shapes: export with example inputs of one shape"
            )
        shape.append(dim.dim_value)
    return tuple(shape)


def _node(proto: Any, place: int) -> Node:
    import onnx

    attributes: dict[str, Any] = {}
    for each in proto.attribute:
        value = onnx.helper.get_attribute_value(each)
        if isinstance(value, onnx.TensorProto):
            value = onnx.numpy_helper.to_array(value)
        elif isinstance(value, bytes):
            value = value.decode()
        elif not isinstance(value, int | float | str):
            value = list(value)
        attributes[each.name] = value
    scopes = {each.key: each.value for each in proto.metadata_props}.get(SCOPES, "[]")
    return Node(
        proto.name or f"{proto.op_type.lower()}_{place}",
        proto.op_type,
        tuple(proto.input),
        tuple(proto.output),
        attributes,
        _module(scopes),
    )


def _module(scopes: str) -> str:
    """Path of the innermost module; the last scope is the node itself, the first the root."""
    try:
        names = ast.literal_eval(scopes)
    except (ValueError, SyntaxError):
        return ""
    return names[-2] if len(names) > 1 else ""
