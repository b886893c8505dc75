"""Convolutions, dense layers and pooling in C, in floats and in integers."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from common.hardware.targets.wearable.costs import is_int8
from common.hardware.targets.wearable.emit import Emitter, UnsupportedOperator, strides_of
from common.hardware.targets.wearable.graph import Node

PANEL = 8
"""Output channels that a kernel computes together."""


class Operands(NamedTuple):
    """What a layer multiplies, in floats or in integers.

    ``x`` is a C expression, ``zero`` its zero point; ``weights`` an array; ``scale`` turns a sum
    of integer products of each output channel into a float, None in float.
    """

    x: str
    kind: str
    zero: int
    weights: np.ndarray
    scale: np.ndarray | None


class Geometry(NamedTuple):
    """Fields of ``Shape`` in kernels.c: sizes in, kernel, sizes out, steps, padding, dilation."""

    c: int
    h: int
    w: int
    o: int
    kh: int
    kw: int
    oh: int
    ow: int
    sh: int
    sw: int
    top: int
    left: int
    dh: int
    dw: int

    def __str__(self) -> str:
        return f"&(const Shape){{{', '.join(map(str, self))}}}"

    @property
    def pointwise(self) -> bool:
        """Whether the columns are the input itself."""
        whole = (self.kh, self.kw, self.sh, self.sw, self.oh, self.ow)
        return whole == (1, 1, 1, 1, self.h, self.w) and self.oh * self.ow % 4 == 0


def conv(e: Emitter, node: Node) -> None:
    """One or two spatial axes, any groups, steps, dilation and padding."""
    given = _operands(e, node)
    weights = given.weights if given.weights.ndim == 4 else given.weights[:, :, None, :]
    x_shape, y_shape = e.shape(node.inputs[0]), e.shape(node.outputs[0])
    groups = int(node.attributes.get("group", 1))
    outputs, depth = weights.shape[0] // groups, math.prod(weights.shape[1:])
    bias = _bias(e, node)
    y = e.out(node.outputs[0])
    per_x, per_y = math.prod(x_shape[1:]), math.prod(y_shape[1:])
    for item in range(x_shape[0]):
        if groups == x_shape[1] == weights.shape[0] and weights.shape[1] == 1:
            shape = _geometry(node, x_shape, weights.shape, y_shape, x_shape[1], outputs)
            _depthwise(e, given, weights, bias, shape, item * per_x, f"{y} + {item * per_y}")
            continue
        shape = _geometry(node, x_shape, weights.shape, y_shape, weights.shape[1], outputs)
        for group in range(groups):
            mine = slice(group * outputs, (group + 1) * outputs)
            part = weights[mine].reshape(outputs, depth)
            start = item * per_x + group * per_x // groups
            target = f"{y} + {item * per_y + group * per_y // groups}"
            scale = None if given.scale is None else given.scale[mine]
            piece = given._replace(weights=part, scale=scale)
            _columns(e, piece, None if bias is None else bias[mine], shape, start, target)


def gemm(e: Emitter, node: Node) -> None:
    """A dense layer: weights are known, the other input has a row an item."""
    attributes = node.attributes
    given = _operands(e, node)
    if attributes.get("transA") or attributes.get("alpha", 1.0) != 1.0:
        raise UnsupportedOperator(f"Gemm ({node.name}) with transA or alpha")
    if attributes.get("beta", 1.0) != 1.0:
        raise UnsupportedOperator(f"Gemm ({node.name}) with beta")
    weights = given.weights if attributes.get("transB") else given.weights.T
    rows = e.shape(node.inputs[0])[0]
    _dense(e, given._replace(weights=weights), _bias(e, node), rows, e.out(node.outputs[0]))


def matmul(e: Emitter, node: Node) -> None:
    """A dense layer where the second matrix is known, else plain loops."""
    left, right = node.inputs
    if len(e.shape(right)) == 2 and e.value(right) is not None and e.value(left) is None:
        given = _operands(e, node)
        rows = e.size(left) // e.shape(left)[-1]
        return _dense(
            e, given._replace(weights=given.weights.T), None, rows, e.out(node.outputs[0])
        )
    a, b, y = e.ref(left), e.ref(right), e.out(node.outputs[0])
    shape = e.shape(node.outputs[0])
    if min(len(e.shape(left)), len(e.shape(right))) < 2:
        raise UnsupportedOperator(f"MatMul ({node.name}) of a vector")
    batch, (rows, columns), depth = shape[:-2], shape[-2:], e.shape(left)[-1]
    steps_a = strides_of(e.shape(left), shape)
    steps_b = strides_of(e.shape(right), shape)
    steps_y = strides_of(shape)
    e.line(f"memset({y}, 0, {e.size(node.outputs[0])} * sizeof(float));")
    return e.nest(
        (*batch, rows, depth, columns),
        [
            [*steps_a[:-2], depth, 1, 0],
            [*steps_b[:-2], 0, columns, 1],
            [*steps_y[:-2], columns, 0, 1],
        ],
        lambda i, j, k: f"{y}[{k}] += {a}[{i}] * {b}[{j}];",
    )


def window(e: Emitter, node: Node) -> None:
    """Maximum or mean over a sliding window, or over everything."""
    if node.attributes.get("ceil_mode"):
        raise UnsupportedOperator(f"{node.op} ({node.name}) with ceil_mode")
    x_shape, y_shape = e.shape(node.inputs[0]), e.shape(node.outputs[0])
    spatial = x_shape[2:] if node.op.startswith("Global") else node.attributes["kernel_shape"]
    kernel = (0, 0, *spatial) if len(spatial) == 2 else (0, 0, 1, *spatial)
    channels = x_shape[0] * x_shape[1]
    shape = _geometry(node, x_shape, kernel, y_shape, channels, channels)
    x, y = e.ref(node.inputs[0]), e.out(node.outputs[0])
    whole = node.attributes.get("count_include_pad", 0)
    e.line(f"pool({x}, {y}, {shape}, {int(node.op == 'MaxPool')}, {whole});")


# -- parts ---------------------------------------------------------------------------------


def _operands(e: Emitter, node: Node) -> Operands:
    if not is_int8(e.graph, node):
        weights = e.value(node.inputs[1])
        if weights is None:
            raise UnsupportedOperator(f"{node.op} ({node.name}) with weights that are computed")
        return Operands(e.ref(node.inputs[0]), "float", 0, weights.astype(np.float32), None)
    data, kernel = (e.graph.producer(name) for name in node.inputs[:2])
    (step, zero), (steps, zeros) = (
        [e.value(name) for name in made.inputs[1:3]] for made in (data, kernel)
    )
    weights = e.value(kernel.inputs[0])
    if weights.dtype != np.int8 or np.any(zeros):
        raise UnsupportedOperator(f"{node.op} ({node.name}) with weights that are not symmetric")
    scale = (step * steps * np.ones(_outputs(node, weights))).astype(np.float32)
    kind = e.c_type(data.inputs[0])
    return Operands(e.ref(data.inputs[0]), kind, int(zero.item()), weights, scale)


def _outputs(node: Node, weights: np.ndarray) -> int:
    rows = node.op == "Conv" or bool(node.attributes.get("transB"))
    return weights.shape[0] if rows else weights.shape[-1]


def _bias(e: Emitter, node: Node) -> np.ndarray | None:
    if len(node.inputs) < 3 or not node.inputs[2]:
        return None
    value = e.value(node.inputs[2])
    if value is None:
        raise UnsupportedOperator(f"{node.op} ({node.name}) with a bias that is computed")
    channels = e.shape(node.outputs[0])[1]
    return np.broadcast_to(value.astype(np.float32).ravel(), channels)


def _vector(e: Emitter, values: np.ndarray | None) -> str:
    return "NULL" if values is None else e.constant(values)


def _panels(e: Emitter, weights: np.ndarray) -> str:
    """Pack [outputs][depth] as [outputs / 8][depth][8], zeros behind the last output."""
    outputs, depth = weights.shape
    padded = np.zeros((-(-outputs // PANEL) * PANEL, depth), weights.dtype)
    padded[:outputs] = weights
    return e.constant(padded.reshape(-1, PANEL, depth).transpose(0, 2, 1))


def _geometry(
    node: Node,
    x: tuple[int, ...],
    kernel: tuple[int, ...],
    y: tuple[int, ...],
    channels: int,
    outputs: int,
) -> Geometry:
    """Geometry of a window; a single spatial axis is the second of two."""
    auto = node.attributes.get("auto_pad", "NOTSET")
    if len(x) not in (3, 4) or auto not in ("NOTSET", "VALID"):
        raise UnsupportedOperator(f"{node.op} ({node.name}) with {len(x) - 2} axes, {auto}")
    axes = len(x) - 2
    lead = [1] if axes == 1 else []
    steps = [*lead, *node.attributes.get("strides", [1] * axes)]
    dilation = [*lead, *node.attributes.get("dilations", [1] * axes)]
    before = [*(0 for _ in lead), *node.attributes.get("pads", [0] * axes)[:axes]]
    sizes = (channels, *lead, *x[2:], outputs, *kernel[2:], *lead, *y[2:])
    return Geometry(*(int(n) for n in (*sizes, *steps, *before, *dilation)))


def _depthwise(
    e: Emitter,
    given: Operands,
    weights: np.ndarray,
    bias: np.ndarray | None,
    shape: Geometry,
    start: int,
    target: str,
) -> None:
    name = {"float": "depthwise", "uint8_t": "depthwise_u8", "int8_t": "depthwise_s8"}[given.kind]
    e.line(
        f"{name}({given.x} + {start}, {given.zero}, {e.constant(weights)}, {_vector(e, bias)}, "
        f"{_vector(e, given.scale)}, {target}, {shape});"
    )


def _columns(
    e: Emitter, given: Operands, bias: np.ndarray | None, shape: Geometry, start: int, target: str
) -> None:
    """Lay the input out as columns, then multiply."""
    places = shape.oh * shape.ow
    outputs, depth = given.weights.shape
    kind, width = ("float", 4) if given.scale is None else ("int16_t", 2)
    if shape.pointwise and given.scale is None:
        cols = f"{given.x} + {start}"
    else:
        cols = f"({kind} *){e.scratch(depth * -(-places // 4) * 4 * width)}"
        fill = {"float": "columns", "uint8_t": "columns_u8", "int8_t": "columns_s8"}[given.kind]
        e.line(f"{fill}({given.x} + {start}, {given.zero}, {shape}, {cols});")
    function = "multiply" if given.scale is None else "multiply8"
    e.line(
        f"{function}({_factors(e, given, bias)}, {cols}, {target}, {outputs}, {depth}, {places});"
    )


def _dense(e: Emitter, given: Operands, bias: np.ndarray | None, rows: int, y: str) -> None:
    outputs, depth = given.weights.shape
    if given.scale is None:
        function, x = "dense", given.x
    else:
        function, n = "dense8", rows * depth
        x = f"(int16_t *){e.scratch(2 * n)}"
        e.line(f"for (int i = 0; i < {n}; i++) ({x})[i] = {given.x}[i] - {given.zero};")
    e.line(f"{function}({_factors(e, given, bias)}, {x}, {y}, {outputs}, {depth}, {rows});")


def _factors(e: Emitter, given: Operands, bias: np.ndarray | None) -> str:
    """First three arguments of a product: packed weights, bias, scale."""
    return f"{_panels(e, given.weights)}, {_vector(e, bias)}, {_vector(e, given.scale)}"
