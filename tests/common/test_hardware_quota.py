import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import ConfigError
from common.hardware.actuators import CgroupCpuQuota

ROOT = Path(__file__).parents[2]


def fake_cgroup(root, version, **files):
    proc = root / "proc/self"
    proc.mkdir(parents=True)
    if version == 2:
        (proc / "cgroup").write_text("0::/job\n")
        (proc / "mountinfo").write_text("1 1 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
    else:
        (proc / "cgroup").write_text("1:cpu:/job\n")
        (proc / "mountinfo").write_text("1 1 0:1 / /sys/fs/cgroup rw - cgroup cgroup rw,cpu\n")
    job = root / "sys/fs/cgroup/job"
    job.mkdir(parents=True)
    for name, text in files.items():
        (job / name).write_text(f"{text}\n")
    return job


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_quota_v2_changes_the_own_group_and_is_undone(tmp_path, error):
    job = fake_cgroup(tmp_path, 2, **{"cpu.max": "max 100000"})
    quota = CgroupCpuQuota(tmp_path)
    assert quota.probe().available and quota.read() == os.cpu_count()
    try:
        with quota.set(0.5) as cores:
            assert cores == 0.5 and (job / "cpu.max").read_text() == "50000 100000"
            with quota.set(0.25) as fewer:
                assert fewer == 0.25
            assert quota.read() == 0.5
            if error:
                raise error
    except KeyboardInterrupt:
        pass
    assert (job / "cpu.max").read_text() == "max 100000"


def test_quota_v1_moves_into_a_group_of_its_own_and_back(tmp_path, monkeypatch):
    job = fake_cgroup(tmp_path, 1, **{"cgroup.procs": ""})
    me = str(os.getpid())
    real_rmdir = Path.rmdir

    def rmdir(self):  # on a real cgroup the files vanish with the folder
        for file in self.iterdir():
            file.unlink()
        real_rmdir(self)

    monkeypatch.setattr(Path, "rmdir", rmdir)
    with CgroupCpuQuota(tmp_path).set(0.5):
        (child,) = (entry for entry in job.iterdir() if entry.is_dir())
        assert child.name.startswith(f"reprise-{me}-")
        assert (child / "cgroup.procs").read_text() == me
        assert (child / "cpu.cfs_quota_us").read_text() == "50000"
    assert not child.exists() and (job / "cgroup.procs").read_text() == me


def test_quota_that_may_not_be_changed_is_explained(tmp_path, monkeypatch):
    assert "no cgroup CPU controller" in CgroupCpuQuota(tmp_path / "none").probe().reason
    fake_cgroup(tmp_path, 2, **{"cpu.max": "max 100000"})
    monkeypatch.setattr("os.access", lambda path, mode: False)
    probe = CgroupCpuQuota(tmp_path).probe()
    assert not probe and "cgroup v2" in probe.reason and "root" in probe.enable


def test_quota_range_is_checked(tmp_path):
    job = fake_cgroup(tmp_path, 2, **{"cpu.max": "max 100000"})
    for value in (0, -1, 10_000):
        with pytest.raises(ConfigError, match="cgroup_cpu_quota"):
            CgroupCpuQuota(tmp_path).set(value).__enter__()
    assert (job / "cpu.max").read_text() == "max 100000\n"


def test_quota_period_sets_the_grain_of_the_limit(tmp_path):
    job = fake_cgroup(tmp_path, 2, **{"cpu.max": "max 100000"})
    quota = CgroupCpuQuota(tmp_path, period=0.004)
    with quota.set(0.5):
        assert (job / "cpu.max").read_text() == "2000 4000"
    assert quota.range.low == 0.25
    with pytest.raises(ConfigError, match="0.25 to"):
        quota.check(0.2)  # 0.8 ms a period: the kernel would refuse
    for period in (0, 0.0005, 2):
        with pytest.raises(ConfigError, match="0.001 to 1 s"):
            CgroupCpuQuota(tmp_path, period=period)


def test_quota_says_whether_it_binds_this_process_alone(tmp_path):
    fake_cgroup(tmp_path / "shared", 2, **{"cpu.max": "max 100000"})
    assert not CgroupCpuQuota(tmp_path / "shared").exclusive
    fake_cgroup(tmp_path / "own", 1, **{"cgroup.procs": ""})
    assert CgroupCpuQuota(tmp_path / "own").exclusive


REAL_QUOTA = """
import time
from common.hardware.actuators import CgroupCpuQuota
from common.hardware.cgroup import cpu_group
quota, home = CgroupCpuQuota(period=0.05), cpu_group()
with quota.set(0.2) as cores:
    inside = cpu_group()
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    stat = dict(line.split() for line in (inside.path / "cpu.stat").read_text().splitlines())
    with quota.set(0.1) as fewer:
        pass
    again = quota.read()
print(cores, fewer, again, int(stat["nr_throttled"]) > 0)
print(cpu_group() == home, inside.path == home.path or not inside.path.exists())
"""


@pytest.mark.skipif(not CgroupCpuQuota().probe(), reason=CgroupCpuQuota().probe().reason)
def test_real_quota_throttles_and_leaves_no_trace():
    command = [sys.executable, "-c", REAL_QUOTA]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "0.2 0.1 0.2 True\nTrue True\n"
