import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np  # loads the BLAS pool that ThreadCount limits
import pytest

from common.errors import ConfigError
from common.hardware import rapl
from common.hardware.actuators import (
    ACTUATORS,
    Actuator,
    CpuAffinity,
    CpuFrequencyCap,
    CpuGovernor,
    Range,
    RaplPowerCap,
    SimulatedActuator,
    ThreadCount,
    undo,
)
from common.hardware.probe import Unavailable

ROOT = Path(__file__).parents[2]


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(f"{text}\n")


@pytest.fixture
def sysfs(tmp_path):
    """Two CPU packages, the second switched off, and two cpufreq policies."""
    for number, enabled in ((0, 1), (1, 0)):
        write(
            tmp_path / f"class/powercap/intel-rapl:{number}",
            enabled=enabled,
            constraint_0_power_limit_uw=150_000_000,
            constraint_0_max_power_uw=165_000_000,
        )
    for number in (0, 1):
        write(
            tmp_path / f"devices/system/cpu/cpufreq/policy{number}",
            scaling_max_freq=3_400_000,
            cpuinfo_min_freq=800_000,
            cpuinfo_max_freq=3_400_000,
            scaling_governor="schedutil",
            scaling_available_governors="performance powersave schedutil",
        )
    return tmp_path


def contents(root):
    return {str(f.relative_to(root)): f.read_text().strip() for f in root.rglob("*") if f.is_file()}


FILE_CASES = [
    (RaplPowerCap, 80, "class/powercap/intel-rapl:1/constraint_0_power_limit_uw", "80000000"),
    (CpuFrequencyCap, 1200, "devices/system/cpu/cpufreq/policy1/scaling_max_freq", "1200000"),
    (CpuGovernor, "powersave", "devices/system/cpu/cpufreq/policy1/scaling_governor", "powersave"),
]


@pytest.mark.parametrize(("cls", "value", "file", "text"), FILE_CASES)
@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_files_are_written_and_restored(sysfs, cls, value, file, text, error):
    before = contents(sysfs)
    actuator = cls(sysfs)
    assert actuator.probe().available
    try:
        with actuator.set(value) as applied:
            assert applied == value == actuator.read()
            assert (sysfs / file).read_text() == text
            if error:
                raise error
    except (ValueError, KeyboardInterrupt):
        pass
    assert contents(sysfs) == before and not undo._pending


def test_a_disabled_package_is_enabled_for_the_block(sysfs):
    switch = sysfs / "class/powercap/intel-rapl:1/enabled"
    with RaplPowerCap(sysfs).set(80):
        assert switch.read_text() == "1"
    assert switch.read_text() == "0"


def test_blocks_nest(sysfs):
    cap = RaplPowerCap(sysfs)
    with cap.set(100):
        with cap.set(60):
            assert cap.read() == 60
        assert cap.read() == 100
    assert cap.read() == 150


def test_a_failure_halfway_is_undone(sysfs, monkeypatch):
    real = Path.write_text

    def refuse_second(self, text, *args, **kwargs):
        if "intel-rapl:1" in str(self) and text == "90000000":
            raise OSError(22, "Invalid argument")
        return real(self, text, *args, **kwargs)

    monkeypatch.setattr(Path, "write_text", refuse_second)
    before = contents(sysfs)
    with pytest.raises(Unavailable, match=r"rapl_power_cap.*refused 90.*1 to 165 W"):
        RaplPowerCap(sysfs).set(90).__enter__()
    assert contents(sysfs) == before


@pytest.mark.parametrize(
    ("cls", "value", "message"),
    [
        (RaplPowerCap, 500, r"500 W is out of range; allowed: 1 to 165 W"),
        (RaplPowerCap, "80", r"'80' is not a number; allowed: 1 to 165 W"),
        (RaplPowerCap, float("nan"), "out of range"),
        (CpuFrequencyCap, 100, r"100 MHz is out of range; allowed: 800 to 3400 MHz"),
        (CpuGovernor, "powersafe", r"did you mean 'powersave'\? allowed: performance, powersave"),
    ],
)
def test_bad_values_say_what_is_allowed(sysfs, cls, value, message):
    before = contents(sysfs)
    with pytest.raises(ConfigError, match=message):
        cls(sysfs).set(value).__enter__()
    assert contents(sysfs) == before


def test_a_package_without_named_maximum_has_no_upper_bound(sysfs):
    for zone in rapl.packages(sysfs):
        (zone / "constraint_0_max_power_uw").write_text("0")
    assert RaplPowerCap(sysfs).range == Range(1, None, "W")


def test_what_is_absent_is_explained(tmp_path, sysfs, monkeypatch):
    empty = tmp_path / "empty"
    for cls in (RaplPowerCap, CpuFrequencyCap, CpuGovernor):
        probe = cls(empty).probe()
        assert not probe and probe.reason and probe.enable
        with pytest.raises(Unavailable, match=cls.name):
            cls(empty).set(1).__enter__()
    for zone in rapl.packages(sysfs):
        (zone / "constraint_0_power_limit_uw").unlink()
    assert "no power limit" in RaplPowerCap(sysfs).probe().reason
    monkeypatch.setattr("os.access", lambda path, mode: False)
    locked = CpuGovernor(sysfs).probe()
    assert "policy0/scaling_governor" in locked.reason and "root" in locked.enable


def run_python(code, *args):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


