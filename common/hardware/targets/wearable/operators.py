"""How each ONNX operator is written in C."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from common.hardware.targets.wearable.costs import is_int8
from common.hardware.targets.wearable.emit import Emitter, UnsupportedOperator, strides_of
from common.hardware.targets.wearable.graph import Node
from common.hardware.targets.wearable.products import conv, gemm, matmul, window

UNARY: dict[str, Callable[[dict[str, Any]], str]] = {
    "Abs": lambda a: "fabsf(x)",
    "Elu": lambda a: f"x > 0 ? x : {a.get('alpha', 1.0)}f * expm1f(x)",
    "Erf": lambda a: "erff(x)",
    "Exp": lambda a: "expf(x)",
    "HardSigmoid": lambda a: f"hard_sigmoid(x, {a.get('alpha', 0.2)}f, {a.get('beta', 0.5)}f)",
    "HardSwish": lambda a: "x * hard_sigmoid(x, 1.0f / 6, 0.5f)",
    "LeakyRelu": lambda a: f"x > 0 ? x : {a.get('alpha', 0.01)}f * x",
    "Log": lambda a: "logf(x)",
    "Neg": lambda a: "-x",
    "Reciprocal": lambda a: "1 / x",
    "Relu": lambda a: "x > 0 ? x : 0",
    "Sigmoid": lambda a: "sigmoid(x)",
    "Sqrt": lambda a: "sqrtf(x)",
    "Tanh": lambda a: "tanhf(x)",
}
BINARY = {
    "Add": "a + b",
    "Div": "a / b",
    "Max": "fmaxf(a, b)",
    "Min": "fminf(a, b)",
    "Mul": "a * b",
    "Pow": "powf(a, b)",
    "Sub": "a - b",
}
REDUCTIONS = {
    "ReduceMax": ("-INFINITY", "fmaxf(y, x)"),
    "ReduceMean": ("0", "y + x"),
    "ReduceMin": ("INFINITY", "fminf(y, x)"),
    "ReduceSum": ("0", "y + x"),
    "ReduceSumSquare": ("0", "y + x * x"),
}


def unary(e: Emitter, node: Node) -> None:
    """One input, element by element."""
    x, y, n = e.ref(node.inputs[0]), e.out(node.outputs[0]), e.size(node.outputs[0])
    formula = UNARY[node.op](node.attributes)
    e.line(f"for (int i = 0; i < {n}; i++) {{ const float x = {x}[i]; {y}[i] = {formula}; }}")


def binary(e: Emitter, node: Node) -> None:
    """Two inputs, broadcast against each other."""
    if len(node.inputs) != 2:
        raise UnsupportedOperator(f"{node.op} ({node.name}) of {len(node.inputs)} inputs, not 2")
    left, right = node.inputs
    shape = e.shape(node.outputs[0])
    exponent = e.value(right) if node.op == "Pow" else None
    square = exponent is not None and exponent.size == 1 and exponent.item() == 2
    formula = "a * a" if square else BINARY[node.op]
    a, b, y = e.ref(left), e.ref(right), e.out(node.outputs[0])
    steps = [strides_of(e.shape(left), shape), strides_of(e.shape(right), shape)]
    e.nest(
        shape,
        [*steps, strides_of(shape)],
        lambda i, j, k: (
            f"{{ const float a = {a}[{i}], b = {b}[{j}]; (void)b; {y}[{k}] = {formula}; }}"
        ),
    )


def clip(e: Emitter, node: Node) -> None:
    """Bounds that are constants or left out."""
    ends = []
    for place, default in ((1, "-INFINITY"), (2, "INFINITY")):
        name = node.inputs[place] if len(node.inputs) > place else ""
        value = e.value(name) if name else None
        if name and value is None:
            raise UnsupportedOperator(f"Clip ({node.name}) with a bound that is computed")
        ends.append(default if value is None else f"{float(value.item()):.9e}f")
    x, y, n = e.ref(node.inputs[0]), e.out(node.outputs[0]), e.size(node.outputs[0])
    e.line(f"for (int i = 0; i < {n}; i++) {y}[i] = clampf({x}[i], {ends[0]}, {ends[1]});")


def reduction(e: Emitter, node: Node) -> None:
    """Fold axes into one number; axes are an attribute or, in later versions, an input."""
    shape = e.shape(node.inputs[0])
    axes = node.attributes.get("axes")
    if axes is None and len(node.inputs) > 1 and node.inputs[1]:
        axes = e.value(node.inputs[1]).tolist()
    folded = {axis % len(shape) for axis in axes} if axes else set(range(len(shape)))
    kept = [1 if axis in folded else n for axis, n in enumerate(shape)]
    first, formula = REDUCTIONS[node.op]
    x, y, n = e.ref(node.inputs[0]), e.out(node.outputs[0]), e.size(node.outputs[0])
    e.line(f"for (int i = 0; i < {n}; i++) {y}[i] = {first};")
    steps = [strides_of(shape), strides_of(kept)]
    e.nest(
        shape,
        steps,
        lambda i, j: f"{{ const float x = {x}[{i}], y = {y}[{j}]; {y}[{j}] = {formula}; }}",
    )
    if node.op == "ReduceMean":
        share = e.size(node.inputs[0]) // n
        e.line(f"for (int i = 0; i < {n}; i++) {y}[i] *= 1.0f / {share};")


def reshape(e: Emitter, node: Node) -> None:
    """Another shape of the same numbers."""
    e.alias(node.outputs[0], node.inputs[0])


def layout(e: Emitter, node: Node) -> None:
    """Operators that only move elements: where each comes from is found out once, here."""
    source = np.arange(e.size(node.inputs[0]), dtype=np.int32)
    source = MOVES[node.op](e, node, source.reshape(e.shape(node.inputs[0])))
    flat = np.ascontiguousarray(source).ravel()
    _move(e, flat, e.ref(node.inputs[0]), e.out(node.outputs[0]), e.c_type(node.outputs[0]))


def pad(e: Emitter, node: Node) -> None:
    """Constant, reflected or repeated borders."""
    mode = node.attributes.get("mode", "constant")
    if mode != "constant":
        return layout(e, node)
    fill = e.value(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
    x, y, kind = e.ref(node.inputs[0]), e.out(node.outputs[0]), e.c_type(node.outputs[0])
    border = 0.0 if fill is None else float(fill.item())
    e.line(f"for (int i = 0; i < {e.size(node.outputs[0])}; i++) {y}[i] = {border:.9e};")
    target = np.arange(e.size(node.outputs[0]), dtype=np.int32).reshape(e.shape(node.outputs[0]))
    shape, widths = e.shape(node.inputs[0]), _pads(e, node)
    inside = target[tuple(slice(w[0], w[0] + n) for w, n in zip(widths, shape, strict=True))]
    return _move(e, inside.ravel(), x, y, kind, scatter=True)


def concat(e: Emitter, node: Node) -> None:
    """Tensors side by side along an axis."""
    y, kind = e.out(node.outputs[0]), e.c_type(node.outputs[0])
    target = np.arange(e.size(node.outputs[0]), dtype=np.int32).reshape(e.shape(node.outputs[0]))
    ends = np.cumsum([e.shape(name)[node.attributes["axis"]] for name in node.inputs])
    parts = np.split(target, ends[:-1], axis=node.attributes["axis"])
    for name, part in zip(node.inputs, parts, strict=True):
        _move(e, part.ravel(), e.ref(name), y, kind, scatter=True)


def split(e: Emitter, node: Node) -> None:
    """A tensor cut into pieces along an axis."""
    x, axis = node.inputs[0], node.attributes.get("axis", 0)
    source = np.arange(e.size(x), dtype=np.int32).reshape(e.shape(x))
    ends = np.cumsum([e.shape(name)[axis] for name in node.outputs])
    for name, part in zip(node.outputs, np.split(source, ends[:-1], axis), strict=True):
        _move(e, part.ravel(), e.ref(x), e.out(name), e.c_type(name))


def batch_norm(e: Emitter, node: Node) -> None:
    """With known statistics it is one product and one sum a channel."""
    scale, bias, mean, variance = (e.value(name) for name in node.inputs[1:5])
    factor = scale / np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
    a, b = (e.constant(v.astype(np.float32)) for v in (factor, bias - mean * factor))
    shape = e.shape(node.inputs[0])
    x, y = e.ref(node.inputs[0]), e.out(node.outputs[0])
    channel = [1 if axis == 1 else 0 for axis in range(len(shape))]
    e.nest(
        shape,
        [strides_of(shape), channel],
        lambda i, c: f"{y}[{i}] = {x}[{i}] * {a}[{c}] + {b}[{c}];",
    )


def instance_norm(e: Emitter, node: Node) -> None:
    """Every channel of every item by itself; GroupNorm is exported as this on another shape."""
    shape = e.shape(node.inputs[0])
    _normalised(e, node, shape[0] * shape[1], 1, e.value(node.inputs[1]), e.value(node.inputs[2]))


def layer_norm(e: Emitter, node: Node) -> None:
    """Over the trailing axes."""
    shape = e.shape(node.inputs[0])
    axis = node.attributes.get("axis", -1) % len(shape)
    bias = e.value(node.inputs[2]) if len(node.inputs) > 2 else None
    _normalised(e, node, math.prod(shape[:axis]), axis, e.value(node.inputs[1]), bias)


def softmax(e: Emitter, node: Node) -> None:
    """Over the last axis."""
    shape = e.shape(node.inputs[0])
    if node.attributes.get("axis", -1) % len(shape) != len(shape) - 1:
        raise UnsupportedOperator(f"Softmax ({node.name}) over another than the last axis")
    x, y = e.ref(node.inputs[0]), e.out(node.outputs[0])
    e.line(f"softmax({x}, {y}, {math.prod(shape[:-1])}, {shape[-1]});")


def quantize(e: Emitter, node: Node) -> None:
    """Floats to integers with one scale."""
    scale, zero = e.value(node.inputs[1]), e.value(node.inputs[2])
    if scale is None or scale.size != 1:
        raise UnsupportedOperator(f"QuantizeLinear ({node.name}) with a scale a channel")
    bounds = np.iinfo(zero.dtype)
    x, y, n = e.ref(node.inputs[0]), e.out(node.outputs[0]), e.size(node.outputs[0])
    e.line(
        f"for (int i = 0; i < {n}; i++) {y}[i] = quantised({x}[i], {scale.item():.9e}f, "
        f"{zero.item()}, {bounds.min}, {bounds.max});"
    )


def dequantize(e: Emitter, node: Node) -> None:
    """Integers to floats, unless only integer layers, which read them as they are, follow."""
    if e.value(node.outputs[0]) is not None:
        return
    readers = e.graph.consumers(node.outputs[0])
    if node.outputs[0] not in e.graph.outputs and all(is_int8(e.graph, r) for r in readers):
        return
    scale, zero = e.value(node.inputs[1]), e.value(node.inputs[2])
    x, y, n = e.ref(node.inputs[0]), e.out(node.outputs[0]), e.size(node.outputs[0])
    e.line(
        f"for (int i = 0; i < {n}; i++) {y}[i] = ({x}[i] - {zero.item()}) * {scale.item():.9e}f;"
    )


def _normalised(
    e: Emitter,
    node: Node,
    groups: int,
    axis: int,
    scale: np.ndarray,
    bias: np.ndarray | None,
) -> None:
    """Normalise runs of elements, then scale and shift along ``axis`` and what follows it."""
    shape = e.shape(node.inputs[0])
    x, y, n = e.ref(node.inputs[0]), e.out(node.outputs[0]), e.size(node.inputs[0])
    eps = node.attributes.get("epsilon", 1e-5)
    e.line(f"normalise({x}, {y}, {groups}, {n // groups}, {eps:.9e}f);")
    a = e.constant(scale.astype(np.float32))
    b = e.constant(np.zeros_like(scale) if bias is None else bias.astype(np.float32))
    wide = [*scale.shape, *(1 for _ in shape[axis + scale.ndim :])]
    e.nest(
        shape,
        [strides_of(shape), strides_of(wide, shape)],
        lambda i, c: f"{y}[{i}] = {y}[{i}] * {a}[{c}] + {b}[{c}];",
    )


def _move(e: Emitter, table: np.ndarray, x: str, y: str, kind: str, scatter: bool = False) -> None:
    """Gather ``y[i] = x[table[i]]``, or scatter ``y[table[i]] = x[i]``; a run is copied whole."""
    n, first = len(table), int(table[0])
    if np.array_equal(table, np.arange(first, first + n)):
        target, source = (f"{y} + {first}", x) if scatter else (y, f"{x} + {first}")
        e.line(f"memcpy({target}, {source}, {n} * sizeof({kind}));")
        return
    index = e.constant(table.astype(np.int32))
    copy = f"{y}[{index}[i]] = {x}[i]" if scatter else f"{y}[i] = {x}[{index}[i]]"
    e.line(f"for (int i = 0; i < {n}; i++) {copy};")


def _pads(e: Emitter, node: Node) -> list[tuple[int, int]]:
    """Width before and after each axis."""
    given = e.value(node.inputs[1]).tolist()
    axes = range(len(e.shape(node.inputs[0])))
    if len(node.inputs) > 3 and node.inputs[3]:
        axes = [axis % len(axes) for axis in e.value(node.inputs[3]).tolist()]
    widths = [(0, 0)] * len(e.shape(node.inputs[0]))
    for place, axis in enumerate(axes):
        widths[axis] = (given[place], given[place + len(given) // 2])
    return widths


def _padded(e: Emitter, node: Node, source: np.ndarray) -> np.ndarray:
    mode = node.attributes["mode"]
    if mode not in ("reflect", "edge", "wrap"):
        raise UnsupportedOperator(f"Pad ({node.name}) of mode {mode}")
    return np.pad(source, _pads(e, node), mode=mode)


def _sliced(e: Emitter, node: Node, source: np.ndarray) -> np.ndarray:
    values = [e.value(name).tolist() if name else None for name in node.inputs[1:]]
    starts, ends = values[0], values[1]
    axes = values[2] if len(values) > 2 and values[2] else list(range(len(starts)))
    steps = values[3] if len(values) > 3 and values[3] else [1] * len(starts)
    cut = [slice(None)] * source.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # ONNX writes "to the far end" as a number beyond it
        cut[axis] = slice(start, None if step < 0 and end < -source.shape[axis] else end, step)
    return source[tuple(cut)]


def _gathered(e: Emitter, node: Node, source: np.ndarray) -> np.ndarray:
    places = e.value(node.inputs[1])
    if places is None:
        raise UnsupportedOperator(f"Gather ({node.name}) with indices that are computed")
    return np.take(source, places, axis=node.attributes.get("axis", 0))


MOVES: dict[str, Callable[[Emitter, Node, np.ndarray], np.ndarray]] = {
    "Expand": lambda e, node, source: np.broadcast_to(source, e.shape(node.outputs[0])),
    "Gather": _gathered,
    "Pad": _padded,
    "Slice": _sliced,
    "Transpose": lambda e, node, source: source.transpose(node.attributes.get("perm")),
}

OPERATORS: dict[str, Callable[[Emitter, Node], None]] = {
    **dict.fromkeys(UNARY, unary),
    **dict.fromkeys(BINARY, binary),
    **dict.fromkeys(REDUCTIONS, reduction),
    **dict.fromkeys(MOVES, layout),
    **dict.fromkeys(("Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"), reshape),
    "AveragePool": window,
    "BatchNormalization": batch_norm,
    "Clip": clip,
    "Concat": concat,
    "Conv": conv,
    "DequantizeLinear": dequantize,
    "Gemm": gemm,
    "GlobalAveragePool": window,
    "InstanceNormalization": instance_norm,
    "LayerNormalization": layer_norm,
    "MatMul": matmul,
    "MaxPool": window,
    "Pad": pad,
    "QuantizeLinear": quantize,
    "Softmax": softmax,
    "Split": split,
}
