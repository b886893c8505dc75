"""The front door: one table, honest labels, reasons for what is left out, a card."""

from dataclasses import replace

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
torch = pytest.importorskip("torch")

from common.errors import ConfigError
from common.hardware.probe import Probe
from common.hardware.targets.wearable import (
    export_int8_onnx,
    export_onnx,
    model_card,
    probing,
    profile,
)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))


@pytest.fixture(scope="module")
def inputs():
    torch.manual_seed(1)
    return [[torch.randn(1, 16)] for _ in range(8)]


@pytest.fixture(scope="module")
def exports(model, inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports")
    fp32 = export_onnx(model, inputs[0], folder / "toy.onnx")
    path = folder / "toy8.onnx"
    return fp32, export_int8_onnx(model, inputs[0], path, calibration=inputs, fp32=fp32)


@pytest.fixture(scope="module")
def table(exports, inputs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probing, "devices", lambda: ([], "no watch is attached"))
        patch.setattr(probing, "emulator", lambda: Probe(False, "no emulator", "packages"))
        return profile(exports, inputs[0], runs=5, warmup=1)


def test_a_module_is_exported_in_both_precisions(model, inputs):
    rows = profile(model, inputs[0], calibration=inputs, targets=[])
    assert set(rows["precision"]) == {"fp32", "int8"} and set(rows["target"]) == {"file"}


def test_every_number_says_how_it_came_about(table):
    labels = dict(zip(table["target"], table["measurement"], strict=True))
    assert labels["x86"] == labels["file"] == "measured"
    assert {labels[chip] for chip in ("w5", "w920", "w1000", "w1000-a78")} == {"modelled"}
    assert table.loc[table["quantity"] != "skipped", "meter"].all()


def test_a_model_gives_ranges_that_hold_its_value(table):
    modelled = table[table["measurement"] == "modelled"]
    assert len(modelled) == 2 * 4 * 2, "precisions, chips, latency and energy"
    assert (modelled["low"] < modelled["value"]).all()
    assert (modelled["value"] < modelled["high"]).all()


def test_both_precisions_count_the_same_work(table):
    macs = table[table["quantity"] == "macs"].set_index("precision")["value"]
    assert macs.to_dict() == {"fp32": 16 * 8 + 8 * 3, "int8": 16 * 8 + 8 * 3}


def test_what_is_missing_is_a_row_with_its_reason(table):
    skipped = table[table["quantity"] == "skipped"].set_index(["target", "precision"])
    assert set(skipped.index) == {(t, p) for t in ("emulator", "device") for p in ("fp32", "int8")}
    assert "no emulator; to enable it: packages" in skipped.loc[("emulator", "fp32"), "note"]
    assert "no watch is attached" in skipped.loc[("device", "int8"), "note"]
    assert skipped["value"].isna().all()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ({"format": "executorch"}, "takes ONNX files, not executorch"),
        ({"precision": "fp16"}, "knows floats of 32 bits and integers of eight, not fp16"),
    ],
)
def test_what_kernels_and_chips_do_not_know_is_skipped(kind, reason, exports, inputs):
    rows = profile(replace(exports[0], **kind), inputs[0], targets=["emulator", "w5"])
    rows = rows[rows["target"] != "file"]
    assert list(rows["quantity"]) == ["skipped"] * 2 and set(rows["note"]) == {reason}


def test_an_unknown_part_is_named(model, inputs):
    with pytest.raises(ConfigError, match=r"unknown part of the wearable target 'w6'.*w5"):
        profile(model, inputs[0], targets=["w6"])


def test_the_card_holds_costs_limits_and_reasons(exports, table):
    made = exports[0]
    card = model_card(
        made,
        table,
        name="toy",
        task="Nothing from noise.",
        data="noise (synthetic)",
        metrics={"balanced accuracy": 1 / 3},
        limits=["Not for use."],
    )
    assert card.startswith("# toy (onnx, fp32)\n\nNothing from noise.\n")
    for line in (
        f"| sha256 | `{made.sha256}` |",
        "| takes | input float32[1, 16] |",
        "| balanced accuracy | 0.3333 |",
        "| device | skipped | | | | no device over adb",
        "- Not for use.",
    ):
        assert line in card
    (w5,) = [row for row in card.splitlines() if row.startswith("| w5 | latency")]
    assert "modelled" in w5 and " to " in w5
    assert "toy.onnx" in card and str(made.path.parent) not in card
