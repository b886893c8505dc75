import numpy as np
import pandas as pd
import pytest

from common.claims import judge
from common.estimates import ClaimError
from common.papers import load_claims, load_paper
from common.run import Run
from projects.alert.claims import harmonic_mean

REPLAYED = ("candidates", "schemes", "ablation", "timeline", "overhead")
SMALL = {"inputs": 25, "networks": 5, "stages": [0, 2], "deadlines": 2, "goals": 2}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folder of each experiment, run small and on generated data alone."""
    paper, folders = load_paper("alert"), {}
    for name in REPLAYED:
        declared = paper.experiment(name)
        overrides = {key: value for key, value in SMALL.items() if key in declared.params}
        if name == "overhead":
            overrides = {"shapes": [[30, 31]], "cycles": 20, "seeds": 2}
        run = Run(
            paper,
            name,
            size="smoke",
            results=tmp_path_factory.mktemp("results"),
            data_mode="synthetic",
            overrides=overrides,
        )
        folders[name] = run.execute(paper.function("experiments", name))
    return folders


@pytest.mark.parametrize("name", REPLAYED)
def test_every_experiment_runs_and_labels_what_it_made_up(runs, name):
    rows = runs[name].observations()
    assert runs[name].record().status == "done"
    assert set(rows["data"]) == {"synthetic"}
    measured = set(rows.loc[rows["measurement"] == "measured", "metric"])
    assert measured <= {"p50", "p99", "filter", "accuracy"}


def test_joules_are_modelled_and_replays_simulated(runs):
    rows = runs["schemes"].observations()
    labels = rows.groupby("metric")["measurement"].unique().map(sorted).to_dict()
    assert labels["energy"] == ["modelled"]
    assert labels["error"] == labels["violations"] == labels["late"] == ["simulated"]
    by_mode = rows[rows["metric"] == "normalised"].groupby("mode")["measurement"].unique()
    assert by_mode.map(list).to_dict() == {"energy": ["modelled"], "error": ["simulated"]}


def test_every_scheme_stands_in_every_cell(runs):
    rows = runs["schemes"].observations()
    met = rows[rows["metric"] == "met"]
    assert met["variant"].nunique() == 11
    assert len(met) == 11 * 3 * 2 * 4  # schemes, environments, modes, settings
    assert not met.duplicated(["variant", "item"]).any()


def test_every_claim_of_the_replay_can_be_judged(runs):
    for claim in load_claims("alert"):
        if claim.experiment not in REPLAYED:
            continue
        rows = runs[claim.experiment].observations()
        try:
            judge(claim, rows, runs[claim.experiment])
        except ClaimError as error:  # in so small a replay no setting may be met by both sides
            assert claim.metric == "normalised_met"
            assert "no unit has all" in str(error) or "no observation of" in str(error)


@pytest.mark.parametrize(
    "figure",
    ["candidates", "power", "timeline", "schemes", "means", "violations", "ablation", "overhead"],
)
def test_every_figure_is_drawn(runs, figure):
    paper = load_paper("alert")
    (experiment,) = paper.figures[figure].experiments
    drawn = paper.function("figures", figure)(runs[experiment].observations())
    assert drawn.axes and any(ax.has_data() or ax.texts for ax in drawn.axes)


def test_recorded_platform_and_environments_are_real_input(tmp_path):
    paper = load_paper("alert")
    overrides = {**SMALL, "platforms": ["recorded"], "sources": ["recorded"]}
    run = Run(paper, "schemes", size="smoke", results=tmp_path, overrides=overrides)
    rows = run.execute(paper.function("experiments", "schemes")).observations()
    assert set(rows["data"]) == {"substitute"}
    assert set(rows["environment"]) == {"default", "memory", "compute"}


def test_harmonic_mean_of_settings():
    rows = pd.DataFrame({"dataset": "d", "item": list("aabb"), "value": [1.0, 1.0, 4.0, 4.0]})
    assert harmonic_mean(rows).value == pytest.approx(1.6)
    assert np.isfinite(harmonic_mean(rows).low)
