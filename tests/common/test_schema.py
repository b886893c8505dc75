"""YAML into models: what is refused, and whether the message leads to the place."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field

from common.errors import ConfigError, did_you_mean, known
from common.schema import Model, load_yaml, read_yaml, validate


class Leaf(Model):
    colour: str = ""
    length_m: float = Field(0.0, alias="length")


class Branch(Model):
    leaf: Leaf | None = None
    leaves: tuple[Leaf, ...] = ()
    by_name: dict[str, Leaf] = {}
    maybe: tuple[Leaf, ...] | None = None
    deep: dict[str, tuple[Leaf | None, ...]] | None = None


class Tree(Model):
    name: str
    branch: Branch = Branch()
    branches: tuple[Branch, ...] = ()


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "tree.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("nam", "{name: x, nam: y}"),
        ("branch.leafs", "{name: x, branch: {leafs: []}}"),
        ("branch.leaf.color", "{name: x, branch: {leaf: {color: red}}}"),
        ("branch.leaves.1.color", "{name: x, branch: {leaves: [{}, {color: red}]}}"),
        ("branch.by_name.top.color", "{name: x, branch: {by_name: {top: {color: red}}}}"),
        ("branch.maybe.0.color", "{name: x, branch: {maybe: [{color: red}]}}"),
        ("branch.deep.k.1.color", "{name: x, branch: {deep: {k: [null, {color: red}]}}}"),
        ("branches.0.leaf.color", "{name: x, branches: [{leaf: {color: red}}]}"),
    ],
)
def test_unknown_key_at_any_depth_names_file_path_and_closest(tmp_path, where, text):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        load_yaml(path, Tree)
    closest = {"nam": "name", "leafs": "leaf", "color": "colour"}[where.rpartition(".")[2]]
    message = str(error.value)
    assert message.startswith(f"{path}: unknown key {where!r}; did you mean {closest!r}?")
    assert message.count("\n") == 0


def test_alias_is_what_the_hint_offers(tmp_path):
    path = write(tmp_path, "{name: x, branch: {leaf: {lenght: 2}}}")
    with pytest.raises(ConfigError, match="did you mean 'length'"):
        load_yaml(path, Tree)


def test_every_wrong_key_is_named_at_once(tmp_path):
    path = write(tmp_path, "{nme: x, branch: {leaf: {color: red}}}")
    with pytest.raises(ConfigError) as error:
        load_yaml(path, Tree)
    lines = str(error.value).splitlines()
    assert len(lines) == 3
    assert all(line.startswith(f"{path}: ") for line in lines)
    assert f"{path}: missing key 'name'" in lines


def test_wrong_type_names_key_and_what_was_passed():
    with pytest.raises(ConfigError, match=r"here: branch\.leaf\.length: .*number.*'long'"):
        validate({"name": "x", "branch": {"leaf": {"length": "long"}}}, Tree, "here")


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words\n"])
def test_file_that_is_no_mapping(tmp_path, text):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=r"\(file\)") as error:
        load_yaml(path, Tree)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "name: x\nname: y\n",
        "a:\n  b: 1\n  c: 2\n  b: 3\n",
        "a: [{b: 1, b: 2}]\n",
        "base: &base {a: 1}\nother: {<<: *base, b: 1, b: 2}\n",
    ],
)
def test_duplicate_keys_are_refused_with_file_and_line(tmp_path, text):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=r"stands twice \(line \d\)") as error:
        read_yaml(path)
    assert str(path) in str(error.value)


def test_equal_text_of_another_type_is_another_key(tmp_path):
    assert read_yaml(write(tmp_path, "1: a\n'1': b\n")) == {1: "a", "1": "b"}


def test_merges_work_and_own_keys_win(tmp_path):
    text = """
base: &base {a: 1, b: 2}
more: &more {b: 3, c: 4}
one: {<<: *base, b: 9}
two: {<<: [*base, *more], d: 5}
"""
    content = read_yaml(write(tmp_path, text))
    assert content["one"] == {"a": 1, "b": 9}
    assert content["two"] == {"a": 1, "b": 2, "c": 4, "d": 5}
    assert content["base"] == {"a": 1, "b": 2}


def test_merge_of_a_deeper_merge_is_no_duplicate(tmp_path):
    text = """
base: &base {a: 1, b: 2}
deep:
  deeper: &over {<<: *base, a: 3}
top: {<<: *over, b: 4}
"""
    content = read_yaml(write(tmp_path, text))
    assert content["deep"]["deeper"] == {"a": 3, "b": 2}
    assert content["top"] == {"a": 3, "b": 4}


@pytest.mark.parametrize(
    "text",
    [
        "name: [1, 2\n",  # unclosed
        "name: x\n\tbranch: y\n",  # tab
        "name: *nowhere\n",  # unknown anchor
        "name: !!python/object/apply:os.getcwd []\n",  # unsafe tag
        "? [a, b]\n: 1\n",  # key that cannot be one
        "day: 2020-13-45\n",  # no such day
        "name: \x00\n",
    ],
)
def test_syntax_errors_name_the_file(tmp_path, text):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        load_yaml(path, Tree)
    assert str(path) in str(error.value)


def test_bytes_that_are_no_text_and_paths_that_are_no_file(tmp_path):
    path = tmp_path / "tree.yaml"
    path.write_bytes(b"name: \xff\xfe")
    for wrong in (path, tmp_path / "missing.yaml", tmp_path):
        with pytest.raises(ConfigError) as error:
            load_yaml(wrong, Tree)
        assert str(wrong) in str(error.value)


def test_models_are_frozen():
    tree = validate({"name": "x"}, Tree, "here")
    with pytest.raises(ValueError, match="frozen"):
        tree.name = "y"


def test_hints():
    assert did_you_mean("zzz", ["a", "b"]) == "; allowed: a, b"
    assert did_you_mean("zzz", []) == "; allowed: (none)"
    with pytest.raises(ConfigError, match="unknown size 'quik'; did you mean 'quick'"):
        known("quik", ("smoke", "quick"), "size")
