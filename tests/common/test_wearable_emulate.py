"""The generated C program computes what ONNX Runtime computes, here and on an emulated core."""

import shutil

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper

from common.errors import ConfigError
from common.hardware.probe import Unavailable
from common.hardware.targets.wearable import emulate, host, probing
from common.hardware.targets.wearable.emit import UnsupportedOperator, emit_c
from common.hardware.targets.wearable.emulate import (
    EmulationError,
    compare_outputs,
    compile_program,
    count_instructions,
    run_program,
)
from common.hardware.targets.wearable.graph import load_graph

needs_gcc = pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed")
needs_qemu = pytest.mark.skipif(not probing.emulator(), reason=probing.emulator().reason)
RNG = np.random.default_rng(0)


def weights(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


class Net:
    """A graph made node by node; every layer's result is an output, so that each is compared."""

    def __init__(self, *shape):
        self.shape, self.nodes, self.constants, self.outputs = shape, [], [], []

    def add(self, op, *inputs, **attributes):
        names = []
        for value in inputs:
            if not isinstance(value, str):
                name = f"c{len(self.constants)}"
                self.constants.append(numpy_helper.from_array(np.asarray(value), name))
                value = name
            names.append(value)
        out = f"y{len(self.nodes)}"
        outs = [out, f"{out}b"] if op == "Split" else [out]
        self.nodes.append(helper.make_node(op, names, outs, name=f"n{out}", **attributes))
        self.outputs += outs
        return out

    def save(self, path, outputs=None):
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)
        names = outputs or self.outputs
        graph = helper.make_graph(self.nodes, "g", [x], [], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
        model.ir_version = 10
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
        kinds = {info.name: info for info in inferred.graph.value_info}
        model.graph.output.extend(kinds[name] for name in names)
        onnx.save(model, path)
        return path


def images():
    net = Net(1, 6, 13, 9)
    net.add("Conv", "x", weights(10, 6, 3, 3), weights(10), strides=[2, 1], pads=[1, 2, 1, 2])
    net.add("Conv", "x", weights(6, 1, 3, 5), weights(6), group=6, pads=[1, 2, 1, 2])
    net.add("Conv", "x", weights(9, 2, 2, 2), group=3, dilations=[2, 2])
    net.add("Conv", "x", weights(11, 6, 1, 1), weights(11))
    net.add("MaxPool", "x", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 0])
    net.add("AveragePool", "x", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    net.add("GlobalAveragePool", "x")
    net.add("BatchNormalization", "x", *(np.abs(weights(6)) + 0.1 for _ in range(4)))
    net.add("InstanceNormalization", "x", weights(6), weights(6))
    net.add("LayerNormalization", "x", weights(9), weights(9), axis=-1)
    net.add("ReduceMean", "x", ints(2, 3), keepdims=0)
    net.add("ReduceMax", "x", ints(1), keepdims=1)
    net.add("ReduceSum", "x", ints(0, 2), keepdims=0)
    net.add("Softmax", "x", axis=-1)
    return net


def one_axis():
    net = Net(2, 3, 21)  # two items
    net.add("Conv", "x", weights(8, 3, 5), weights(8), strides=[2], pads=[2, 1])
    net.add("Conv", "x", weights(3, 1, 4), group=3)
    net.add("MaxPool", "x", kernel_shape=[2], strides=[2])
    net.add("MatMul", "x", weights(21, 7))
    net.add("MatMul", weights(5, 3), "x")
    turned = net.add("Transpose", "x", perm=[0, 2, 1])
    net.add("MatMul", turned, "x")
    flat = net.add("Reshape", "x", ints(2, 63))
    net.add("Gemm", flat, weights(9, 63), weights(9), transB=1)
    net.add("Gemm", flat, weights(63, 5))
    net.add("Pad", "x", ints(0, 0, 4, 0, 0, 3), mode="reflect")
    net.add("Pad", "x", ints(0, 1, 4, 0, 0, 3), np.float32(0.5), mode="constant")
    net.add("Slice", "x", ints(18), ints(1), ints(2), ints(-3))
    net.add("Slice", "x", ints(4), ints(9), ints(2))
    net.add("Concat", "x", turned_back := net.add("Neg", "x"), axis=1)
    net.add("Concat", turned_back, "x", axis=2)
    net.add("Split", "x", ints(8, 13), axis=2)
    net.add("Split", "x", ints(1, 2), axis=1)
    net.add("Gather", "x", ints(2, 0), axis=1)
    net.add("Expand", net.add("Slice", "x", ints(0), ints(1), ints(1)), ints(2, 3, 21))
    return net


def elements():
    net = Net(1, 4, 6)
    positive = net.add("Add", net.add("Abs", "x"), np.float32(0.1))
    for op in ("Relu", "HardSwish", "HardSigmoid", "Sigmoid", "Tanh", "Exp", "Neg", "Erf"):
        net.add(op, "x")
    for op in ("Log", "Sqrt", "Reciprocal"):
        net.add(op, positive)
    net.add("LeakyRelu", "x", alpha=0.2)
    net.add("Elu", "x")
    net.add("Clip", "x", np.float32(-0.5), np.float32(0.7))
    net.add("Clip", "x", "", np.float32(0.7))
    net.add("Clip", positive, np.float32(0.3))
    net.add("Pow", "x", np.float32(2))
    net.add("Pow", positive, np.float32(0.4))
    for op in ("Add", "Sub", "Mul", "Div", "Max", "Min"):
        net.add(op, "x", weights(4, 1))
        net.add(op, weights(5, 1, 6), positive)
    net.add("Unsqueeze", "x", ints(0))
    net.add("Flatten", "x", axis=1)
    return net


def quantised(kind=np.uint8, zero=120):
    """Integer layers as ONNX Runtime's quantiser writes them, with exact powers of two."""
    net = Net(1, 4, 8, 6)
    step, zero = np.float32(2**-5), kind(zero)

    def through(name):
        return net.add("DequantizeLinear", net.add("QuantizeLinear", name, step, zero), step, zero)

    def kernel(*shape):
        steps = (2.0 ** -RNG.integers(6, 8, size=shape[0])).astype(np.float32)
        values = RNG.integers(-64, 64, size=shape).astype(np.int8)
        return net.add("DequantizeLinear", values, steps, np.zeros(shape[0], np.int8), axis=0)

    x = through("x")
    net.add("Conv", x, kernel(9, 4, 3, 3), weights(9), pads=[1, 1, 1, 1])
    net.add("Conv", x, kernel(4, 1, 3, 3), weights(4), group=4, strides=[2, 2])
    flat = net.add("Reshape", through(net.add("Relu", "x")), ints(1, 192))
    net.add("Gemm", through(flat), kernel(10, 192), weights(10), transB=1)
    return net


@needs_gcc
@pytest.mark.parametrize("make", [images, one_axis, elements])
def test_float_kernels_agree_with_onnx_runtime(make, tmp_path):
    net = make()
    path = net.save(tmp_path / "a.onnx")
    x = weights(*net.shape)
    program = emit_c(load_graph(path))
    found, _ = run_program(program, compile_program(program, "gcc"), x.tobytes())
    expected = host.RUNNERS["onnx"](path)([x])
    for name, ours, theirs in zip(net.outputs, found, expected, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-5, err_msg=name)


@needs_gcc
@pytest.mark.parametrize(("kind", "zero"), [(np.uint8, 120), (np.int8, -5)])
def test_integer_kernels_are_exact(kind, zero, tmp_path):
    net = quantised(kind, zero)
    ends = [node.output[0] for node in net.nodes if node.op_type in ("Conv", "Gemm")]
    path = net.save(tmp_path / "a.onnx", ends)
    x = weights(*net.shape)
    program = emit_c(load_graph(path))
    assert "multiply8" in program.code and "dense8(" in program.code.split("infer")[1]
    found, _ = run_program(program, compile_program(program, "gcc"), x.tobytes())
    session = emulate.onnx_session(path, literal=True)
    for ours, theirs in zip(found, session.run(None, {"x": x}), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6)


def test_an_unknown_operator_is_named(tmp_path):
    net = Net(1, 4)
    net.add("Softsign", "x")
    with pytest.raises(UnsupportedOperator, match=r"operator Softsign \(ny0\).*known: .*Conv"):
        emit_c(load_graph(net.save(tmp_path / "a.onnx")))


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "message"),
    [
        ("Gemm", [weights(4, 3)], {"alpha": 2.0}, "transA or alpha"),
        ("Softmax", [], {"axis": 0}, "another than the last axis"),
        ("Max", [weights(4), weights(4)], {}, "of 3 inputs, not 2"),
        ("MatMul", [weights(4)], {}, "of a vector"),
    ],
)
def test_an_unknown_use_is_named(op, inputs, attributes, message, tmp_path):
    net = Net(2, 4)
    net.add(op, "x", *inputs, **attributes)
    with pytest.raises(UnsupportedOperator, match=message):
        emit_c(load_graph(net.save(tmp_path / "a.onnx")))