LEFT_OPEN = """
import sys, threading, time
from common.hardware.actuators import RaplPowerCap
inside = threading.Event()
def hold():  # a daemon thread never gets to leave its block
    with RaplPowerCap(sys.argv[1]).set(80) as watts:
        print(watts, flush=True)
        inside.set()
        time.sleep(60)
threading.Thread(target=hold, daemon=True).start()
inside.wait()
"""

KILLED = """
import sys, time
from common.hardware.actuators import RaplPowerCap
with RaplPowerCap(sys.argv[1]).set(80) as watts:
    print(watts, flush=True)
    time.sleep(60)
"""


def test_a_block_left_open_is_undone_at_exit(sysfs):
    before = contents(sysfs)
    process = run_python(LEFT_OPEN, sysfs)
    assert process.communicate(timeout=30)[0] == "80.0\n" and process.returncode == 0
    assert contents(sysfs) == before


def test_sigterm_undoes(sysfs):
    before = contents(sysfs)
    process = run_python(KILLED, sysfs)
    assert process.stdout.readline() == "80.0\n"
    assert contents(sysfs) != before
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert contents(sysfs) == before


def test_sigterm_handler_is_put_back(sysfs):
    before = signal.getsignal(signal.SIGTERM)
    with RaplPowerCap(sysfs).set(80):
        pass
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_failed_undo_is_tried_again_at_exit(caplog):
    tries = []

    def put_back():
        tries.append(1)
        if len(tries) < 3:
            raise OSError("busy")

    with pytest.raises(OSError, match="busy"), undo.Undo("cap", put_back):
        pass
    undo._undo_all()
    assert "cap could not be put back: busy" in caplog.text
    undo._undo_all()
    undo._undo_all()
    assert len(tries) == 3 and not undo._pending


needs_cores = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs a choice among at least two cores",
)


@needs_cores
def test_affinity_binds_every_thread_and_is_undone():
    before = os.sched_getaffinity(0)
    first = min(before)
    release, bound = threading.Event(), threading.Event()
    seen = {}

    def worker():
        bound.wait(10)
        seen["inside"] = os.sched_getaffinity(0)
        release.wait(10)
        seen["after"] = os.sched_getaffinity(0)

    old = threading.Thread(target=worker)
    old.start()
    late_release, late_seen = threading.Event(), []
    with pytest.raises(KeyboardInterrupt), CpuAffinity().set(1) as applied:
        assert applied == {first} == os.sched_getaffinity(0)
        late = threading.Thread(
            target=lambda: (late_release.wait(10), late_seen.append(os.sched_getaffinity(0)))
        )
        late.start()
        bound.set()
        while "inside" not in seen:
            pass
        raise KeyboardInterrupt
    release.set()
    late_release.set()
    old.join()
    late.join()
    assert seen == {"inside": {first}, "after": before}
    assert late_seen == [before] and os.sched_getaffinity(0) == before


@needs_cores
def test_affinity_nests_and_takes_core_numbers():
    allowed = os.sched_getaffinity(0)
    last = max(allowed)
    affinity = CpuAffinity()
    with affinity.set(1), affinity.set({last}) as applied:
        assert applied == {last}
    assert os.sched_getaffinity(0) == allowed


@pytest.mark.parametrize("value", [0, 10_000, [], [99_999], "0", True, None])
def test_affinity_refuses(value):
    with pytest.raises(ConfigError, match="cpu_affinity"):
        CpuAffinity().set(value).__enter__()


def test_thread_count_limits_loaded_pools_and_is_undone():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    np.ones((8, 8)) @ np.ones((8, 8))

    def counts():
        return sorted(pool["num_threads"] for pool in threadpoolctl.threadpool_info())

    before = counts()
    with pytest.raises(ValueError, match="stop"), ThreadCount().set(1) as applied:
        assert applied == 1 and set(counts()) == {1}
        raise ValueError("stop")
    assert counts() == before


@pytest.mark.parametrize("value", [0, 1.5, 10_000])
def test_thread_count_refuses(value):
    with pytest.raises(ConfigError, match="thread_count"):
        ThreadCount().set(value).__enter__()


NO_POOLS = """
from common.hardware.actuators import ThreadCount
from common.hardware.probe import Unavailable
try:
    ThreadCount().set(1).__enter__()
except Unavailable as error:
    print(error)
"""


def test_thread_count_without_pools_does_not_pretend():
    pytest.importorskip("threadpoolctl")
    assert "import numpy or torch first" in run_python(NO_POOLS).communicate(timeout=30)[0]


def test_simulated_actuator_records_and_is_as_strict():
    cap = SimulatedActuator("power cap", Range(40, 100, "W"))
    assert cap.simulated and cap.probe().available and cap.read() == 100
    with pytest.raises(KeyboardInterrupt), cap.set(60):
        with cap.set(40) as inner:
            assert inner == 40
        assert cap.read() == 60
        raise KeyboardInterrupt
    assert cap.read() == 100 and cap.setpoints == [60, 40]
    with pytest.raises(ConfigError, match=r"power cap: 30 W is out of range"):
        cap.set(30).__enter__()
    assert cap.setpoints == [60, 40]


def test_every_actuator_can_be_made_and_explains_itself():
    for cls in ACTUATORS:
        actuator = cls()
        probe = actuator.probe()
        assert isinstance(actuator, Actuator) and not actuator.simulated
        assert probe.reason and (probe.available or probe.enable)
