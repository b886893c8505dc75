"""ExecuTorch programs compute what the module computes."""

import importlib.util
import sys

import pytest

torch = pytest.importorskip("torch")

from common.errors import ConfigError, MissingExtra
from common.hardware.targets.wearable import export, host
from common.hardware.targets.wearable.executorch import export_executorch

needs_executorch = pytest.mark.skipif(
    importlib.util.find_spec("executorch") is None,
    reason="executorch is not installed (extra 'edge')",
)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv1d(2, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(1), torch.nn.Linear(8 * 10, 3)
    )


class TwoLayers(torch.nn.Module):
    """Two convolutions of the same kind, each with an output of its own."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.coarse, self.kept = torch.nn.Conv1d(2, 8, 3), torch.nn.Conv1d(2, 8, 3)

    def forward(self, x):
        return self.coarse(x), self.kept(x)


@pytest.fixture(scope="module")
def inputs():
    torch.manual_seed(1)
    return [[torch.randn(1, 2, 12)] for _ in range(8)]


@pytest.mark.slow
@needs_executorch
def test_a_float_program_agrees_and_can_be_timed(model, inputs, tmp_path):
    made = export_executorch(model, inputs[0], tmp_path / "a.pte", checks=inputs[1:])
    assert (made.format, made.precision) == ("executorch", "fp32")
    assert made.max_abs_difference < 1e-5 * made.scale
    assert [(port.shape, port.dtype) for port in made.inputs] == [((1, 2, 12), "float32")]
    arrays = [x.numpy() for x in inputs[0]]
    took = host.time_export(made.path, arrays, format="executorch", warmup=1, runs=3)
    assert took.runs == 3 and "ExecuTorch" in took.meter


@pytest.mark.slow
@needs_executorch
def test_eight_bits_are_close_and_named_modules_stay_exact(inputs, tmp_path):
    """Two layers alike, one of them named: both are quantised unless the name says otherwise."""
    model = TwoLayers()
    options = {"precision": "int8", "calibration": inputs, "keep_float": ["kept"]}
    made = export_executorch(model, inputs[0], tmp_path / "a.pte", **options)
    assert made.precision == "int8" and made.kept_float == ("kept",)
    assert 1e-4 * made.scale < made.max_abs_difference < 0.05 * made.scale
    coarse, kept = export.executorch_runner(made.path)([inputs[0][0].numpy()])
    expected = export.eager(model, inputs[0])
    assert abs(coarse - expected[0]).max() > 1e-4 * made.scale
    assert abs(kept - expected[1]).max() < 1e-6 * made.scale


def test_a_method_keeps_its_program_alive(monkeypatch, tmp_path):
    """A method whose program is gone reads freed memory."""
    import weakref
    from types import SimpleNamespace

    class Program:
        def load_method(self, name):
            return SimpleNamespace(execute=lambda tensors: tensors)

    program = Program()
    alive = weakref.ref(program)
    runtime = SimpleNamespace(load_program=lambda content: holder.pop())
    holder = [program]
    del program
    fake = SimpleNamespace(Runtime=SimpleNamespace(get=lambda: runtime))
    monkeypatch.setattr(export, "require", lambda module, extra: fake)
    (tmp_path / "a.pte").write_bytes(b"")
    run = export.executorch_runner(tmp_path / "a.pte")
    assert alive() is not None
    del run
    assert alive() is None


def test_quantisation_without_calibration_data_is_an_error(model, inputs, tmp_path):
    with pytest.raises(ValueError, match="quantisation without calibration data"):
        export_executorch(model, inputs[0], tmp_path / "a.pte", precision="int8")


def test_unknown_words_are_named(model, inputs, tmp_path):
    with pytest.raises(ConfigError, match="unknown precision 'int7'"):
        export_executorch(model, inputs[0], tmp_path / "a.pte", precision="int7")
    with pytest.raises(ConfigError, match="unknown module in keep_float '9'"):
        export_executorch(
            model, inputs[0], tmp_path / "a.pte", precision="int8", calibration=inputs,
            keep_float=["9"],
        )  # fmt: skip


def test_without_executorch_the_install_line_is_given(model, inputs, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "executorch.exir", None)
    with pytest.raises(MissingExtra, match=r"executorch.exir is not installed.*\[edge\]"):
        export_executorch(model, inputs[0], tmp_path / "a.pte")
