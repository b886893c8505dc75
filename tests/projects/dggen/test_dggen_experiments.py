"""The experiments run without real data, and the claims find what they name in the results."""

import numpy as np
import pytest

from common.claims import judge_claims
from common.papers import load_paper
from common.run import Run

TINY = {
    "evaluation": {"model": {"embedding_dim": 8, "memory_dim": 8, "time_dim": 8, "epochs": 3}},
    "throughput": {},
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    paper = load_paper("dggen")
    folders = {}
    for name, changes in TINY.items():
        options = {"size": "smoke", "results": root, "data_mode": "synthetic"}
        run = Run(paper, name, **options, overrides=changes)
        folders[name] = run.execute(paper.function("experiments", name))
    return root, folders


def test_everything_is_observed_and_labelled(results):
    rows = results[1]["evaluation"].observations()
    assert set(rows["data"]) == {"synthetic"}
    assert {"dggen", "tigger", "activity_driven", "replay", "tgn", "edgebank", "counts"} <= set(
        rows["variant"]
    )
    assert set(rows["negatives"].dropna()) == {"random", "historical", "inductive"}
    score = rows[rows["metric"].isin(["wins", "ties", "losses"])]
    assert (score.groupby(["rival", "windows"])["value"].sum() == 10).all()
    curve = rows[rows["metric"] == "curve_jl"]
    assert sorted(curve["epoch"]) == [1, 2, 3] and curve["value"].between(-1, 1).all()
    shares = rows[rows["metric"] == "share"].groupby(["variant", "column"])["value"].sum()
    assert np.allclose(shares, 1)
    speeds = results[1]["throughput"].observations()
    assert (speeds.loc[speeds["metric"] == "events_per_second", "value"] > 0).all()


def test_the_test_is_as_good_as_itself(results):
    """A real stream repeats pairs of its history; the report for it stands beside the others."""
    rows = results[1]["evaluation"].observations()
    copied = rows[rows["metric"] == "copied_pairs"].set_index("variant")["value"]
    assert copied["bootstrap"] == copied["replay"] == 1.0 and 0 < copied["real"] < 1


def test_no_claim_is_an_error(results, monkeypatch):
    """Out of scope at this size, so the scope is opened first."""
    import common.claims
    from common.papers import Scope, load_claims

    claims = [claim.model_copy(update={"scope": Scope()}) for claim in load_claims("dggen")]
    monkeypatch.setattr(common.claims, "load_claims", lambda *_: claims)
    verdicts = judge_claims(results[0], "smoke", "cpu", "dggen")
    assert len(verdicts) == len(claims)
    assert not [(v.claim, v.reason) for v in verdicts if v.verdict == "error"]
    judged = {v.claim for v in verdicts if v.verdict != "untested"}
    assert {"topology-tigger", "source", "links-inductive-edgebank", "training-curve"} <= judged


def test_figures_show_what_was_observed(results):
    import projects.dggen.figures as figures

    for name, experiment in (
        ("topology", "evaluation"),
        ("likelihood", "evaluation"),
        ("links", "evaluation"),
        ("curve", "evaluation"),
        ("features", "evaluation"),
        ("throughput", "throughput"),
    ):
        fig = getattr(figures, name)(results[1][experiment].observations())
        drawn = [ax for ax in fig.axes if ax.get_visible()]
        assert drawn and all(ax.has_data() for ax in drawn), name
