"""A graph as one C program that needs nothing: no interpreter, no library, no allocation.

This is the reference runtime: readable kernels (``kernels.c``) called in the order of the graph,
weights inside the binary. It shows what a network costs in instructions and runs on any watch;
it is not tuned as a production runtime is.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import RepriseError
from common.hardware.targets.wearable.graph import Graph, Node

C_TYPES = {
    "float32": "float",
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int16": "int16_t",
    "int32": "int32_t",
    "int64": "int64_t",
}
ALIGNMENT = 64
_HERE = Path(__file__).parent


class UnsupportedOperator(RepriseError):
    """The C emitter does not know an operator, or not this use of it."""


@dataclass(frozen=True)
class Program:
    """C source of a network and its weights.

    Attributes
    ----------
    code : str
        One translation unit; it includes ``weights.bin`` from the folder it is compiled in.
    weights : bytes
        Content of that file.
    outputs : tuple of (str, tuple of int, str)
        Name, shape and NumPy type of each output, in the order in which they are written.
    """

    code: str
    weights: bytes
    outputs: tuple[tuple[str, tuple[int, ...], str], ...]

    @property
    def digest(self) -> str:
        """SHA-256 over source and weights."""
        return hashlib.sha256(self.code.encode() + self.weights).hexdigest()


def emit_c(graph: Graph) -> Program:
    """Write the program of a graph.

    Raises
    ------
    UnsupportedOperator
        If an operator, or a use of one, is not known; names the node.
    """
    from common.hardware.targets.wearable.operators import OPERATORS

    emitter = Emitter(graph)
    for node in graph.nodes:
        if node.op not in OPERATORS:
            raise UnsupportedOperator(
                f"operator {node.op} ({node.name}) is not known to the C emitter; known: "
                f"{', '.join(sorted(OPERATORS))}"
            )
        OPERATORS[node.op](emitter, node)
    return emitter.program()


class Emitter:
    """Lines, buffers and weights of a program in the making."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._sources = [(_HERE / "kernels.c").read_text()]
        self._lines: list[str] = []
        self._buffers: list[str] = []
        self._blob = bytearray()
        self._stored: dict[bytes, str] = {}
        self._places: dict[str, str] = {}
        self._scratch = 0
        for name in graph.inputs:
            self.out(name)

    # -- tensors ---------------------------------------------------------------------------

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor."""
        return tuple(self.graph.shapes[name])

    def size(self, name: str) -> int:
        """Number of elements of a tensor."""
        return math.prod(self.shape(name))

    def value(self, name: str) -> np.ndarray | None:
        """Value of a constant, or of integers dequantised; None where it depends on the input."""
        if name in self.graph.constants:
            return self.graph.constants[name]
        made = self.graph.producer(name)
        if made is None or made.op != "DequantizeLinear":
            return None
        parts = [self.value(each) for each in made.inputs]
        return None if any(p is None for p in parts) else dequantised(made, *parts)

    def ref(self, name: str) -> str:
        """C expression for the start of a tensor."""
        if name not in self._places:
            value = self.value(name)
            if value is None:
                raise UnsupportedOperator(f"tensor {name!r} is read before it is computed")
            self._places[name] = self.constant(value)
        return self._places[name]

    def out(self, name: str) -> str:
        """Declare the buffer of a tensor; return its C name."""
        kind = self.c_type(name)
        place = f"t{len(self._buffers)}"
        size = max(1, self.size(name))
        self._buffers.append(f"static {kind} {place}[{size}] __attribute__((aligned(64)));")
        self._places[name] = place
        return place

    def alias(self, name: str, of: str) -> None:
        """Let a tensor be another one with a new shape."""
        self._places[name] = self.ref(of)

    def c_type(self, name: str) -> str:
        """C type of a tensor's elements."""
        kind = self.graph.dtypes[name]
        if kind not in C_TYPES:
            raise UnsupportedOperator(f"tensor {name!r} has type {kind}; known: {list(C_TYPES)}")
        return C_TYPES[kind]

    def constant(self, array: np.ndarray) -> str:
        """Put an array among the weights; return its C expression. Equal arrays share a place."""
        content = np.ascontiguousarray(array).tobytes()
        kind = C_TYPES[array.dtype.name]
        key = kind.encode() + content
        if key not in self._stored:
            self._blob += bytes(-len(self._blob) % ALIGNMENT)
            self._stored[key] = f"((const {kind} *)(weights + {len(self._blob)}))"
            self._blob += content
        return self._stored[key]

    def scratch(self, size: int) -> str:
        """Room for ``size`` bytes until the next operator."""
        self._scratch = max(self._scratch, size)
        return "scratch"

    # -- code ------------------------------------------------------------------------------

    def include(self, source: str) -> None:
        """Put C functions of one's own before the program; they may use those of kernels.c."""
        self._sources.append(source)

    def line(self, text: str) -> None:
        """Append a statement."""
        self._lines.append(f"    {text}")

    def nest(
        self, shape: Sequence[int], strides: Sequence[Sequence[int]], body: Callable[..., str]
    ) -> None:
        """Loop over ``shape``; ``body`` gets the index of each operand, given its strides."""
        shape, strides = _merged(shape, strides)
        loops = [f"for (int i{a} = 0; i{a} < {n}; i{a}++)" for a, n in enumerate(shape)]
        places = [
            " + ".join(f"i{a} * {step}" for a, step in enumerate(steps) if step) or "0"
            for steps in strides
        ]
        self.line(" ".join([*loops, body(*places)]))

    def _room(self) -> list[str]:
        """Declaration of the scratch room, where any was asked for."""
        size = self._scratch
        return [f"static char scratch[{size}] __attribute__((aligned(64)));"] if size else []

    def program(self) -> Program:
        """Put everything together."""
        ports = [(name, 0) for name in self.graph.inputs]
        ports += [(name, 1) for name in self.graph.outputs]
        table = ", ".join(
            f"{{(void *){self.ref(name)}, {self.size(name)} * sizeof({self.c_type(name)}), {out}}}"
            for name, out in ports
        )
        code = [
            *self._sources,
            '__asm__(".section .rodata\\n.balign 64\\n.global weights\\nweights:\\n"'
            '\n        ".incbin \\"weights.bin\\"\\n.byte 0\\n.previous\\n");',
            "extern const unsigned char weights[];",
            *self._room(),
            *self._buffers,
            "static void infer(void) {",
            *self._lines,
            "}",
            "static const struct { void *data; size_t bytes; int output; } PORTS[] = {" + table,
            "};",
            (_HERE / "main.c").read_text(),
        ]
        outputs = [(n, self.shape(n), self.graph.dtypes[n]) for n in self.graph.outputs]
        return Program("\n".join(code), bytes(self._blob), tuple(outputs))


