"""The experiments from a run to figures and verdicts, and what they may not mix up."""

import numpy as np
import pandas as pd
import pytest

from common.claims import judge_claims
from common.papers import load_paper
from common.run import Run
from projects.osgd.experiments import FIRST_TUNING_SEED, _shrunk
from projects.osgd.properties import deviations

PAPER = load_paper("osgd")
HERE = ("properties", "quadratic", "digits", "cosines", "step_time")
IMAGES = {
    "seeds": 1,
    "epochs": 1,
    "tuning_epochs": 1,
    "rates": [0.1],
    "train": 128,
    "val": 64,
    "test": 64,
    "methods": {"width nested": ["joint", "osgd", "stand-alone"], "cascade": ["osgd"]},
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    for name in HERE:
        run = Run(PAPER, name, size="smoke", results=root, data_mode="synthetic")
        run.execute(PAPER.function("experiments", name))
    return root


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    options = {"size": "full", "results": root, "data_mode": "synthetic", "overrides": IMAGES}
    run = Run(PAPER, "cifar", **options)
    return run.execute(PAPER.function("experiments", "cifar")).observations()


def folder(root, name):
    return pd.read_parquet(root / "smoke" / "cpu" / "osgd" / name / "observations.parquet")


def test_no_claim_ends_as_an_error(results):
    verdicts = {v.claim: v for v in judge_claims(results, "smoke", "cpu", "osgd")}
    ours = [v for v in verdicts.values() if v.experiment in HERE]
    assert len(ours) > 10
    assert not [v for v in ours if v.verdict == "error"]
    assert verdicts["properties"].verdict == "reproduced"


def test_figures_are_drawn(results, images):
    for name, declared in PAPER.figures.items():
        if set(declared.experiments) <= set(HERE):
            rows = pd.concat([folder(results, experiment) for experiment in declared.experiments])
        elif declared.experiments == ("cifar",):
            rows = images
        else:
            continue
        assert PAPER.function("figures", name)(rows).axes


def test_images_report_every_stage_with_its_cost(images):
    rows = images[images["metric"] == "error"]
    assert set(rows["data"]) == {"substitute"}
    assert rows.groupby(["topology", "variant"])["stage"].nunique().eq(4).all()
    for _, part in rows.groupby(["topology", "variant"]):
        assert part.sort_values("stage")["macs"].is_monotonic_increasing


def test_rates_are_not_chosen_on_reported_seeds(results):
    rows = folder(results, "digits")
    assert rows.loc[rows["metric"] == "error", "seed"].max() < FIRST_TUNING_SEED
    assert set(rows.loc[rows["metric"] == "validation_error", "item"]) == {"tuning"}


def test_shrinking_averages_squares():
    from projects.osgd.data import Split

    x = np.arange(2 * 3 * 4 * 4, dtype=np.float32).reshape(2, 3, 4, 4)
    y = np.zeros(2, dtype=np.int64)
    found = _shrunk(Split(x, y, x, y, x, y, "squares"), 2)
    assert found.train_x.shape == (2, 3, 2, 2)
    assert found.train_x[0, 0, 0, 0] == x[0, 0, :2, :2].mean()
    assert found.test_x[1, 2, 1, 1] == x[1, 2, 2:, 2:].mean()


def test_properties_can_fail(monkeypatch):
    """Joint descent, put in the optimiser's place, breaks what the experiment looks at."""
    import projects.osgd.properties as module

    monkeypatch.setattr(module, "orthogonalize", lambda g: g.sum(0))
    found = deviations(np.random.default_rng(0))
    assert found["first task"] > 0.1
    assert found["parallel"] > 0.1
