import importlib.util
import io
import json
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from rich.console import Console

from common.hardware import doctor, extras, tools
from common.hardware.actuators import ACTUATORS
from common.hardware.meters import METERS
from common.hardware.targets import TARGETS
from common.hardware.targets.wearable.probing import PARTS as WEARABLE

GROUPS = {"machine", "meter", "actuator", "target", "extra", "tool"}


@pytest.fixture(scope="module")
def findings():
    return doctor.diagnose()


def named(findings, group):
    return {finding.name: finding for finding in findings if finding.group == group}


def test_everything_is_covered(findings):
    assert {finding.group for finding in findings} == GROUPS
    assert set(named(findings, "meter")) == set(METERS)
    assert set(named(findings, "actuator")) == {a.name for a in ACTUATORS} | {"simulated"}
    assert set(named(findings, "target")) == {*TARGETS, *WEARABLE}
    assert set(named(findings, "tool")) == {"git", "java", "chromium", "slurm"}
    pyproject = Path(doctor.__file__).parents[2] / "pyproject.toml"
    declared = tomllib.loads(pyproject.read_text())["project"]["optional-dependencies"]
    assert set(named(findings, "extra")) == set(declared)


def test_every_finding_explains_itself(findings):
    for finding in findings:
        assert finding.detail and "probe failed" not in finding.detail
        assert finding.ok or finding.enable, finding


def test_json_shape(findings):
    rows = json.loads(json.dumps(doctor.as_dicts(findings)))
    assert len(rows) == len(findings)
    assert all(set(row) == {"group", "name", "ok", "detail", "enable"} for row in rows)


def test_rendering_keeps_brackets_and_names():
    finding = doctor.Finding("extra", "hw", False, "missing zeus", "pip install -e '.[hw]'")
    out = io.StringIO()
    Console(file=out, width=120).print(doctor.render([finding]))
    assert "'.[hw]'" in out.getvalue() and "missing zeus" in out.getvalue()


def test_a_bare_machine_is_diagnosed_too(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    findings = doctor.diagnose()
    found = named(findings, "tool")
    assert not any(finding.ok for finding in found.values())
    assert all(finding.enable for finding in found.values())
    assert not named(findings, "target")["wearable"].ok


def test_a_probe_that_raises_is_a_finding(monkeypatch):
    def explode(*args, **kwargs):
        raise OSError("sensor on fire")

    monkeypatch.setitem(METERS, "wall_clock", explode)
    monkeypatch.setattr(doctor, "fingerprint", explode)
    monkeypatch.setattr(extras, "extras", explode)
    monkeypatch.setitem(TARGETS, "cpu", explode)
    broken = [f for f in doctor.diagnose() if "sensor on fire" in f.detail]
    assert {f.group for f in broken} == {"meter", "machine", "extra", "target"}
    assert not any(f.ok for f in broken)


def test_looking_at_extras_imports_nothing():
    before = set(sys.modules)
    extras.extras()
    assert not {"torch", "mlflow", "streamlit", "pyspark"} & (set(sys.modules) - before)


def test_every_installed_package_of_an_extra_is_found_by_its_module():
    for packages in extras.declared().values():
        for package in packages:
            try:
                metadata.version(package)
            except metadata.PackageNotFoundError:
                continue
            module = extras.module_of(package)
            assert importlib.util.find_spec(module) is not None, f"{package} is not {module}"


def test_missing_package_gives_the_install_line(monkeypatch):
    monkeypatch.setattr(extras, "declared", lambda: {"x": ["numpy", "no-such-package"]})
    (extra,) = extras.extras()
    assert extra.missing == ["no-such-package"] and list(extra.present) == ["numpy"]
    assert extra.install == "pip install -c envs/constraints.txt -e '.[x]'"


def test_extras_from_metadata_where_there_is_no_source_tree(tmp_path, monkeypatch):
    monkeypatch.setattr(extras, "__file__", str(tmp_path / "a/b/extras.py"))
    lines = ["numpy>=2", 'torch>=2.13; extra == "torch"', "zeus>=0.16 ; extra == 'hw'"]
    monkeypatch.setattr(metadata, "requires", lambda name: lines)
    assert extras.declared() == {"torch": ["torch"], "hw": ["zeus"]}


@pytest.mark.parametrize(
    ("answer", "ok"),
    [
        ('openjdk version "17.0.15" 2025-04-15', True),
        ('openjdk version "21" 2023-09-19', True),
        ('java version "1.8.0_392"', False),
        ('openjdk version "11.0.2" 2019-01-15', False),
    ],
)
def test_java_versions(tmp_path, monkeypatch, answer, ok):
    java = tmp_path / "bin/java"
    java.parent.mkdir()
    java.write_text(f"#!/bin/sh\necho '{answer}' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    probe = tools.java()
    assert probe.available is ok and (ok or "17 or later" in probe.reason)


def test_a_tool_that_fails_counts_as_absent(tmp_path, monkeypatch):
    git = tmp_path / "git"
    git.write_text("#!/bin/sh\necho 'git version 2.0'; exit 1\n")
    git.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not tools.git()
