"""What papers may declare, and how a mistake in a declaration is said."""

from __future__ import annotations

import math

import pytest
import yaml

from common.errors import ConfigError
from common.papers import Claim, Experiment, load_claims, load_paper, load_target, slugs
from common.schema import validate


def experiment(**changes):
    return validate({"title": "E", "sizes": {"quick": None}, **changes}, Experiment, "here")


# -- the registry --------------------------------------------------------------------------


def test_registry_lists_folders_with_a_paper(shelf):
    shelf.write("zeta")
    shelf.write("alpha")
    (shelf.root / "notes").mkdir()
    assert slugs(shelf.root) == ["alpha", "zeta"]
    assert load_paper("zeta", shelf.root).title == "The zeta paper"
    assert slugs() == slugs(shelf.root)


def test_unknown_paper_names_the_closest(shelf):
    shelf.write("alpha")
    with pytest.raises(ConfigError, match="unknown paper 'alhpa'; did you mean 'alpha'"):
        load_paper("alhpa", shelf.root)


def test_slug_has_to_be_the_folder(shelf):
    shelf.write("alpha", **{"title": "x"})
    (shelf.root / "beta").mkdir()
    (shelf.root / "alpha" / "paper.yaml").rename(shelf.root / "beta" / "paper.yaml")
    with pytest.raises(ConfigError, match=r"beta/paper.yaml: slug is 'alpha', folder 'beta'"):
        load_paper("beta", shelf.root)


def test_errors_in_a_paper_name_file_and_key(shelf):
    folder = shelf.write(experiments={"speed": {"titel": "x", "sizes": {"quick": None}}})
    with pytest.raises(ConfigError) as error:
        load_paper("toy", shelf.root)
    lines = str(error.value).splitlines()
    assert all(line.startswith(str(folder / "paper.yaml")) for line in lines)
    assert any("'experiments.speed.titel'; did you mean 'title'" in line for line in lines)


def test_figure_of_an_unknown_experiment(shelf):
    shelf.write(figures={"bars": {"title": "B", "caption": "C", "experiments": ["sped"]}})
    with pytest.raises(ConfigError, match=r"figures.bars uses unknown experiment 'sped'.*'speed'"):
        load_paper("toy", shelf.root)


def test_paper_answers_for_its_experiments(shelf):
    paper = shelf.add()
    assert paper.experiments_at("quick", "cpu") == ["speed"]
    assert paper.experiments_at("full", "cpu") == ["speed", "later"]
    assert paper.experiments_at("full", "gpu") == ["speed"]
    with pytest.raises(ConfigError, match="toy has no experiment 'sped'; did you mean 'speed'"):
        paper.experiment("sped")
    assert paper.path("recorded", "x.csv") == shelf.root / "toy" / "recorded" / "x.csv"


# -- claims of the registry ----------------------------------------------------------------


def test_claim_of_an_unknown_experiment_names_file_and_closest(shelf, entry):
    folder = shelf.write(claims=[entry(experiment="sped")])
    with pytest.raises(ConfigError) as error:
        load_claims("toy", shelf.root)
    assert str(folder / "claims.yaml") in str(error.value)
    assert "'a-claim' names unknown experiment 'sped'; did you mean 'speed'" in str(error.value)


def test_claim_ids_are_unique(shelf, entry):
    shelf.write(claims=[entry(), entry(title="Another")])
    with pytest.raises(ConfigError, match="claim id 'a-claim' stands twice"):
        load_claims("toy", shelf.root)


def test_missing_and_misspelt_claims(shelf, entry):
    folder = shelf.write(claims=[entry(accept={"low": 1, "hihg": 2})])
    with pytest.raises(ConfigError, match=r"'claims.0.accept.hihg'; did you mean 'high'"):
        load_claims("toy", shelf.root)
    (folder / "claims.yaml").unlink()
    load_claims.cache_clear()
    with pytest.raises(ConfigError, match=r"claims.yaml"):
        load_claims("toy", shelf.root)


# -- experiments ---------------------------------------------------------------------------


def test_sizes_override_known_parameters_alone():
    with pytest.raises(ConfigError, match=r"sizes.quick sets unknown parameter 'm'.*allowed: n"):
        experiment(params={"n": 1}, sizes={"quick": {"m": 2}})


def test_unknown_size_in_a_paper():
    with pytest.raises(ConfigError, match=r"sizes\.quik.*'smoke', 'quick' or 'full'"):
        experiment(sizes={"quik": None})


