"""ONNX graphs: the answers of eager mode for any batch, stage by stage, and nothing beyond."""

import json

import numpy as np
import pytest
import torch

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

from common.errors import DataError
from projects.osgd import export
from projects.osgd.depth import DepthNestedCNN
from projects.osgd.export import (
    OnnxStages,
    export_onnx,
    export_stages,
    export_together,
    session,
)
from projects.osgd.width import WidthNestedCNN

SHAPE = (3, 16, 16)


@pytest.fixture(scope="session")
def depth(trained, tmp_path_factory):
    model = trained(DepthNestedCNN(channels=(4, 8), num_stages=2))
    return model, export_stages(model, tmp_path_factory.mktemp("depth"), SHAPE)


@pytest.mark.parametrize("kind", ["width", "depth"])
@pytest.mark.parametrize("batch", [1, 5])
def test_stages_in_the_runtime_equal_eager_mode(kind, batch, request):
    model, manifest = request.getfixturevalue(kind)
    x = torch.randn(batch, *SHAPE, generator=torch.Generator().manual_seed(batch))
    with torch.no_grad():
        expected = model.eval()(x)
    found = list(OnnxStages(manifest).stages(x.numpy()))
    assert len(found) == len(expected)
    for ours, eager in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, eager, rtol=1e-4, atol=1e-4)


def test_manifest_says_how_the_graphs_fit_together(width):
    model, manifest = width
    content = json.loads(manifest.read_text())
    costs = model.stage_costs(SHAPE)
    assert [stage["macs"] for stage in content["stages"]] == [cost.macs for cost in costs]
    assert content["stages"][0]["outputs"] == ["logits", *(f"cache0.layer{i}" for i in range(3))]
    assert content["stages"][-1]["outputs"] == ["logits"]
    stages = OnnxStages(manifest)
    read = [{item.name for item in found.get_inputs()} for found in stages.sessions]
    assert read[0] == {"x"}
    for stage in (1, 2):
        assert read[stage] <= {"x", *content["stages"][stage - 1]["outputs"]}


def test_an_abandoned_generator_runs_no_further_graph(width, monkeypatch):
    stages, ran = OnnxStages(width[1]), []

    class Counted:
        def __init__(self, number, found):
            self.number, self.found = number, found

        def run_with_ort_values(self, *arguments):
            ran.append(self.number)
            return self.found.run_with_ort_values(*arguments)

    stages.sessions = [Counted(number, found) for number, found in enumerate(stages.sessions)]
    generator = stages.stages(np.zeros((1, *SHAPE), np.float32))
    assert ran == []
    next(generator)
    next(generator)
    generator.close()
    assert ran == [0, 1]


def test_one_graph_answers_from_scratch(width, tmp_path):
    model, _ = width
    path = export_onnx(model, 1, tmp_path / "one.onnx", SHAPE)
    x = torch.randn(4, *SHAPE)
    with torch.no_grad():
        expected = model.eval()(x)[1]
    (found,) = session(path).run(None, {"x": x.numpy()})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert [item.name for item in session(path).get_outputs()] == ["logits"]


def test_graphs_of_one_export_are_cut_apart(width, tmp_path):
    onnx = pytest.importorskip("onnx")
    networks = {
        "nested": width[0].eval(),
        "plain": WidthNestedCNN(widths=(5,), strides=(2,)).eval(),
    }
    x = torch.randn(3, *SHAPE)
    for name, path in export_together(networks, tmp_path, SHAPE).items():
        with torch.no_grad():
            expected = networks[name](x)[-1]
        (found,) = session(path).run(None, {"x": x.numpy()})
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
        kinds = [node.op_type for node in onnx.load(path).graph.node]
        layers = [m for m in networks[name].modules() if isinstance(m, torch.nn.Conv2d)]
        assert kinds.count("Conv") == len(layers)  # its own, and none of the other network
        assert kinds.count("Gemm") == 1


def test_export_leaves_the_network_in_its_mode_and_says_nothing(width, tmp_path, capsys):
    model = width[0].train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    export_onnx(model, 0, tmp_path / "one.onnx", SHAPE)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert "".join(capsys.readouterr()) == ""


def test_a_graph_that_deviates_is_not_written(width, tmp_path, monkeypatch):
    model, _ = width
    with pytest.raises(ValueError, match=r"one.onnx: logits deviates from eager mode by"):
        export_onnx(model, 0, tmp_path / "one.onnx", SHAPE, atol=-1.0)
    assert list(tmp_path.iterdir()) == []


def test_bad_stage_and_bad_input(width, tmp_path):
    model, manifest = width
    with pytest.raises(IndexError, match="stage 3 does not exist"):
        export_onnx(model, 3, tmp_path / "one.onnx", SHAPE)
    with pytest.raises(ValueError, match=r"expected \(batch, \(3, 16, 16\)\)"):
        next(OnnxStages(manifest).stages(np.zeros((1, 3, 8, 8), np.float32)))


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"stages": [{"file": "../stage0.onnx", "outputs": ["logits"]}]},
        {"stages": [{"file": "stage0.onnx", "outputs": ["other"]}]},
        {"stages": [{"outputs": ["logits"]}]},
    ],
)
def test_bad_manifests(width, tmp_path, change):
    content = json.loads(width[1].read_text()) | change
    path = tmp_path / export.MANIFEST
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="no manifest of an anytime network"):
        OnnxStages(path)


def test_no_manifest(tmp_path):
    (tmp_path / "stages.json").write_text("not JSON")
    for name in ("stages.json", "missing.json"):
        with pytest.raises(DataError, match=name):
            OnnxStages(tmp_path / name)
