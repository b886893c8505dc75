"""Every experiment at its smallest, without any data set; its claims and figures on top."""

import warnings

import pytest

from common.claims import judge_claims
from common.papers import load_claims, load_paper
from common.run import Run

TINY = {
    "csl": {"copies": 4, "folds": 2, "used_folds": 2, "epochs": 1, "hidden": 8, "layers": 2},
    "exp": {"graphs": 24, "folds": 3, "used_folds": 2, "epochs": 1, "hidden": 8, "layers": 2},
    "tree": {"graphs": 60, "epochs": {"2": 1, "3": 1}, "hidden": 8},
    "tree_deep": {"depths": [2], "graphs": 60, "epochs": {"2": 1}, "hidden": 8},
    "oversmoothing": {"seeds": 2, "layers": 10, "hidden": 16, "k": [1, 2]},
    "graph_classification": {
        "sets": [{"name": "MUTAG", "folds": 2, "epochs": 1}],
        "hidden": 8,
        "layers": 2,
        "variants": ["plain", "shared", "per-graph", "virtual-node", "pearl", "gps", "gat", "rni"],
        "pearl_samples": 3,
    },
    "reddit_long": {
        "sets": [{"name": "REDDIT-BINARY", "folds": 2, "epochs": 1, "published": True}],
        "hidden": 8,
        "layers": 2,
        "variants": ["plain"],
    },
    "heterophily": {"sets": ["minesweeper"], "splits": 2, "epochs": 2, "hidden": 8, "layers": 2},
    "peptides": {"seeds": 2, "epochs": 1, "hidden": 8, "layers": 2},
    "cost": {"seeds": 2, "nodes": [100], "pearl_samples": 3},
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """One tree of results of all experiments, under the name of the full size on the CPU."""
    root, paper = tmp_path_factory.mktemp("results"), load_paper("srf")
    assert set(TINY) == set(paper.experiments)
    for name, overrides in TINY.items():
        if "cpu" not in paper.experiment(name).targets:
            continue
        settings = {"size": "full", "results": root, "data_mode": "synthetic"}
        run = Run(paper, name, overrides=_small(name, overrides, paper), **settings)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run.execute(paper.function("experiments", name))
    return root


def _small(name, overrides, paper):
    params = paper.experiment(name).params
    keys = ("variants", "depths", "kernels", "seeds")
    return {key: params[key] for key in keys if key in params} | overrides


def rows(results, name):
    import pandas as pd

    return pd.read_parquet(results / "full" / "cpu" / "srf" / name / "observations.parquet")


def test_no_claim_meets_a_column_or_variant_that_is_missing(results):
    verdicts = {v.claim: v for v in judge_claims(results, "full", "cpu", "srf")}
    quick = {claim.id for claim in load_claims("srf") if "quick" in claim.scope.sizes}
    sets = {"reddit", "reddit-released", "reddit-fresh", "reddit-sketch", "mutag", "proteins"}
    # One generated set takes the place of all, and the cost claims are about larger graphs.
    for name in quick - sets - {"cost-pearl", "cost-memory"}:
        assert verdicts[name].verdict != "error", verdicts[name].reason
    for name in ("drugood-assay", "drugood-size", "peptides-struct", "reddit-multi"):
        assert verdicts[name].verdict == "untested" and "skipped" in verdicts[name].reason


def test_stand_ins_are_labelled_and_constructions_are_the_papers_own(results):
    for name in ("exp", "graph_classification", "heterophily", "peptides", "oversmoothing", "cost"):
        assert set(rows(results, name)["data"]) == {"synthetic"}, name
    for name in ("csl", "tree"):
        assert set(rows(results, name)["data"]) == {"original"}, name


def test_what_does_not_depend_on_the_order_stands_in_one(results):
    for name in ("csl", "exp"):
        seen = rows(results, name).groupby("variant")["order"].unique().map(set)
        assert seen["plain"] == seen["s_id"] == {"canonical"}
        assert seen["shared"] == seen["per-graph"] == {"canonical", "permuted"}


def test_after_one_epoch_there_is_nothing_to_choose(results):
    found = rows(results, "graph_classification")
    assert set(found["variant"]) == set(TINY["graph_classification"]["variants"])
    table = found.pivot_table(index=["variant", "item"], columns="protocol", values="value")
    assert (table["released"] == table["nested"]).all()


def test_energy_starts_alike_and_is_kept_by_features(results):
    found = rows(results, "oversmoothing")
    first = found[(found["metric"] == "energy") & (found["layer"] == 0)]
    assert (first.groupby("item")["value"].nunique() == 1).all()
    last = found[found["metric"] == "final_energy"].groupby("variant")["value"].mean()
    assert last["srf laplace"] > 100 * last["plain"]


@pytest.mark.parametrize("name", ["orders", "tree", "oversmoothing", "sets", "cost"])
def test_figures_draw(results, name, tmp_path):
    import pandas as pd

    from common.plotting import save

    paper = load_paper("srf")
    parts = [rows(results, part) for part in paper.figures[name].experiments]
    figure = paper.function("figures", name)(pd.concat(parts, ignore_index=True))
    assert figure.axes and all(path.stat().st_size for path in save(figure, tmp_path / name))
