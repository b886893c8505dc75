"""The commands ``list``, ``show``, ``fetch`` and ``verify``."""

import gzip
import json

import pytest
from typer.testing import CliRunner

from common.data.cli import app


@pytest.fixture
def run(world, monkeypatch):
    """Two datasets: one on the mirror, one by hand and absent."""
    monkeypatch.setenv("REPRISE_OFFLINE", "1")
    files = [world.file("a.csv", b"A"), world.file("b.csv", b"BB")]
    world.register("here", files, base_url="http://127.0.0.1:9/")
    world.register("byhand", [world.file("c.csv", b"C")], manual="Ask [the authors].")
    world.hold("here", "a.csv", b"A")
    world.hold("here", "b.csv.gz", gzip.compress(b"BB"))

    def call(*arguments):
        return CliRunner().invoke(app, arguments)

    call.world = world
    return call


def test_list(run):
    done = run("list", "--json")
    assert done.exit_code == 0
    rows = {row["name"]: row for row in json.loads(done.stdout)["datasets"]}
    assert {name: row["here"] for name, row in rows.items()} == {"here": "mirror", "byhand": "no"}
    assert rows["here"]["bytes"] == 3
    table = run("list").stdout
    assert "byhand" in table and "CC0-1.0" in table and "cache" in table


def test_show(run):
    done = run("show", "here", "--json")
    assert json.loads(done.stdout)["files"][1]["url"] == "http://127.0.0.1:9/b.csv"
    table = run("show", "byhand").stdout
    assert "Ask [the authors]." in table and "(by hand)" in table


def test_fetch(run):
    done = run("fetch", "here")
    assert done.exit_code == 0
    assert "here: 2 files, 3 B, from mirror" in done.stdout


def test_fetch_goes_on_after_a_failure_and_then_fails(run):
    done = run("fetch", "--all")
    assert done.exit_code == 1
    assert "Ask [the authors]." in done.stderr
    assert "here: 2 files" in done.stdout


@pytest.mark.parametrize("arguments", [(), ("here", "--all")])
def test_fetch_wants_names_or_all(run, arguments):
    assert run("fetch", *arguments).exit_code == 2


@pytest.mark.parametrize("command", ["show", "fetch", "verify"])
def test_unknown_name(run, command):
    done = run(command, "heer")
    assert done.exit_code == 1
    assert "did you mean 'here'" in str(done.exception) + done.output


def test_verify(run):
    assert run("verify", "here").exit_code == 0
    assert run("verify").exit_code == 0
    assert run("verify", "byhand").exit_code == 1
    rows = json.loads(run("verify", "--json").stdout)
    assert [(row["file"], row["status"]) for row in rows] == [
        ("c.csv", "absent"),
        ("a.csv", "ok"),
        ("b.csv", "ok"),
    ]


def test_verify_finds_corruption(run):
    bad = run.world.hold("here", "a.csv", b"?")
    done = run("verify")
    assert done.exit_code == 1
    assert f"corrupted: {bad}" in done.stderr


def test_help_names_every_command(run):
    done = run("--help")
    assert done.exit_code == 0
    for command in ("list", "show", "fetch", "verify"):
        assert command in done.stdout
