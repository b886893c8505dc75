"""Exports compute what the module computes, and what they cost is what one counts by hand."""

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
torch = pytest.importorskip("torch")

from torch import nn

from common.errors import ConfigError
from common.hardware.targets.wearable import export as exporting
from common.hardware.targets.wearable.costs import layer_costs, total_macs
from common.hardware.targets.wearable.export import ExportError, export_onnx, onnx_runner
from common.hardware.targets.wearable.graph import load_graph
from common.hardware.targets.wearable.half import export_fp16_onnx
from common.hardware.targets.wearable.quantize import export_int8_onnx


class Spectrum(nn.Module):
    """A log spectrum and a classifier: what must stay in float beside what need not."""

    def __init__(self):
        super().__init__()
        self.kernels = nn.Conv1d(1, 6, 8, stride=4, bias=False)
        self.head = nn.Sequential(nn.Flatten(1), nn.Linear(6 * 9, 16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, audio):
        return self.head(torch.log(self.kernels(audio[:, None]).square() + 1e-6))


@pytest.fixture(scope="module")
def spectrum():
    torch.manual_seed(0)
    return Spectrum().train()


@pytest.fixture(scope="module")
def audio():
    torch.manual_seed(1)
    return [[torch.randn(1, 40)] for _ in range(16)]


@pytest.fixture(scope="module")
def float_export(spectrum, audio, tmp_path_factory):
    path = tmp_path_factory.mktemp("float") / "a.onnx"
    names = {"input_names": ["audio"], "output_names": ["scores"]}
    return export_onnx(spectrum, audio[0], path, checks=audio[1:4], **names)


@pytest.fixture(scope="module")
def int8_export(spectrum, audio, float_export, tmp_path_factory):
    path = tmp_path_factory.mktemp("int8") / "a.onnx"
    return export_int8_onnx(spectrum, audio[0], path, calibration=audio, fp32=float_export)


def test_a_float_export_is_described_and_agrees(float_export, spectrum, audio):
    made = float_export
    assert made.max_abs_difference < 1e-5 * made.scale
    assert [(p.name, p.shape) for p in made.inputs] == [("audio", (1, 40))]
    assert [(p.name, p.shape) for p in made.outputs] == [("scores", (1, 3))]
    assert made.bytes == made.path.stat().st_size and len(made.sha256) == 64
    assert spectrum.training, "the module's own mode comes back"


def test_the_file_names_no_folder(float_export):
    content = float_export.path.read_bytes()
    assert b".py" not in content and b"stack_trace" not in content


def test_same_module_same_bytes(float_export, spectrum, audio, tmp_path):
    names = {"input_names": ["audio"], "output_names": ["scores"]}
    assert export_onnx(spectrum, audio[0], tmp_path / "b.onnx", **names).sha256 == (
        float_export.sha256
    )


def test_an_export_that_differs_is_refused_and_removed(tmp_path):
    class Changing(nn.Module):
        calls = 0

        def forward(self, x):
            Changing.calls += 1
            return x + float(Changing.calls)

    with pytest.raises(ExportError, match=r"Changing differs from eager mode by .* tolerance"):
        export_onnx(Changing(), [torch.ones(1, 2)], tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("values", [[0.0, np.nan], [np.nan, 0.0]])
def test_an_export_that_gives_no_number_is_refused(values, tmp_path, monkeypatch):
    found = iter(values)
    runner = lambda path: lambda arrays: [np.full((1, 2), next(found), np.float32)]  # noqa: E731
    monkeypatch.setitem(exporting.RUNNERS, "onnx", runner)
    (tmp_path / "a.onnx").touch()
    zeros = [[torch.zeros(1, 2)]] * 2
    with pytest.raises(ExportError, match="differs from eager mode by nan"):
        exporting.describe(nn.Identity(), zeros, tmp_path / "a.onnx", "onnx", "a", tolerance=1.0)


def test_a_module_that_cannot_be_exported_says_so(tmp_path):
    class Dynamic(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(ExportError, match="Dynamic cannot be exported to ONNX"):
        export_onnx(Dynamic(), [torch.ones(1, 2)], tmp_path / "a.onnx")


def test_the_logarithm_and_what_it_needs_stay_in_float(int8_export):
    graph = load_graph(int8_export.path)
    nodes = {node.name: node for node in graph.nodes}
    assert [nodes[name].module for name in int8_export.kept_float] == ["kernels"]
    costs = {cost.module: cost for cost in layer_costs(int8_export.path) if cost.macs}
    assert costs["kernels"].precision == "fp32"
    assert costs["head.1"].precision == costs["head.3"].precision == "int8"


def test_half_precision_rounds_the_layers_alone(float_export, spectrum, audio, tmp_path):
    made = export_fp16_onnx(spectrum, audio[0], tmp_path / "a.onnx", fp32=float_export)
    graph = load_graph(made.path)
    layers = {node.module: node for node in graph.nodes if node.op in ("Conv", "Gemm")}
    kinds = {name: {graph.dtypes[each] for each in layers[name].inputs} for name in layers}
    assert kinds["kernels"] == {"float32"}, "a logarithm is taken of it"
    assert kinds["head.1"] == kinds["head.3"] == {"float16"}
    assert {port.dtype for port in (*made.inputs, *made.outputs)} == {"float32"}
    assert [graph.dtypes[name] for name in graph.outputs] == ["float32"]
    # the same network with its weights and the inputs of its layers rounded by hand
    log = torch.log(spectrum.kernels(audio[0][0][:, None]).square() + 1e-6)
    hidden = log.flatten(1)
    for layer in (spectrum.head[1], spectrum.head[3]):
        weight, bias, x = (each.half().double() for each in (layer.weight, layer.bias, hidden))
        hidden = (x @ weight.T + bias).half().float()
        hidden = hidden.relu() if layer is spectrum.head[1] else hidden
    (found,) = onnx_runner(made.path)([audio[0][0].numpy()])
    assert np.abs(found - hidden.detach().numpy()).max() < 2e-3 * made.scale
    assert 0 < made.max_abs_difference < 1e-2 * made.scale


def test_a_number_too_large_for_half_precision_is_refused(tmp_path):
    layer = nn.Linear(2, 1)
    with torch.no_grad():
        layer.weight.fill_(1e5)
    with pytest.raises(ExportError, match="onnx fp16 export of Linear differs"):
        export_fp16_onnx(layer, [torch.ones(1, 2)], tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_int8_is_smaller_and_close(int8_export, float_export):
    assert int8_export.precision == "int8"
    assert int8_export.max_abs_difference < 0.05 * int8_export.scale
    weights = {"fp32": 4, "int8": 1}
    for made, size in ((float_export, 4), (int8_export, 1)):
        cost = next(c for c in layer_costs(made.path) if c.module == "head.1")
        assert weights[cost.precision] == size
        assert 16 * 54 * size <= cost.weight_bytes <= 16 * 54 * size + 16 * (4 + 4 + 4) + 8


def test_a_float_file_that_exists_gives_the_same_eight_bits(
    float_export, int8_export, spectrum, audio, tmp_path
):
    names = {"input_names": ["audio"], "output_names": ["scores"]}
    path = tmp_path / "a.onnx"
    anew = export_int8_onnx(spectrum, audio[0], path, calibration=audio, **names)
    assert (anew.sha256, anew.kept_float) == (int8_export.sha256, int8_export.kept_float)
    with pytest.raises(ConfigError, match="fp32 is a file in onnx int8; pass what export_onnx"):
        export_int8_onnx(spectrum, audio[0], path, calibration=audio, fp32=int8_export)


def test_without_protection_the_spectrum_is_quantised_too(spectrum, audio, float_export, tmp_path):
    options = {"calibration": audio, "protect_log": False, "fp32": float_export}
    made = export_int8_onnx(spectrum, audio[0], tmp_path / "a.onnx", **options)
    assert made.kept_float == ()
    assert {c.precision for c in layer_costs(made.path) if c.macs} == {"int8"}


def test_named_modules_stay_in_float(spectrum, audio, float_export, tmp_path):
    options = {"calibration": audio, "keep_float": ["head"], "fp32": float_export}
    made = export_int8_onnx(spectrum, audio[0], tmp_path / "a.onnx", **options)
    assert {c.precision for c in layer_costs(made.path) if c.macs} == {"fp32"}


def test_an_unknown_module_is_named_with_the_closest(spectrum, audio, float_export, tmp_path):
    options = {"calibration": audio, "keep_float": ["kernel"], "fp32": float_export}
    with pytest.raises(ConfigError, match=r"no node or module is called 'kernel'.*'kernels'"):
        export_int8_onnx(spectrum, audio[0], tmp_path / "a.onnx", **options)


def test_quantisation_without_calibration_data_is_an_error(spectrum, audio, tmp_path):
    with pytest.raises(ValueError, match="quantisation without calibration data"):
        export_int8_onnx(spectrum, audio[0], tmp_path / "a.onnx")


def test_dynamic_quantisation_needs_no_data(spectrum, audio, float_export, tmp_path):
    options = {"mode": "dynamic", "fp32": float_export}
    made = export_int8_onnx(spectrum, audio[0], tmp_path / "a.onnx", **options)
    assert made.precision == "int8 dynamic" and made.max_abs_difference < 0.05 * made.scale


def test_every_host_gives_the_integers_that_the_file_means(int8_export, audio):
    """Without optimisation ONNX Runtime computes the file's meaning in float, pair by pair."""
    import onnxruntime as ort

    plain = ort.SessionOptions()
    plain.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    meant = ort.InferenceSession(str(int8_export.path), plain, providers=["CPUExecutionProvider"])
    fast = onnx_runner(int8_export.path)
    step = 2 * int8_export.scale / 255
    for (x,) in audio:
        (expected,) = meant.run(None, {int8_export.inputs[0].name: x.numpy()})
        assert np.abs(fast([x.numpy()])[0] - expected).max() <= 2 * step


def test_an_unknown_mode_is_named(spectrum, audio, tmp_path):
    with pytest.raises(ConfigError, match="unknown quantisation mode 'statik'"):
        export_int8_onnx(spectrum, audio[0], tmp_path / "a.onnx", mode="statik")


class ImuEncoder(nn.Sequential):
    """Layers of the WatchHAR paper's inertial encoder (section 2.3 of its code)."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(6, 256, (5, 1)), nn.MaxPool2d((2, 1)), nn.ReLU(),
            nn.Conv2d(256, 256, (5, 1)), nn.MaxPool2d((2, 1)), nn.ReLU(),
            nn.Conv2d(256, 256, (5, 1)), nn.ReLU(), nn.Flatten(1), nn.Linear(1280, 128),
        )  # fmt: skip


def test_costs_of_the_inertial_encoder_by_hand(tmp_path):
    made = export_onnx(ImuEncoder(), [torch.randn(1, 6, 50, 1)], tmp_path / "a.onnx")
    costs = [cost for cost in layer_costs(made.path) if cost.macs]
    by_hand = [46 * 256 * 6 * 5, 19 * 256 * 256 * 5, 5 * 256 * 256 * 5, 1280 * 128]
    assert [cost.macs for cost in costs] == by_hand
    assert round(total_macs(costs) / 1e6, 1) == 8.4
    parameters = [256 * 30 + 256, 256 * 1280 + 256, 256 * 1280 + 256, 1280 * 128 + 128]
    assert [cost.weight_bytes for cost in costs] == [4 * n for n in parameters]
    moved = [6 * 50 + 256 * 46, 256 * 23 + 256 * 19, 256 * 9 + 256 * 5, 1280 + 128]
    assert [cost.activation_bytes for cost in costs] == [4 * n for n in moved]


def test_costs_of_grouped_and_recurrent_layers_by_hand(tmp_path):
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.depthwise = nn.Conv1d(8, 8, 3, groups=8, bias=False)
            self.grouped = nn.Conv1d(8, 12, 3, groups=4, bias=False)
            self.lstm = nn.LSTM(12, 5, batch_first=True)

        def forward(self, x):
            steps = self.grouped(self.depthwise(x)).transpose(1, 2)
            return self.lstm(steps)[0] @ x[:, :5, :2]

    made = export_onnx(Mixed(), [torch.randn(1, 8, 20)], tmp_path / "a.onnx")
    costs = {cost.kind: cost.macs for cost in layer_costs(made.path) if cost.macs}
    assert costs == {
        "depthwise": 8 * 18 * 3,
        "conv": 12 * 16 * (2 * 3),
        "recurrent": 16 * 4 * 5 * (12 + 5),
        "dense": 16 * 5 * 2,
    }


def test_what_is_not_counted_is_refused(tmp_path):
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    x, y = (
        helper.make_tensor_value_info("x", kind, (2, 2)),
        helper.make_tensor_value_info("y", kind, (2, 2)),
    )
    node = helper.make_node("Einsum", ["x", "x"], ["y"], name="e", equation="ij,jk->ik")
    onnx.save(helper.make_model(helper.make_graph([node], "g", [x], [y])), tmp_path / "a.onnx")
    with pytest.raises(ConfigError, match=r"operator Einsum \(e\) are not counted"):
        layer_costs(tmp_path / "a.onnx")


def test_free_shapes_are_refused(tmp_path):
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    x = helper.make_tensor_value_info("x", kind, ("batch", 2))
    y = helper.make_tensor_value_info("y", kind, ("batch", 2))
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    onnx.save(helper.make_model(graph), tmp_path / "a.onnx")
    with pytest.raises(ConfigError, match=r"dimension 0 of 'x' is free \(batch\)"):
        load_graph(tmp_path / "a.onnx")


def test_a_file_that_is_not_onnx_is_refused(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"\x08\x99\x99not a model")
    with pytest.raises(ConfigError, match="is not a"):
        load_graph(tmp_path / "a.onnx")
    with pytest.raises(ConfigError, match="is not a readable ONNX file"):
        load_graph(tmp_path / "none.onnx")


def test_a_runner_runs_the_file(float_export, spectrum, audio):
    (found,) = onnx_runner(float_export.path)([audio[5][0].numpy()])
    expected = spectrum.eval()(audio[5][0]).detach().numpy()
    spectrum.train()
    assert np.allclose(found, expected, atol=1e-5)
