"""Stages on the wearable target: fixed batches, sums over stages, and the experiment."""

import numpy as np
import onnx
import pytest
import torch

from common.claims import judge_claims
from common.errors import ConfigError
from common.hardware.probe import Unavailable
from common.hardware.targets.wearable import chips, probing
from common.hardware.targets.wearable.costs import layer_costs
from common.papers import load_paper
from common.run import Run
from projects.osgd.wearable import fix_batch, fixed_stages, profile_graphs

PAPER = load_paper("osgd")


@pytest.fixture(scope="module")
def graphs(width, tmp_path_factory):
    return fixed_stages(width[1], tmp_path_factory.mktemp("fixed"), batch=3)


def test_fixed_graphs_answer_as_the_network_does(width, shape, graphs):
    x = torch.from_numpy(graphs[0].inputs[0])
    assert x.shape == (3, *shape)
    for graph, logits in zip(graphs, width[0].eval()(x), strict=True):
        np.testing.assert_allclose(graph.outputs["logits"], logits.detach(), atol=1e-5)
        assert graph.export.max_abs_difference == 0
        for port in onnx.load(graph.export.path).graph.input:
            sizes = [d.dim_value for d in port.type.tensor_type.shape.dim]
            assert sizes[0] == 3 and all(sizes)


def test_counted_products_are_those_of_the_network(width, shape, graphs):
    table = profile_graphs(graphs, targets=["w5"])
    macs = table[table["quantity"] == "macs"].set_index("stage")["value"]
    own = [3 * cost.macs for cost in width[0].stage_costs(shape)]
    assert [*macs[[1, 2, 3, 0]]] == [*own, sum(own)]


def test_times_of_stages_add_up_with_their_ranges(graphs):
    table = profile_graphs(graphs, targets=["w5"])
    whole = table[(table["stage"] == 0) & (table["quantity"] == "latency")].iloc[0]
    each = [chips.latency(layer_costs(graph.export.path), "w5") for graph in graphs]
    for end in ("value", "low", "high"):
        assert whole[end] == pytest.approx(sum(getattr(part, end) for part in each))
    assert not ((table["stage"] == 0) & table["quantity"].isin(["bytes", "difference"])).any()


def test_a_missing_input_and_an_empty_batch_are_named(width, shape, tmp_path):
    manifest = width[1]
    with pytest.raises(ConfigError, match=r"stage1\.onnx takes .*cache0.* is not given"):
        x = {"x": np.zeros((1, *shape), np.float32)}
        fix_batch(manifest.parent / "stage1.onnx", tmp_path / "a.onnx", x)
    with pytest.raises(ConfigError, match="batch=0"):
        fixed_stages(manifest, tmp_path, batch=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    options = {"size": "smoke", "target": "wearable", "data_mode": "synthetic"}
    overrides = {"parts": ["w5", "emulator"], "alone": ["dense"]}
    root = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probing, "emulator", _absent)
        run = Run(PAPER, "wearable", results=root, overrides=overrides, **options)
        return run.execute(PAPER.function("experiments", "wearable"))


def _absent():
    raise Unavailable("no emulator here")


def test_the_experiment_labels_what_it_models(folder):
    rows = folder.observations()
    assert set(rows.loc[rows["metric"] == "accuracy", "data"]) == {"substitute"}
    modelled = rows[rows["metric"].isin(["latency", "latency_until", "energy"])]
    assert set(modelled["measurement"]) == {"modelled"}
    assert (modelled["low"] < modelled["value"]).all() and (
        modelled["value"] < modelled["high"]
    ).all()
    skipped = {entry["variant"] for entry in folder.record().skipped}
    assert skipped == {"all stages", "last, dense"}, "no emulator, no count to claim anything of"
    until = rows[(rows["metric"] == "latency_until") & (rows["variant"] == "all stages")]
    assert until.sort_values("stage")["value"].is_monotonic_increasing


def test_figures_are_drawn_and_no_claim_is_an_error(folder):
    rows = folder.observations()
    for name in ("wearable", "instructions"):
        assert PAPER.function("figures", name)(rows).axes
    root = folder.path.parents[3]
    verdicts = judge_claims(root, "smoke", "wearable", "osgd")
    assert {v.verdict for v in verdicts} == {"untested"}
