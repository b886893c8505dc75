import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra 'torch')")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra 'edge')")

from torch import nn

from common.errors import ConfigError
from common.hardware.targets.wearable.export import export_onnx, onnx_runner
from common.hardware.targets.wearable.graph import load_graph
from common.hardware.targets.wearable.together import export_together, folded


def settled(module):
    """Statistics and weights of batch normalisation that are not those of a fresh layer."""
    generator = torch.Generator().manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            for tensor in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
                tensor.data.uniform_(0.5, 2, generator=generator)
    return module.eval()


class Branch(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))

    def forward(self, x):
        return self.head(self.layers(x).mean(dim=2))


def test_folding_changes_layers_and_no_answer():
    module, x = settled(Branch()), torch.randn(5, 2, 8)
    made = folded(module)
    kinds = [type(layer).__name__ for layer in (*made.layers, *made.head)]
    assert kinds == ["Conv1d", "Identity", "ReLU", "Linear", "BatchNorm1d"]
    assert torch.allclose(made(x), module(x), atol=1e-6)
    assert isinstance(module.layers[1], nn.BatchNorm1d)  # the module itself stays


@pytest.mark.slow  # two passes of the exporter
def test_files_are_those_of_modules_exported_alone(tmp_path):
    modules = {"one": (settled(Branch()), ["x"]), "sum": (Total(), ["x", "y"])}
    window = {"x": torch.randn(1, 2, 8), "y": torch.randn(1, 2, 8), "unused": torch.ones(1)}
    other = {name: 2 * tensor for name, tensor in window.items()}
    made = export_together(modules, [window, other], tmp_path)
    assert [port.name for port in made["sum"].inputs] == ["x", "y"]
    (found,) = onnx_runner(made["sum"].path)([window["x"].numpy(), window["y"].numpy()])
    assert found == pytest.approx((window["x"] - 2 * window["y"]).numpy())
    alone = export_onnx(modules["one"][0], [window["x"]], tmp_path / "alone.onnx")
    ours, theirs = load_graph(made["one"].path), load_graph(alone.path)
    assert [node.op for node in ours.nodes] == [node.op for node in theirs.nodes]
    assert {node.module.split(".")[0] for node in ours.nodes} >= {"layers", "head"}
    assert not any("members" in node.module for node in ours.nodes)


class Total(nn.Module):
    def forward(self, x, y):
        return x - 2 * y


def test_an_input_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no input is called 'z'; there are x, y"):
        export_together({"a": (nn.ReLU(), ["z"])}, [{"x": 1, "y": 2}], tmp_path)
    with pytest.raises(ConfigError, match="'x' is an input and a model"):
        export_together({"x": (nn.ReLU(), ["x"])}, [{"x": 1}], tmp_path)
