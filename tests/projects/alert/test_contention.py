"""Loads start, stop and die for certain."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from common.errors import ConfigError
from common.hardware.actuators import CgroupCpuQuota
from projects.alert.contention import Load, bursts, contention


def cpu_seconds(pid):
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def wait_until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


@pytest.mark.parametrize("kind", ["memory", "compute"])
def test_load_works_only_while_it_is_on(kind):
    with Load(kind) as load:
        (pid,) = load.pids
        before = cpu_seconds(pid)
        time.sleep(0.1)
        assert cpu_seconds(pid) - before <= 0.02
        load.switch(True)
        assert load.running and wait_until(lambda: cpu_seconds(pid) > before + 0.05)
        load.switch(False)
        stopped = cpu_seconds(pid)
        time.sleep(0.1)
        assert cpu_seconds(pid) - stopped <= 0.03 and not load.running
    assert not psutil.pid_exists(pid) and load.pids == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_no_orphan_after_an_exception(error):
    with pytest.raises(error), Load("compute", processes=2) as load:
        load.switch(True)
        pids = load.pids
        raise error
    assert len(pids) == 2 and not any(map(psutil.pid_exists, pids))


def test_no_orphan_when_the_parent_is_killed():
    code = (
        "import time\nfrom projects.alert.contention import Load\n"
        "with Load('compute') as load:\n"
        "    load.switch(True)\n    print(load.pids[0], flush=True)\n    time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    assert psutil.pid_exists(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()

    def gone():
        return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE

    assert wait_until(gone)


def test_load_ends_by_itself_and_says_so():
    with Load("compute", limit=0.05) as load:
        assert wait_until(lambda: load._children[0].poll() is not None)
        with pytest.raises(RuntimeError, match=r"at most 0\.05 s, raise limit="):
            load.switch(True)


@pytest.mark.skipif(
    not (CgroupCpuQuota().probe() and CgroupCpuQuota().exclusive),
    reason="this process cannot have a control group of its own",
)
def test_load_stays_outside_a_quota_set_later():
    def group(pid):
        return Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8")

    home = group(os.getpid())
    with Load("compute") as load, CgroupCpuQuota().set(1.0):
        assert group(os.getpid()) != home
        assert group(load.pids[0]) == home


def test_switch_runs_one_load_at_a_time():
    with contention(["memory", "compute"]) as switch:
        switch("memory")
        switch("compute")
        switch("none")
        with pytest.raises(ConfigError, match="did you mean 'memory'"):
            switch("memori")


def test_bad_loads_are_refused():
    with pytest.raises(ConfigError, match="allowed: compute, gpu, memory"):
        Load("disk")
    with pytest.raises(ValueError, match="processes=0"):
        Load("memory", processes=0)
    with pytest.raises(ValueError, match="limit=0"):
        Load("memory", limit=0)
    with pytest.raises(RuntimeError, match="not started"):
        Load("memory").switch(True)


def test_bursts_alternate_and_take_turns():
    plan = bursts(2000, 100, rng=np.random.default_rng(0))
    edges = [0, *(i for i in range(1, 2000) if plan[i] != plan[i - 1]), 2000]
    lengths = np.diff(edges)
    assert [plan[i] for i in edges[:4]] == ["none", "memory", "none", "compute"]
    assert len(plan) == 2000 and lengths[:-1].min() >= 50 and lengths.max() <= 150
    assert bursts(5, 2, ["compute"]) == ["none", "none", "compute", "compute", "none"]
    assert set(bursts(9, 2, [])) == {"none"}
    with pytest.raises(ValueError, match="at least 1"):
        bursts(0, 2)