def test_resolve_layers_size_over_defaults_and_the_user_over_both():
    declared = experiment(params={"a": 1, "b": 2, "c": 3}, sizes={"quick": {"b": 20, "c": 30}})
    assert declared.resolve("quick") == {"a": 1, "b": 20, "c": 30}
    assert declared.resolve("quick", {"c": None}) == {"a": 1, "b": 20, "c": None}
    with pytest.raises(ConfigError, match="unknown parameter 'bb'; did you mean 'b'"):
        declared.resolve("quick", {"bb": 1})
    with pytest.raises(ConfigError, match="'E' has no size 'quik'; did you mean 'quick'"):
        declared.resolve("quik")


def test_resolved_parameters_are_a_copy():
    declared = experiment(params={"jobs": {"names": ["a"]}})
    declared.resolve("quick")["jobs"]["names"].append("b")
    assert declared.resolve("quick") == {"jobs": {"names": ["a"]}}


@pytest.mark.parametrize("text", ["2020-01-01", ".inf", ".nan", "{1: a, b: c}"])
def test_parameters_that_a_record_cannot_hold_are_refused_at_once(text):
    value = yaml.safe_load(text)
    with pytest.raises(ConfigError, match="parameters are strings, finite numbers"):
        experiment(params={"x": value})
    with pytest.raises(ConfigError, match="parameters are strings, finite numbers"):
        experiment(params={"x": 1}, sizes={"quick": {"x": value}})
    with pytest.raises(ConfigError, match="parameters are strings, finite numbers"):
        experiment(params={"x": 1}).resolve("quick", {"x": value})


# -- claims --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "fields", "needs"),
    [
        ("ratio", {"of": {"variant": "a"}}, "'over'"),
        ("ratio", {"over": {"variant": "b"}}, "'of'"),
        ("difference", {"of": {"variant": "a"}, "over": []}, "'over'"),
        ("difference", {"over": [{"variant": "b"}]}, "'of'"),
        ("ordering", {}, "'order'"),
        ("ordering", {"order": [{"variant": "a"}]}, "at least two sides"),
        ("trend", {}, "'trend_in'"),
        ("bound", {"accept": {"low": 0, "high": 1}}, "a bound has one end"),
        ("difference", {"of": {"v": 1}, "over": [{"v": 2}], "each": "v"}, "a single filter"),
        ("value", {"scale": -1}, "greater than 0"),
        ("value", {"accept": {}}, "needs low, high or both"),
        ("value", {"accept": {"low": 2, "high": 1}}, "low 2.0 is above high 1.0"),
        ("value", {"accept": {"low": math.nan}}, "finite"),
        ("value", {"paper": {"value": math.inf}}, "finite"),
        ("value", {"id": "Not an id"}, "pattern"),
        ("valeu", {}, "'value'"),
    ],
)
def test_every_kind_has_its_fields(entry, kind, fields, needs):
    with pytest.raises(ConfigError, match=needs):
        validate(entry(kind=kind, **fields), Claim, "here")


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("value", {}),
        ("bound", {"accept": {"high": 1}}),
        ("ratio", {"of": {"variant": "a"}, "over": {"variant": "b"}}),
        ("difference", {"of": {"variant": "a"}, "over": [{"variant": "b"}, {"variant": "c"}]}),
        ("difference", {"of": {"v": 1}, "over": {"role": "rival"}, "each": "v"}),
        ("ordering", {"order": [{"variant": "a"}, {"variant": "b"}]}),
        ("trend", {"trend_in": "alpha"}),
        ("ratio", {"function": "projects.toy.claims:gain"}),
        ("value", {"paper": {"value": [2, 11]}}),
        ("value", {"paper": {"value": 0.5, "measurement": "simulated"}}),
    ],
)
def test_well_formed_claims_pass(entry, kind, fields):
    assert validate(entry(kind=kind, **fields), Claim, "here").kind == kind


# -- targets -------------------------------------------------------------------------------


def test_targets_are_imported_or_named(monkeypatch, tmp_path):
    assert load_target("common.papers:load_target") is load_target
    with pytest.raises(ConfigError, match="no 'load_taget'; did you mean 'load_target'"):
        load_target("common.papers:load_taget")
    with pytest.raises(ConfigError, match=r"no module 'projects.nosuchpaper'"):
        load_target("projects.nosuchpaper.bench:benchmarks")
    (tmp_path / "lacking_a_package.py").write_text("import nosuchpackage\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="nosuchpackage"):
        load_target("lacking_a_package:f")
