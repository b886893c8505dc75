"""The command as a user meets it: verbs, messages, exit codes, interruption."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from common import __version__, cli
from common.bench import Benchmark
from common.results import read_json

ROOT = Path(cli.__file__).resolve().parents[1]
VERBS = (
    "list",
    "info",
    "doctor",
    "run",
    "verdicts",
    "figures",
    "report",
    "verify",
    "compare",
    "merge",
    "bench",
    "track",
    "dashboard",
    "new",
    "data",
)


def call(*args):
    return CliRunner().invoke(cli.app, list(map(str, args)))


@pytest.fixture
def reprise(monkeypatch, capsys):
    """Call the command in this process, through ``main``; gives exit code, output, errors."""

    def command(*args):
        monkeypatch.setattr(sys, "argv", ["reprise", *map(str, args)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return (end.value.code or 0, *capsys.readouterr())

    return command


@pytest.fixture
def judged(shelf, entry, lay, table, tmp_path):
    """A toy paper with a result that reproduces its one claim."""
    shelf.add(claims=[entry(accept={"low": 1})])
    lay(tmp_path / "results", table({"ours": [2.0] * 12}))
    return ("toy", "--results", tmp_path / "results")


def test_every_verb_is_known_here():
    assert set(get_command(cli.app).commands) == set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_help(verb):
    done = call(verb, "--help")
    assert done.exit_code == 0
    assert f"{verb} [OPTIONS]" in done.output
    assert call(verb, "-h").exit_code == 0


def test_version(reprise):
    code, out, _ = reprise("--version")
    assert code == 0
    assert out.startswith(f"reprise {__version__}")


def test_version_shows_the_commit_and_whether_it_is_dirty(reprise, monkeypatch):
    state = {"commit": "0123456789abcdef", "dirty": False}
    monkeypatch.setattr("common.provenance.git_state", lambda: state)
    assert reprise("--version")[1] == f"reprise {__version__} 012345678\n"
    state["dirty"] = True
    assert reprise("--version")[1] == f"reprise {__version__} 012345678 (dirty)\n"
    state.clear()
    assert reprise("--version")[1] == f"reprise {__version__}\n"


def test_json_parses(reprise, judged, shelf, monkeypatch):
    tree = judged[2]
    made = Benchmark("path", lambda: None, lambda: None, "peer", {"n": 1})
    monkeypatch.setattr("common.bench.load_target", lambda target: lambda: [made])

    def answer(*args):
        code, out, _ = reprise(*args, "--json")
        assert code == 0
        return json.loads(out)

    assert [paper["slug"] for paper in answer("list")] == ["toy"]
    info = answer("info", "toy")
    assert (info["slug"], info["claims"][0]["id"]) == ("toy", "a-claim")
    assert [v["verdict"] for v in answer("verdicts", *judged)] == ["reproduced"]
    assert [c["status"] for c in answer("verify", *judged)] == ["new"]
    assert [c["status"] for c in answer("verify", *judged, "--record")] == ["same"]
    assert answer("compare", tree)[0]["columns"][0]["verdict"] == "reproduced"
    assert answer("bench", "toy", "--repeats", 1)[0]["name"] == "path"
    assert answer("doctor")
    assert answer("data", "list")["datasets"]


def test_tables_for_people(reprise, judged):
    assert "The toy paper" in reprise("list")[1]
    assert "It does little." in reprise("info", "toy")[1]
    code, out, _ = reprise("verdicts", *judged)
    assert code == 0
    assert "✓ reproduced" in out and out.endswith("1 reproduced\n")
    assert reprise("verdicts", *judged, "--quiet")[1] == "1 reproduced\n"
    assert "not available" in reprise("compare", judged[2])[1]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("info", "toi"), "unknown paper 'toi'; did you mean 'toy'"),
        (("run", "toi"), "unknown paper 'toi'; did you mean 'toy'"),
        (("verdicts", "toi"), "unknown paper 'toi'; did you mean 'toy'"),
        (("verify", "toi"), "unknown paper 'toi'; did you mean 'toy'"),
        (("figures", "toi"), "unknown paper 'toi'; did you mean 'toy'"),
        (("bench", "toi"), "unknown paper 'toi'; did you mean 'toy'"),
        (("run", "toy", "sped"), "no experiment 'sped'; did you mean 'speed'"),
        (("run", "toy", "--size", "quik"), "unknown size 'quik'; did you mean 'quick'"),
        (("verify", "toy", "--size", "quik"), "unknown size 'quik'; did you mean 'quick'"),
        (("run", "toy", "--target", "gpuu"), "unknown target 'gpuu'; did you mean 'gpu'"),
        (("verdicts", "--target", "gpuu"), "unknown target 'gpuu'; did you mean 'gpu'"),
        (("run", "toy", "--data", "reel"), "unknown data mode 'reel'; did you mean 'real'"),
        (("run", "toy", "--set", "sedes=1"), "unknown parameter 'sedes'; did you mean 'seeds'"),
        (("run", "toy", "--set", "seeds"), "expected KEY=VALUE"),
        (("run", "toy", "--set", "seeds=["), "the value is not YAML"),
        (("run", "toy", "--target", "wearable"), "no experiment at size 'quick' on target"),
        (("compare", "nowhere"), "nowhere holds no results"),
        (("compare", "tree", "--paper", "toi"), "no results of 'toi'; did you mean 'toy'"),
        (("new", "Bad Slug"), "lower-case letters and digits"),
        (("new", "toy"), "toy exists; choose another slug"),
    ],
)
def test_what_the_user_can_mend_is_one_message_and_exit_2(
    reprise, shelf, lay, table, tmp_path, monkeypatch, args, message
):
    shelf.add()
    monkeypatch.setattr("common.scaffold.projects_root", lambda: shelf.root)
    lay(tmp_path / "tree", table({"ours": [1.0]}))
    monkeypatch.chdir(tmp_path)
    code, _, err = reprise(*args)
    assert code == 2
    assert message in err
    assert err.startswith("reprise: ") and err.count("\n") <= 6 and "Traceback" not in err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("verb", ["run", "verdicts", "figures", "verify"])
@pytest.mark.parametrize(("option", "wrong"), [("--size", "quik"), ("--target", "cpuu")])
def test_unknown_place_gives_no_empty_scorecard_to_any_verb(
    reprise, judged, tmp_path, verb, option, wrong
):
    code, out, err = reprise(verb, *judged, option, wrong)
    assert (code, out) == (2, "")
    closest = {"quik": "quick", "cpuu": "cpu"}[wrong]
    assert f"unknown {option[2:]} {wrong!r}; did you mean {closest!r}? allowed: " in err
    assert not list(tmp_path.rglob("verdicts.json"))


def test_markup_in_texts_is_printed_as_it_stands(reprise, judged, lay, table):
    """The install line of a skipped run ends in an extra that a terminal table would swallow."""
    reason = "x is not installed; run: pip install -e '.[nurd]'"
    lay(judged[2], table({"ours": [2.0]})[:0], status="skipped", reason=reason)
    assert reason in reprise("verdicts", *judged)[1]
    assert ".[nurd]" in reprise("verify", *judged)[1]


def test_verdict_made_worse_on_purpose_fails_verify(reprise, judged, lay, table, shelf):
    assert reprise("verify", *judged, "--record")[0] == 0
    assert reprise("verify", *judged, "--strict")[0] == 0
    lay(judged[2], table({"ours": [0.0] * 12}))
    code, out, err = reprise("verify", *judged)
    assert code == 1
    assert "worse" in out and "not reproduced" in out
    assert "worse than recorded, or missing: 1 verdicts" in err
    code, out, _ = reprise("verify", *judged, "--json")
    assert (code, json.loads(out)[0]["status"]) == (1, "worse")
    assert "reproduced" in (shelf.root / "toy/recorded/verdicts.json").read_text()


def test_missing_verdict_fails_only_strictly(reprise, judged, tmp_path):
    assert reprise("verify", *judged, "--record")[0] == 0
    elsewhere = ("verify", "toy", "--results", tmp_path / "empty")
    assert reprise(*elsewhere)[0] == 0
    assert reprise(*elsewhere, "--strict")[0] == 1


def test_failed_run_fails_verify(reprise, judged, lay, table):
    assert reprise("verify", *judged, "--record")[0] == 0
    lay(judged[2], table({"ours": [2.0]})[:0], status="failed", reason="ValueError: no")
    code, out, _ = reprise("verify", *judged)
    assert code == 1 and "error" in out


# -- as a process of its own ---------------------------------------------------------------

EXPERIMENT = """
import os, time
from pathlib import Path

