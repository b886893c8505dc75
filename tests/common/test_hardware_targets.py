import subprocess
import sys

import pytest

from common.errors import ConfigError
from common.hardware import nvml, targets
from common.hardware.probe import Probe, Unavailable
from common.hardware.targets import gpu, wearable
from common.hardware.targets.wearable import probing


def program(folder, name, script="exit 0"):
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


@pytest.fixture
def one_gpu(monkeypatch):
    monkeypatch.setattr(nvml, "probe", lambda: Probe(True, "NVML sees 1 GPU"))
    gpu.probe.cache_clear()
    yield
    gpu.probe.cache_clear()


def test_cpu_is_always_there():
    probe = targets.probe_target("cpu")
    assert probe and "usable cores" in probe.reason


def test_unknown_target_names_the_closest():
    with pytest.raises(ConfigError, match="did you mean 'gpu'"):
        targets.probe_target("gpus")


def test_wearable_without_anything_lists_the_packages(path):
    probe = targets.probe_target("wearable")
    assert not probe and "adb is not installed" in probe.reason
    for package in ("qemu-user", "gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "adb"):
        assert package in probe.enable


def test_emulator_is_never_called_a_watch(path):
    program(path, "qemu-aarch64-static")
    probe = wearable.probe()
    assert not probe and "cross compiler aarch64-linux-gnu-gcc is missing" in probe.reason
    assert "gcc-aarch64-linux-gnu" in probe.enable
    program(path, "aarch64-linux-gnu-gcc")
    assert "host compiler gcc is missing" in wearable.probe().reason
    program(path, "gcc")
    probe = wearable.probe()
    assert probe and "emulated" in probe.reason and "modelled" in probe.reason


def test_each_part_of_the_wearable_answers_for_itself(path):
    parts = {name: part() for name, part in probing.PARTS.items()}
    assert not parts["wearable device"] and "apt-get install adb" in parts["wearable device"].enable
    assert not parts["wearable emulator"] and "qemu-user" in parts["wearable emulator"].enable
    model = parts["wearable chip model"]
    assert model and "an assumption" in model.reason and "Snapdragon W5" in model.reason


def test_without_runtimes_the_x86_reference_names_the_extra(monkeypatch):
    monkeypatch.setattr(probing.importlib.util, "find_spec", lambda name: None)
    probe = probing.x86_reference()
    assert not probe and "[edge]" in probe.enable


ADB = """cat <<'END'
* daemon started successfully
List of devices attached
192.168.1.7:5555       device product:p model:Pixel_Watch_2 device:d transport_id:1

END"""


def test_a_watch_beats_the_emulator(path, monkeypatch):
    monkeypatch.setenv("PATH", f"{path}:/usr/bin:/bin")
    program(path, "adb", ADB)
    program(path, "qemu-aarch64")
    probe = wearable.probe()
    assert probe and "real device over adb: Pixel_Watch_2" in probe.reason
    assert "192.168" not in probe.reason


def test_an_unauthorised_watch_is_not_used(path, monkeypatch):
    monkeypatch.setenv("PATH", f"{path}:/usr/bin:/bin")
    program(path, "adb", ADB.replace("device product", "unauthorized product"))
    monkeypatch.setattr(probing, "_EMULATORS", ())
    probe = wearable.probe()
    assert not probe and "Pixel_Watch_2 as unauthorized" in probe.reason


def test_an_adb_that_fails_is_reported(path):
    program(path, "adb", "exit 3")
    found, complaint = wearable.devices()
    assert found == [] and "does not answer" in complaint


def test_gpu_without_driver_says_so(monkeypatch):
    monkeypatch.setattr(nvml, "probe", lambda: Probe(False, "NVML does not answer", "a GPU"))
    gpu.probe.cache_clear()
    assert targets.probe_target("gpu") == Probe(False, "NVML does not answer", "a GPU")
    gpu.probe.cache_clear()


def test_gpu_with_a_cpu_build_of_torch(one_gpu, monkeypatch):
    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(gpu.metadata, "version", lambda name: "2.13.0+cpu")
    probe = gpu.probe()
    assert not probe and "built without CUDA" in probe.reason and "CUDA build" in probe.enable


def test_gpu_without_torch_names_the_extra(one_gpu, monkeypatch):
    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: None)
    probe = gpu.probe()
    assert not probe and "PyTorch is not installed" in probe.reason and "[torch]" in probe.enable


def test_probe_is_true_exactly_when_available():
    assert Probe(True, "works") and not Probe(False, "does not")
    Probe(True, "works").require("thing")
    with pytest.raises(
        Unavailable, match="thing is not available here: broken; to enable it: mend"
    ):
        Probe(False, "broken", "mend").require("thing")


def test_looking_at_the_targets_loads_no_runtime():
    heavy = "{'torch', 'onnx', 'onnxruntime', 'executorch', 'matplotlib', 'sklearn'}"
    code = (
        "import sys\n"
        "from common.hardware.targets import wearable\n"
        "wearable.probe(), wearable.CHIPS, [part() for part in wearable.probing.PARTS.values()]\n"
        f"print({heavy} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
