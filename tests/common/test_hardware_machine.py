import getpass
import json
import os
import platform
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from common.hardware import cgroup, machine, nvml


def test_fingerprint_is_stable_and_json():
    first, second = machine.fingerprint(), machine.fingerprint()
    assert first == second
    assert json.loads(json.dumps(first)) == first
    assert len(first["id"]) == 12 and int(first["id"], 16) >= 0


def test_fingerprint_names_neither_host_nor_user_nor_path():
    text = json.dumps(machine.fingerprint())
    host = socket.gethostname()
    words = set(text.replace('"', " ").replace(",", " ").split())
    assert host not in words and getpass.getuser() not in words
    assert str(Path.home()) not in text and str(Path.cwd()) not in text
    assert "/home" not in text and "/usr" not in text


def test_fingerprint_agrees_with_the_system():
    facts = machine.fingerprint()
    total_kib = int(Path("/proc/meminfo").read_text().split()[1])
    assert facts["memory_gib"] == round(total_kib / 2**20)
    assert facts["logical_cores"] == os.cpu_count()
    assert 1 <= facts["physical_cores"] <= facts["logical_cores"]
    assert facts["kernel"] == platform.release()
    assert facts["label"].endswith("GiB") or facts["gpus"]


def test_id_ignores_what_an_update_changes(monkeypatch):
    before = machine.fingerprint()
    monkeypatch.setattr(platform, "release", lambda: "99.0")
    monkeypatch.setattr(platform, "python_version", lambda: "3.99")
    monkeypatch.setattr(machine, "usable_cores", lambda: 1)
    after = machine.fingerprint()
    assert after["id"] == before["id"] and after["kernel"] == "99.0"


def test_id_and_label_change_with_the_gpus(monkeypatch):
    before = machine.fingerprint()
    gpu = {"name": "NVIDIA H200", "memory_gib": 140.4, "driver": "570.1"}
    monkeypatch.setattr(nvml, "gpus", lambda: [gpu, gpu])
    with_gpus = machine.fingerprint()
    assert with_gpus["id"] != before["id"]
    assert with_gpus["label"].endswith("2x NVIDIA H200")
    monkeypatch.setattr(nvml, "gpus", lambda: [{**gpu, "driver": "580.2"}] * 2)
    assert machine.fingerprint()["id"] == with_gpus["id"]


@pytest.mark.parametrize(
    ("model", "usable", "label"),
    [
        ("AMD EPYC 7B13 64-Core Processor", 2, "AMD EPYC 7B13, 2 of 4 cores, 24 GiB"),
        ("Intel(R) Xeon(R) CPU @ 2.20GHz", 4, "Intel Xeon, 4 cores, 24 GiB"),
        ("AMD EPYC", 0.5, "AMD EPYC, 0.5 of 4 cores, 24 GiB"),
    ],
)
def test_label(model, usable, label):
    facts = {"cpu": model, "logical_cores": 4, "memory_gib": 24, "gpus": []}
    assert machine._label(facts, usable) == label


def test_versions_lists_what_is_installed():
    import numpy

    assert machine.versions(["numpy", "no-such-distribution"]) == {"numpy": numpy.__version__}


def test_cpu_facts_from_other_kernels(tmp_path):
    assert machine.cpu_model(tmp_path) and machine.virtualised(tmp_path) is None
    info = tmp_path / "proc/cpuinfo"
    info.parent.mkdir()
    info.write_text("processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n\n")
    assert machine.cpu_model(tmp_path) == "ARM implementer 0x41 part 0xd0c"
    assert machine.virtualised(tmp_path) is None
    info.write_text("model name\t: Some CPU\nflags\t\t: fpu sse2\n\nmodel name\t: Other\n")
    assert machine.cpu_model(tmp_path) == "Some CPU" and machine.virtualised(tmp_path) is False
    info.write_text("model name\t: Some CPU\nflags\t\t: fpu hypervisor\n\n")
    assert machine.virtualised(tmp_path) is True


V1_MOUNT = "33 31 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
V2_MOUNT = "32 31 0:28 {root} /sys/fs/cgroup{sub} rw - cgroup2 cgroup2 rw,nsdelegate\n"


def write_tree(root, cgroup_lines, mount_lines, files):
    proc = root / "proc/self"
    proc.mkdir(parents=True)
    (proc / "cgroup").write_text(cgroup_lines)
    (proc / "mountinfo").write_text(mount_lines)
    for name, text in files.items():
        file = root / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def test_quota_v2_is_the_tightest_of_all_ancestors(tmp_path):
    files = {
        "cgroup.controllers": "cpu memory",
        "a.slice/cpu.max": "150000 100000",
        "a.slice/b.scope/cpu.max": "max 100000",
    }
    mounts = V2_MOUNT.format(root="/", sub="")
    write_tree(tmp_path, "0::/a.slice/b.scope\n", mounts, files)
    group = cgroup.cpu_group(tmp_path)
    assert group.version == 2 and group.path.name == "b.scope"
    assert group.quota() == 1.5
    assert machine.usable_cores(tmp_path) == min(1.5, len(os.sched_getaffinity(0)))


def test_quota_v1_inside_a_container(tmp_path):
    # the host's path is told, but the container's mount begins at that group
    files = {
        "cpu,cpuacct/cpu.cfs_quota_us": "50000\n",
        "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    }
    lines = "4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n0::/\n"
    mounts = V1_MOUNT.format(root="/docker/abc")
    write_tree(tmp_path, lines, mounts, files)
    group = cgroup.cpu_group(tmp_path)
    assert group.version == 1 and group.path == group.mount
    assert machine.usable_cores(tmp_path) == 0.5


def test_hybrid_layout_uses_the_v1_cpu_controller(tmp_path):
    files = {
        "unified/cgroup.controllers": "",
        "cpu,cpuacct/g/cpu.cfs_quota_us": "-1\n",
        "cpu,cpuacct/g/cpu.cfs_period_us": "100000\n",
    }
    mounts = V2_MOUNT.format(root="/", sub="/unified") + V1_MOUNT.format(root="/")
    write_tree(tmp_path, "4:cpu,cpuacct:/g\n0::/g\n", mounts, files)
    group = cgroup.cpu_group(tmp_path)
    assert group.version == 1 and group.path.name == "g" and group.quota() is None


def test_no_cgroup_at_all(tmp_path):
    assert cgroup.cpu_group(tmp_path) is None
    assert machine.usable_cores(tmp_path) == len(os.sched_getaffinity(0))


def test_imports_stay_light():
    code = (
        "import sys, common.hardware.machine, common.hardware.meters, common.hardware.doctor\n"
        "heavy = {'torch','zeus','pynvml','numpy','pandas','rich','threadpoolctl','mlflow'}\n"
        "sys.exit(' '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stderr
