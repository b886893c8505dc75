"""The configuration: what is refused, and with which words."""

import json

import pytest
import yaml

from common.errors import ConfigError
from common.papers import Paper
from common.workflow import (
    TIMING_SHARES,
    Plan,
    WorkflowConfig,
    load_config,
    main,
    missing_packages,
    model_key,
)

SIZES = ("smoke", "quick", "full")


def paper(**experiment):
    declared = {"title": "t", "params": {"n": 1, "name": "x"}, "sizes": {"smoke": None}}
    return Paper(
        slug="toy",
        title="Toy",
        authors=(),
        venue="none",
        year=2020,
        url="",
        group="",
        summary="",
        experiments={"one": declared | experiment, "other": declared},
    )


@pytest.fixture
def toy(monkeypatch, tmp_path):
    import common.papers
    import common.workflow

    declared = paper(timed=True, environment="vllm")
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "paper.yaml").touch()
    for module in (common.papers, common.workflow):
        monkeypatch.setattr(module, "projects_root", lambda: tmp_path)
    monkeypatch.setattr(common.workflow, "load_paper", lambda slug: declared)
    return declared


@pytest.mark.parametrize("size", SIZES)
def test_shipped_configs_are_valid(root, size):
    content = yaml.safe_load((root / f"workflows/config/{size}.yaml").read_text())
    config = load_config(content, size)
    assert config.size == size
    assert set(content) == set(WorkflowConfig.model_fields)  # every key is shown to the reader


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"size": "quick", "papres": "all"}, "here: unknown key 'papres'; did you mean 'papers'?"),
        ({"size": "quik"}, "here: size: Input should be 'smoke', 'quick' or 'full' (got 'quik')"),
        ({"size": "quick", "target": "tpu"}, "here: target: Input should be 'cpu', 'gpu' or"),
        ({"size": "quick", "data": "fake"}, "here: data: Input should be 'auto', 'real' or"),
        ({"size": "quick", "papers": "tyo"}, "unknown paper 'tyo'; did you mean 'toy'?"),
        ({"size": "quick", "papers": []}, "here: papers:"),
        ({}, "here: missing key 'size'"),
        ({"size": "quick", "model": "referense"}, "a reference model; did you mean 'reference'?"),
        ({"size": "smoke", "params": {"toy.ane": {}}}, "toy.ane: toy has no experiment 'ane'; did"),
        ({"size": "smoke", "params": {"toy.one": {"m": 1}}}, "toy.one: unknown parameter 'm'; all"),
    ],
)
def test_bad_config_is_named(toy, content, message):
    with pytest.raises(ConfigError) as caught:
        load_config(content, "here")
    assert message in str(caught.value)


def test_papers_by_name_or_all(toy):
    assert load_config({"size": "smoke", "papers": "all"}, "").papers == ("toy",)
    assert load_config({"size": "smoke", "papers": "toy, toy"}, "").papers == ("toy",)


def test_overrides_from_the_command_line_get_their_types(toy):
    # `snakemake --config` hands nested values on as text.
    config = load_config({"size": "smoke", "params": {"toy.one": {"n": "3", "name": "7"}}}, "")
    assert config.params == {"toy.one": {"n": 3, "name": "7"}}
    assert Plan.of(config, "toy").overrides("one") == """--set=n=3 '--set=name="7"'"""


def test_environment_picks_the_interpreter(toy):
    plan = Plan.of(load_config({"size": "smoke", "python": {"vllm": "/a b/python"}}, ""), "toy")
    assert plan.python("one") == "'/a b/python'"
    assert plan.python("other") == "python"
    assert Plan.of(load_config({"size": "smoke"}, ""), "toy").python("one") == "python"


def test_nothing_runs_beside_a_timed_experiment(toy, root):
    plan = Plan.of(load_config({"size": "smoke"}, ""), "toy")
    assert plan.timing("one") == TIMING_SHARES
    assert plan.timing("other") == 1
    profile = (root / "workflows/profiles/default/config.yaml").read_text()
    assert f"timing: {TIMING_SHARES}\n" in profile


def test_a_language_model_is_made_first_unless_weights_are_given(toy, tmp_path, monkeypatch):
    declared = paper(language_model="reference")
    monkeypatch.setattr("common.workflow.load_paper", lambda slug: declared)
    plan = Plan.of(load_config({"size": "smoke"}, ""), "toy")
    assert plan.inputs("one") == ["results/shared/reference.txt"] and plan.inputs("other") == []
    assert plan.overrides("one") == "--model=reference" and plan.overrides("other") == ""
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "config.json").write_text("{}")
    own = Plan.of(load_config({"size": "smoke", "model": str(tmp_path / "weights")}, ""), "toy")
    assert own.inputs("one") == [] and own.overrides("other") == ""
    assert own.overrides("one") == f"--model={tmp_path / 'weights'}"


def test_other_weights_are_another_model(tmp_path):
    assert model_key("reference") != model_key("draft")
    (tmp_path / "a.safetensors").write_bytes(b"12")
    before = model_key(str(tmp_path))
    (tmp_path / "a.safetensors").write_bytes(b"123")
    assert model_key(str(tmp_path)) != before


def test_a_paper_without_experiments_here_has_nothing_to_run(toy):
    plan = Plan.of(load_config({"size": "smoke", "target": "gpu"}, ""), "toy")
    assert plan.experiments == []
    assert plan.results == ["results/smoke/gpu/toy/verdicts.json"]


def test_stand_ins_are_outdated_once_the_data_is_here(toy, tmp_path, monkeypatch):
    record = {
        **{"paper": "toy", "experiment": "one", "size": "smoke", "target": "cpu"},
        **{"status": "done", "config": {}, "digest": "", "data_mode": "auto"},
        **{"started": "", "finished": "", "seconds": 1, "cpu_seconds": 1, "peak_memory_mb": 1},
        "stand_ins": {"traces": "no network"},
    }
    path = tmp_path / "results/smoke/cpu/toy/one/run.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(record))
    options = ["size=smoke", f"results={tmp_path / 'results'}", "papers=toy"]
    here = "no"
    monkeypatch.setattr("common.data.inspection.presence", lambda name: here)
    assert main(options) == ""
    here = "cache"
    assert main(options) == str(path.with_name("observations.parquet"))
    assert main([*options, "data=synthetic"]) == ""
    path.write_text(json.dumps(record | {"stand_ins": {}}))
    assert main(options) == ""
    path.write_text("{")
    assert main(options) != ""


def test_password_of_the_store_is_in_no_option(toy, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@host")
    config = load_config({"size": "smoke"}, "")
    assert "secret" not in config.track_options + config.store_digest
    digest = config.store_digest
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere")
    assert config.store_digest != digest


def test_missing_packages_of_an_extra(tmp_path):
    path = tmp_path / "pyproject.toml"
    path.write_text(
        '[project.optional-dependencies]\na = ["PyYAML>=6", "no_such.Thing[x]>=1; extra"]\n'
    )
    assert missing_packages(["a", "unknown"], path) == ("no-such.thing",)
