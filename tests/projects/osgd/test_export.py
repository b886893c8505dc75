"""ONNX graphs: the answers of eager mode for any batch, stage by stage, and nothing beyond."""

import json

import numpy as np
import pytest
import torch

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

from common.errors import DataError
from projects.osgd import runtime
from projects.osgd.export import export_onnx, export_stages
from projects.osgd.runtime import OnnxStages, session

SHAPE = (3, 16, 16)


@pytest.mark.parametrize("kind", ["width", "depth", "embedding", "plain"])
@pytest.mark.parametrize("batch", [1, 5])
def test_stages_in_the_runtime_equal_eager_mode(kind, batch, exported):
    networks, graphs = exported
    x = torch.randn(batch, *SHAPE, generator=torch.Generator().manual_seed(batch))
    with torch.no_grad():
        expected = networks[kind].eval()(x)
    found = list(OnnxStages(graphs[kind].manifest).stages(x.numpy()))
    assert len(found) == len(expected)
    for ours, eager in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, eager, rtol=1e-4, atol=1e-4)
    (last,) = session(graphs[kind].last).run(["logits"], {"x": x.numpy()})
    np.testing.assert_allclose(last, expected[-1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["width", "depth", "embedding", "plain"])
def test_every_layer_is_in_one_stage_and_no_other_network_in_a_file(kind, exported):
    """Also where a stage hands on what it was given: reading that must not compute it again."""
    networks, graphs = exported
    model = networks[kind]
    layers = sum(isinstance(m, (torch.nn.Conv2d, torch.nn.Linear)) for m in model.modules())
    assert sum(map(_products, OnnxStages(graphs[kind].manifest).files)) == layers
    assert _products(graphs[kind].last) == layers - (model.num_stages - 1)  # the earlier heads


def _products(path):
    return sum(node.op_type in ("Conv", "Gemm", "MatMul") for node in onnx.load(path).graph.node)


def test_no_file_names_a_folder(exported):
    for graphs in exported[1].values():
        for path in (*OnnxStages(graphs.manifest).files, graphs.last):
            assert b".py" not in path.read_bytes()


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


def test_one_graph_answers_from_scratch_and_leaves_the_network_as_it_was(width, tmp_path, capsys):
    model = width[0].train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    path = export_onnx(model, 1, tmp_path / "one.onnx", SHAPE)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert "".join(capsys.readouterr()) == ""
    x = torch.randn(4, *SHAPE)
    with torch.no_grad():
        expected = model.eval()(x)[1]
    (found,) = session(path).run(None, {"x": x.numpy()})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert [item.name for item in session(path).get_outputs()] == ["logits"]


def test_a_graph_that_deviates_is_not_written(width, tmp_path):
    with pytest.raises(ValueError, match=r"stage0.onnx: logits deviates from eager mode by"):
        export_stages(width[0], tmp_path, SHAPE, atol=-1.0)
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
    path = tmp_path / runtime.MANIFEST
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="no manifest of an anytime network"):
        OnnxStages(path)


def test_no_manifest(tmp_path):
    (tmp_path / "stages.json").write_text("not JSON")
    for name in ("stages.json", "missing.json"):
        with pytest.raises(DataError, match=name):
            OnnxStages(tmp_path / name)