def strides_of(shape: Sequence[int], into: Sequence[int] | None = None) -> list[int]:
    """Element strides of a dense tensor, 0 where it is broadcast to the shape ``into``."""
    steps = [math.prod(shape[axis + 1 :]) if n > 1 else 0 for axis, n in enumerate(shape)]
    return [0] * (len(into or shape) - len(shape)) + steps


def dequantised(node: Node, data: np.ndarray, scale: np.ndarray, zero: Any = 0) -> np.ndarray:
    """Floats that a DequantizeLinear node makes of integers."""
    zero = np.asarray(zero, np.int64)
    if scale.ndim == 1 and data.ndim:
        axis = node.attributes.get("axis", 1) % data.ndim
        wide = [-1 if a == axis else 1 for a in range(data.ndim)]
        scale, zero = scale.reshape(wide), np.broadcast_to(zero, scale.shape).reshape(wide)
    return ((data.astype(np.int64) - zero) * scale).astype(np.float32)


def _merged(
    shape: Sequence[int], strides: Sequence[Sequence[int]]
) -> tuple[list[int], list[list[int]]]:
    """Drop axes of length one and merge neighbours that every operand walks through evenly."""
    kept: list[tuple[int, list[int]]] = []
    for axis, n in enumerate(shape):
        steps = [operand[axis] for operand in strides]
        if n == 1:
            continue
        if kept and all(a == b * n for a, b in zip(kept[-1][1], steps, strict=True)):
            kept[-1] = (kept[-1][0] * n, steps)
        else:
            kept.append((n, steps))
    return [n for n, _ in kept], [[s[i] for _, s in kept] for i in range(len(strides))]
