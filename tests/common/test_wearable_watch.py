"""A watch that is a shell script: choosing it, running on it, reading it, and every refusal."""

import os
import shutil

import numpy as np
import pytest

pytest.importorskip("onnx")

from common.hardware.probe import Unavailable
from common.hardware.targets.wearable import watch as module
from common.hardware.targets.wearable.emit import Program
from common.hardware.targets.wearable.watch import DeviceError, Watch

LISTED = "10.0.0.7:5555       device product:p model:Pixel_Watch_2 device:d transport_id:1"
OTHER = "R5CT       device product:q model:SM_R960 device:e transport_id:2"

# A watch in a folder: /data/local/tmp is $ROOT, everything else answers as a watch would.
SCRIPT = r"""#!/bin/sh
echo "$@" >> "$ROOT/log"
case "$1" in
  devices) printf 'List of devices attached\n%s\n' "$LISTED"; exit 0 ;;
  -s) shift 2 ;;
esac
there() { echo "$1" | sed "s#/data/local/tmp#$ROOT#g"; }
case "$1" in
  push) [ -n "$FULL" ] && { echo "adb: error: No space left on device" >&2; exit 1; }
        cp "$2" "$(there "$3")" ;;
  pull) cp "$(there "$2")" "$3" ;;
  shell) case "$2" in
      "dumpsys battery") [ -n "$MUTE" ] && exit 1; printf '  level: 83\n  temperature: 291\n' ;;
      *scaling_cur_freq) [ -n "$MUTE" ] && exit 1; printf '614400\n1708800\n' ;;
      *current_now) [ -n "$MUTE" ] && exit 1; echo -152000 ;;
      *) sh -c "$(there "$2")" ;;
    esac ;;
esac
"""


@pytest.fixture
def adb(tmp_path, monkeypatch):
    (tmp_path / "adb").write_text(SCRIPT)
    (tmp_path / "adb").chmod(0o755)
    (tmp_path / "root").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("LISTED", LISTED)
    return tmp_path


@pytest.fixture
def program(adb, monkeypatch):
    """A stand-in for the compiled network: doubles eight bytes and times three inferences."""
    binary = adb / "binary"
    binary.write_text(
        "#!/bin/sh\ncat $2 $2 > $3\n"
        "i=0; while [ $i -lt $1 ]; do i=$((i+1))\n"
        "printf '\\000\\020\\000\\000\\000\\000\\000\\000'; done > $4\n"
    )
    binary.chmod(0o755)
    monkeypatch.setattr(module, "compile_program", lambda *arguments: binary)
    shutil.copy(binary, adb / "aarch64-linux-gnu-gcc")  # there, and never called
    return Program("", b"", (("a", (2,), "float32"), ("b", (1, 2), "float32")))


needs_taskset = pytest.mark.skipif(not shutil.which("taskset"), reason="taskset is not installed")


@needs_taskset
def test_a_network_runs_on_the_watch_and_leaves_nothing(adb, program):
    x = np.array([3.0, 4.0], np.float32)
    found = Watch.attached().measure(program, [x], warmup=2, runs=3)
    assert found.seconds.tolist() == pytest.approx([4096e-9] * 3)
    assert [o.tolist() for o in found.outputs] == [[3.0, 4.0], [[3.0, 4.0]]]
    assert found.after == module.State(1.7088e9, 83.0, -0.152, 29.1)
    assert found.meter == "clock of Pixel_Watch_2, reference C runtime, taskset 1"
    log = (adb / "root/log").read_text()
    assert "taskset 1 /data/local/tmp/reprise/program 5 " in log
    assert not (adb / "root/reprise").exists()


def test_a_watch_that_does_not_tell_is_still_measured(adb, monkeypatch):
    monkeypatch.setenv("MUTE", "1")
    assert Watch.attached().state() == module.State(None, None, None, None)


@needs_taskset
def test_a_binary_of_ones_own_gets_its_files(adb):
    (adb / "runner").write_text("#!/bin/sh\necho ran; cat $2\n")
    (adb / "model.pte").write_text("weights")
    said = Watch.attached().run(adb / "runner", [adb / "model.pte"], "--model_path {0}")
    assert said == "ran\nweights"
    assert not (adb / "root/reprise").exists()


def test_a_push_that_fails_says_why(adb, program, monkeypatch):
    monkeypatch.setenv("FULL", "1")
    with pytest.raises(DeviceError, match=r"adb push on Pixel_Watch_2 failed: .*No space left"):
        Watch.attached().measure(program, [np.zeros(2, np.float32)])
    assert not (adb / "root/reprise").exists()


def test_no_watch(adb, monkeypatch):
    monkeypatch.setenv("LISTED", "")
    with pytest.raises(Unavailable, match=r"no device over adb: no watch is attached.*adb pair"):
        Watch.attached()


def test_no_adb(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match=r"adb is not installed.*apt-get install adb"):
        Watch.attached()


def test_an_unauthorised_watch(adb, monkeypatch):
    monkeypatch.setenv("LISTED", LISTED.replace("device product", "unauthorized product"))
    with pytest.raises(Unavailable, match="Pixel_Watch_2 has not authorised this host"):
        Watch.attached()


def test_a_watch_that_is_offline(adb, monkeypatch):
    monkeypatch.setenv("LISTED", LISTED.replace("device product", "offline product"))
    with pytest.raises(Unavailable, match="adb lists Pixel_Watch_2 as offline"):
        Watch.attached()


def test_several_watches_have_to_be_told_apart(adb, monkeypatch):
    monkeypatch.setenv("LISTED", f"{LISTED}\n{OTHER}")
    with pytest.raises(
        DeviceError, match=r"10\.0\.0\.7:5555 \(Pixel_Watch_2, device\), R5CT.*serial="
    ):
        Watch.attached()
    assert Watch.attached("R5CT").model == "SM_R960"
    with pytest.raises(DeviceError, match=r"no device 'R5CX'; did you mean 'R5CT'"):
        Watch.attached("R5CX")


def test_the_serial_is_not_shown(adb):
    assert "10.0.0.7" not in repr(Watch.attached())


def test_without_the_cross_compiler_the_packages_are_named(adb, monkeypatch):
    monkeypatch.setenv("PATH", str(adb))
    with pytest.raises(Unavailable, match=r"aarch64-linux-gnu-gcc is missing.*apt-get install"):
        Watch("s").measure(Program("", b"", ()), [])
