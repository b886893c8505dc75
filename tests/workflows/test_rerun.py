"""What makes a finished job run again, and what does not."""

import pytest

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

ALPHA = {"alpha: one", "alpha: two", "alpha: verdicts", "alpha: figures"}
BETA = {"beta: one", "beta: verdicts"}


def test_first_run_does_everything_and_second_nothing(done_house):
    assert done_house.planned("alpha", "beta") == set()
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
        ("scaffold", set()),
    ],
)
def test_shared_code_runs_what_imports_it(house, module, planned):
    house.change(f"common/{module}.py", "from __future__", "# changed\nfrom __future__")
    assert house.planned("alpha", "beta") == planned


def test_readme_and_a_new_checkout_run_nothing(house):
    for path in house.file("projects").rglob("*"):
        path.touch()
    house.file("projects/alpha/README.md").write_text("Another card.\n")
    assert house.planned("alpha", "beta") == set()


def test_recorded_input_runs_its_paper_and_a_recorded_outcome_nothing(house):
    recorded = house.file("projects/alpha/recorded")
    (recorded / "results/machine").mkdir(parents=True)
    for outcome in ("verdicts.json", "README.md", "results/machine/run.json"):
        (recorded / outcome).write_text("[]")
    assert house.planned("alpha", "beta") == set()
    (recorded / "log.csv").write_text("1,2\n")
    assert house.planned("alpha", "beta") == ALPHA


def test_claims_are_judged_again_without_a_run(house):
    house.change("projects/alpha/claims.yaml", "high: 1", "high: 2")
    assert house.planned("alpha", "beta") == {"alpha: verdicts"}


def test_captions_are_drawn_again_without_a_run(house):
    house.change("projects/alpha/paper.yaml", "What the line shows.", "More.")
    assert house.planned("alpha", "beta") == {"alpha: figures"}


def test_parameters_run_their_experiment(house):
    house.change("projects/alpha/paper.yaml", "delay: 0.0", "delay: 0.1")
    assert house.planned("alpha", "beta") == ALPHA - {"alpha: two"}


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
