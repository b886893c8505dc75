"""What makes a finished job run again, and what does not."""

import pytest

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

ALPHA = {"alpha: one", "alpha: two", "alpha: verdicts", "alpha: figures"}
BETA = {"beta: one", "beta: verdicts"}


def test_first_run_does_everything(done_house):
    folder = done_house.file("results/smoke/cpu/alpha")
    for name in (
        "one/observations.parquet",
        "one/run.json",
        "two/run.json",
        "verdicts.json",
        "scorecard.txt",
        "figures/line.png",
        "logs/run-one.log",
        "benchmarks/run-one.tsv",
    ):
        assert (folder / name).is_file(), name


def test_code_of_a_paper_runs_that_paper_alone(house):
    house.change("projects/alpha/experiments.py", "i / 10", "i / 20")
    assert house.planned("alpha", "beta") == ALPHA


@pytest.mark.parametrize(
    ("module", "planned"),
    [
        ("journal", ALPHA | BETA),
        ("plotting", {"alpha: figures", "alpha: verdicts", "beta: verdicts"}),
        ("scorecard", {"alpha: verdicts", "beta: verdicts"}),
    ],
)
def test_shared_code_runs_what_imports_it(house, module, planned):
    change_shared(house, module)
    assert house.planned("alpha", "beta") == planned


def change_shared(house, module):
    house.change(f"common/{module}.py", "from __future__", "# changed\nfrom __future__")


def test_a_new_checkout_text_outcomes_and_code_of_no_rule_run_nothing(house):
    for path in house.file("projects").rglob("*"):
        path.touch()
    house.file("projects/alpha/README.md").write_text("Another card.\n")
    recorded = house.file("projects/alpha/recorded")
    (recorded / "results/machine").mkdir(parents=True)
    for outcome in ("verdicts.json", "README.md", "results/machine/run.json"):
        (recorded / outcome).write_text("[]")
    change_shared(house, "scaffold")
    assert house.planned("alpha", "beta") == set()


# Two papers know nothing of one another, so one look at the plan serves a change in each.


def test_claims_are_judged_and_captions_drawn_again_without_a_run(house):
    house.change("projects/alpha/paper.yaml", "What the line shows.", "More.")
    house.change("projects/beta/claims.yaml", "high: 1", "high: 2")
    assert house.planned("alpha", "beta") == {"alpha: figures", "beta: verdicts"}


def test_parameters_run_their_experiment_and_recorded_input_its_paper(house):
    house.change("projects/alpha/paper.yaml", "delay: 0.0", "delay: 0.1")
    recorded = house.file("projects/beta/recorded")
    recorded.mkdir()
    (recorded / "log.csv").write_text("1,2\n")
    assert house.planned("alpha", "beta") == (ALPHA - {"alpha: two"}) | BETA


def test_config_overrides_run_their_experiment(house):
    planned = house.planned("alpha", "beta", "--config", "params={alpha.two: {n: 3}}")
    assert planned == {"alpha: two", "alpha: verdicts"}


def test_another_data_mode_runs_everything(house):
    assert house.planned("alpha", "--config", "data=synthetic") == ALPHA


def test_another_results_tree_starts_anew(house):
    assert house.planned("--config", "results=elsewhere") == {
        *ALPHA,
        *BETA,
        "results into the tracking store",
    }
