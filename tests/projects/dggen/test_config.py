"""Settings: presets of the paper, files, and what is refused."""

import json

import pytest

from common.errors import ConfigError
from projects.dggen import DGGen, DGGenConfig


def test_presets_are_the_table_of_the_brief():
    reddit = DGGenConfig.preset("reddit")
    assert (reddit.num_neighbors, reddit.memory_dim, reddit.num_components) == (100, 76, 32)
    assert (reddit.noise, reddit.noise_patience, reddit.learning_rate) == (9.30, 10, 8.73e-4)
    assert DGGenConfig.preset("bikeshare").num_sampled == 400
    lastfm = DGGenConfig.preset("lastfm")
    assert (lastfm.time_dim, lastfm.embedding_dim, lastfm.seed) == (800, 76, 0)
    assert (lastfm.batch_size, lastfm.epochs, lastfm.standardise) == (10, 50, False)
    assert DGGenConfig.preset("mooc", batch_size=200).batch_size == 200
    with pytest.raises(ConfigError, match="did you mean 'wikipedia'"):
        DGGenConfig.preset("wikipedi")


def test_settings_come_from_files_and_mappings(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("embedding_dim: 32\ncolumns: [gmm, 3]\n")
    assert DGGen(str(path)).config.columns == ("gmm", 3)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(DGGenConfig(noise=0.5).model_dump(mode="json")))
    assert DGGenConfig.of(path) == DGGenConfig(noise=0.5)
    assert DGGen({"epochs": 3}, batch_size=7).config.batch_size == 7


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"embeding_dim": 8}, "embedding_dim"),
        ({"columns": ["gm"]}, "column 0 is 'gm'"),
        ({"columns": [1]}, "at least 2"),
        ({"heads": 3}, "must divide"),
        ({"dropout": 1.0}, "dropout"),
        ({"time": "gamma"}, "lognormal"),
        ({"epochs": 0}, "epochs"),
    ],
)
def test_refusals_name_the_key(settings, message):
    with pytest.raises(ConfigError, match=message):
        DGGenConfig.of(settings)