def test_a_program_that_computes_something_else_is_not_counted(tmp_path):
    net = Net(1, 4)
    net.add("Relu", "x")
    path = net.save(tmp_path / "a.onnx")
    x = np.ones((1, 4), np.float32)
    assert compare_outputs(path, [x], [x]) == (0.0, 1.0)
    with pytest.raises(EmulationError, match="differs from ONNX Runtime by 1"):
        compare_outputs(path, [x], [x * 2])
    with pytest.raises(EmulationError, match="differs from ONNX Runtime by nan"):
        compare_outputs(path, [x], [x * np.nan])


@needs_gcc
def test_a_program_with_too_little_input_says_so(tmp_path):
    net = Net(1, 4)
    net.add("Relu", "x")
    program = emit_c(load_graph(net.save(tmp_path / "a.onnx")))
    with pytest.raises(EmulationError, match="too short"):
        run_program(program, compile_program(program, "gcc"), b"1234")


def dense_net(path, rows):
    net = Net(1, 64)
    net.add("Gemm", "x", np.ones((rows, 64), np.float32), transB=1)
    return net.save(path)


@needs_qemu
def test_counts_are_exact_and_follow_the_work(tmp_path):
    x = [weights(1, 64)]
    small, large = (count_instructions(dense_net(tmp_path / f"{n}.onnx", n), x) for n in (64, 256))
    assert len(set(small.repeats)) == 1, "the same number each time"
    assert small.instructions == int(small.instructions) and small.startup > 1000
    # a panel of eight outputs is the unit of work: the cost grows by whole panels
    assert 3.5 < large.instructions / small.instructions < 4.5
    # two vector products for eight outputs and the loads they need: between 1/4 and 2 a MAC
    assert 0.25 < small.instructions / (64 * 64) < 2
    assert small.meter.startswith("instructions (QEMU ") and "cortex-a53" in small.meter


