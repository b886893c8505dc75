"""Checkpoints: everything comes back, nothing is unpickled, every mismatch is listed."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from common.errors import ConfigError
from common.graphs.events import EventStream
from projects.dggen import DGGen

SETTINGS = {
    "embedding_dim": 8,
    "memory_dim": 6,
    "time_dim": 4,
    "feats_dim": 8,
    "num_neighbors": 3,
    "batch_size": 10,
    "epochs": 1,
    "columns": ("gmm", 3),
    "time": "lognormal",
    "identity_dim": 2,
}


def stream():
    rng = np.random.default_rng(0)
    return EventStream.of(
        {
            "src": rng.integers(0, 6, 60),
            "dst": rng.integers(6, 10, 60),
            "t": 1000 + np.cumsum(rng.integers(0, 30, 60)),
            "msg_size": rng.normal(50, 5, 60),
            "msg_kind": rng.integers(0, 3, 60),
        }
    )


@pytest.fixture(scope="module")
def model():
    return DGGen(**SETTINGS).fit(stream()[:40], progress=False)


def test_a_loaded_model_is_the_saved_one(model, tmp_path):
    model.save(tmp_path / "model")
    loaded = DGGen.load(tmp_path / "model")
    assert loaded.config == model.config and loaded.num_events_ == 40
    assert loaded.losses_ == model.losses_
    pd.testing.assert_frame_equal(loaded.log_prob(stream()[40:]), model.log_prob(stream()[40:]))
    one, two = (m.sample(20, seed=3) for m in (model, loaded))
    assert np.array_equal(one.msg, two.msg) and one.columns == two.columns
    empty = [m.log_prob(stream()[:20], start="empty") for m in (model, loaded)]
    pd.testing.assert_frame_equal(*empty)
    loaded.observe(stream()[40:50])
    assert loaded.num_events_ == 50


def test_the_files_hold_json_and_tensors_only(model, tmp_path):
    model.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "weights.pt"}
    assert json.loads((tmp_path / "config.json").read_text())["config"]["embedding_dim"] == 8
    tensors = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert all(isinstance(tensor, torch.Tensor) for tensor in tensors.values())


def test_all_settings_that_differ_are_listed(model, tmp_path):
    model.save(tmp_path)
    other = {**SETTINGS, "embedding_dim": 16, "time": "exponential", "memory_limit": 1.0}
    with pytest.raises(ConfigError) as error:
        DGGen.load(tmp_path, config=other)
    assert "embedding_dim: checkpoint 8, asked for 16" in str(error.value)
    assert "time: checkpoint 'lognormal', asked for 'exponential'" in str(error.value)
    assert "memory_limit" not in str(error.value)
    assert DGGen.load(tmp_path, config=SETTINGS).num_events_ == 40


def test_all_tensors_that_do_not_fit_are_listed(model, tmp_path):
    model.save(tmp_path)
    tensors = torch.load(tmp_path / "weights.pt", weights_only=True)
    tensors["weight.extra"] = tensors.pop("weight.merge.last.bias")
    tensors["weight.merge.last.weight"] = torch.zeros(2, 2)
    torch.save(tensors, tmp_path / "weights.pt")
    with pytest.raises(ConfigError) as error:
        DGGen.load(tmp_path)
    for line in ("missing merge.last.bias", "unknown extra", "checkpoint (2, 2), model (8, 8)"):
        assert line in str(error.value)


def test_other_versions_and_broken_folders(model, tmp_path):
    with pytest.raises(ConfigError, match=r"holds no config\.json"):
        DGGen.load(tmp_path)
    model.save(tmp_path)
    about = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**about, "format": 99}))
    with pytest.raises(ConfigError, match="checkpoint format 99; this version reads 1"):
        DGGen.load(tmp_path)
    changed = {**about, "config": {**about["config"], "embeding_dim": 8}}
    (tmp_path / "config.json").write_text(json.dumps(changed))
    with pytest.raises(ConfigError, match="embeding_dim"):
        DGGen.load(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match="no JSON"):
        DGGen.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(about))
    (tmp_path / "weights.pt").unlink()
    with pytest.raises(ConfigError, match=r"no weights\.pt"):
        DGGen.load(tmp_path)