def speed(run):
    run.synthetic("made", "numbers")
    for i in run.cells(range(4)):
        with Path(os.environ["CELLS"]).open("a") as file:
            file.write(f"{i}\\n")
        if i == 2 and os.environ.get("HANG"):
            time.sleep(60)
        run.observe({"score": i}, variant="ours", dataset="made", item=str(i))
"""


@pytest.fixture
def checkout(shelf, tmp_path):
    """A checkout of its own with the toy paper in it, and a way to start the command there."""
    root = shelf.root.parent
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "common", root / "common", ignore=skip)
    folder = shelf.write()
    for package in (shelf.root, folder):
        (package / "__init__.py").write_text("")
    (folder / "experiments.py").write_text(EXPERIMENT)

    def start(*args, **environment):
        variables = {**os.environ, "CELLS": str(tmp_path / "cells"), **environment}
        return subprocess.Popen(
            [sys.executable, "-m", "common.cli", *args],
            cwd=root,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A job in the background of a shell inherits that Ctrl-C is ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    return start


def wait_for(path, text):
    for _ in range(1500):
        if path.exists() and path.read_text() == text:
            return
        time.sleep(0.02)
    raise AssertionError(f"{path} never came to hold {text!r}")


def test_interrupted_run_exits_130_and_the_same_command_goes_on(checkout, shelf, tmp_path):
    cells, command = tmp_path / "cells", ("run", "toy", "speed")
    first = checkout(*command, HANG="1")
    try:
        wait_for(cells, "0\n1\n2\n")
        first.send_signal(signal.SIGINT)
        _, err = first.communicate(timeout=30)
    finally:
        first.kill()
    assert first.returncode == 130
    assert "interrupted; the same command goes on where it stopped" in err
    assert "Traceback" not in err
    folder = shelf.root.parent / "results/quick/cpu/toy/speed"
    assert not (folder / "run.json").exists()

    cells.unlink()
    second = checkout(*command)
    out, err = second.communicate(timeout=60)
    assert second.returncode == 0, err
    assert "done" in out and "4 observations" in out
    assert cells.read_text() == "2\n3\n"
    assert read_json(folder / "run.json")["rows"] == 4

    third = checkout(*command)
    assert "done already" in third.communicate(timeout=60)[0]
    assert cells.read_text() == "2\n3\n"


def test_module_runs_as_a_command_of_its_own():
    def command(*args):
        line = [sys.executable, "-m", "common.cli", *args]
        return subprocess.run(line, cwd=ROOT, capture_output=True, text=True)

    assert "Usage" in command("--help").stdout
    listed = command("list", "--json")
    assert listed.returncode == 0 and isinstance(json.loads(listed.stdout), list)
    unknown = command("info", "nosuchpaper")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert unknown.stderr.startswith("reprise: unknown paper 'nosuchpaper'")
    assert command("nosuchverb").returncode == 2


def test_importing_the_command_is_light():
    heavy = [
        "pandas",
        "sklearn",
        "torch",
        "mlflow",
        "matplotlib",
        "numba",
        "numpy",
        "scipy",
        "pyspark",
    ]
    code = f"import sys, common.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