@needs_qemu
def test_a_count_does_not_depend_on_how_many_inferences_are_run(tmp_path):
    path, x = dense_net(tmp_path / "a.onnx", 16), [weights(1, 64)]
    counts = {n: count_instructions(path, x, inferences=n, repeats=1) for n in (1, 7)}
    assert counts[1].instructions == counts[7].instructions


@needs_qemu
def test_a_count_is_kept(tmp_path, monkeypatch):
    path, x = dense_net(tmp_path / "a.onnx", 24), [weights(1, 64)]
    first = count_instructions(path, x, repeats=1)
    monkeypatch.setattr(emulate, "_count", lambda *a: pytest.fail("counted again"))
    assert count_instructions(path, x, repeats=1) == first


def test_without_an_emulator_the_packages_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="qemu-user gcc-aarch64-linux-gnu"):
        count_instructions(tmp_path / "a.onnx", [])


def test_timing_refuses_nothing_to_time():
    with pytest.raises(ConfigError, match="at least one call"):
        host.time_calls(lambda: None, 0, 0, "m")
    calls = []
    took = host.time_calls(lambda: calls.append(1), 3, 5, "m")
    assert len(calls) == 8 and took.runs == 5 and 0 <= took.p50 <= took.p95


def test_pinning_is_undone():
    import os

    before = os.sched_getaffinity(0)
    with host.one_core():
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before
