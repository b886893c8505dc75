import mmap
import os
import subprocess
import sys
import threading
import time

import pytest

from common.errors import ConfigError
from common.hardware.meters import (
    METERS,
    CpuTime,
    CudaEventTimer,
    MeterSet,
    PeakMemory,
    Reading,
    WallClock,
    available_meters,
    memory,
    meter,
    process_tree,
)
from common.hardware.probe import Probe, Unavailable
from common.hardware.targets import gpu

MIB = 2**20
UNITS = {"wall_time": "s", "cpu_time": "s", "peak_memory": "MiB", "energy": "J"}

needs_exact_peak = pytest.mark.skipif(
    not memory._tracker.exact, reason="the kernel does not let a process reset its peak here"
)


def resident(mebibytes):
    """Memory that is really backed by pages, and really given back when closed."""
    block = mmap.mmap(-1, mebibytes * MIB)
    for page in range(0, len(block), 4096):
        block[page] = 1
    return block


def burn(cpu_seconds):
    end = time.process_time() + cpu_seconds
    while time.process_time() < end:
        pass


def peak(measured):
    return measured.get("peak_memory").value


def measured_peak(region):
    with MeterSet(["peak_memory"]) as measured:
        region()
    return peak(measured)


def test_peak_memory_of_a_known_block():
    base = measured_peak(lambda: None)

    def region():
        resident(200).close()

    rise = measured_peak(region) - base
    assert 190 <= rise <= 230


def test_peak_memory_forgets_what_went_before():
    before = measured_peak(lambda: None)
    resident(200).close()
    assert measured_peak(lambda: None) < before + 50


@needs_exact_peak
def test_peak_between_two_samples_is_seen(monkeypatch):
    monkeypatch.setattr(memory, "PERIOD_S", 60.0)  # no sample falls into the region
    base = measured_peak(lambda: None)
    assert measured_peak(lambda: resident(100).close()) - base >= 95


@needs_exact_peak
def test_inner_region_does_not_rob_the_outer_of_its_peak():
    base = measured_peak(lambda: None)
    with MeterSet(["peak_memory"]) as outer:
        resident(150).close()
        with MeterSet(["peak_memory"]) as inner:
            resident(40).close()
    assert peak(outer) - base >= 145
    assert 35 <= peak(inner) - base <= 90


def test_sampled_peak_of_a_region_shorter_than_the_period(monkeypatch):
    tracker = memory._Tracker()
    tracker.exact = False
    monkeypatch.setattr(memory, "_tracker", tracker)
    monkeypatch.setattr(memory, "PERIOD_S", 60.0)
    assert "process and children sampled" in PeakMemory().name
    base = measured_peak(lambda: None)
    with MeterSet(["peak_memory"]) as measured:
        block = resident(100)
    block.close()
    assert peak(measured) - base >= 95


def test_peak_memory_counts_a_child():
    hold = (
        "import sys\n"
        "b = bytearray(b'x') * (150 * 2**20)\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()"
    )
    with MeterSet(["peak_memory"]) as alone:
        pass
    pipe = subprocess.PIPE
    with MeterSet(["peak_memory"]) as measured:
        child = subprocess.Popen([sys.executable, "-c", hold], stdin=pipe, stdout=pipe)
        child.stdout.readline()
        deadline, wanted = time.monotonic() + 20, (peak(alone) + 150) * MIB
        while max(memory._tracker._peaks.values()) < wanted and time.monotonic() < deadline:
            time.sleep(0.01)  # until the sampler has looked
        child.communicate()
    assert peak(measured) - peak(alone) >= 150


def test_sampler_thread_ends_with_the_last_region():
    def samplers():
        return [t for t in threading.enumerate() if t.name == "peak-memory-sampler"]

    with MeterSet(["peak_memory"]), MeterSet(["peak_memory"]):
        assert len(samplers()) == 1
    for _ in range(100):
        if not samplers():
            break
        time.sleep(0.02)
    assert not samplers()


def test_fork_inside_a_region():
    with MeterSet(["peak_memory", "cpu_time"]) as measured:
        pid = os.fork()
        if pid == 0:  # the copy leaves its own region, then ends without running any test code
            status = 1
            try:
                with MeterSet() as inner:
                    pass
                status = 0 if peak(inner) > 0 else 2
            finally:
                os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0
    assert peak(measured) > 0


def test_cpu_time_of_a_busy_loop_and_of_sleep():
    with MeterSet(["cpu_time"]) as busy:
        burn(0.2)
    with MeterSet(["cpu_time"]) as asleep:
        time.sleep(0.2)
    assert 0.2 <= busy.get("cpu_time").value < 0.4
    assert asleep.get("cpu_time").value < 0.1


def test_cpu_time_counts_threads():
    with MeterSet(["cpu_time"]) as measured:
        thread = threading.Thread(target=burn, args=(0.2,))
        thread.start()
        thread.join()
    assert measured.get("cpu_time").value >= 0.2


def test_cpu_time_of_a_child_counts_once():
    code = (
        "import time, sys\n"
        "while time.process_time() < 0.3: pass\n"
        "print('done', flush=True)\n"
        "sys.stdin.read()"
    )
    pipe = subprocess.PIPE
    with MeterSet(["cpu_time"]) as alive:
        child = subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe)
        child.stdout.readline()
    with MeterSet(["cpu_time"]) as waited_for:
        child.communicate()
    with MeterSet(["cpu_time"]) as whole_life:
        subprocess.run([sys.executable, "-c", code], stdin=subprocess.DEVNULL, check=True)
    assert 0.25 <= whole_life.get("cpu_time").value < 0.8
    assert 0.25 <= alive.get("cpu_time").value < 0.8
    # its seconds move from the living child to the record of the dead: no second count
    assert 0 <= waited_for.get("cpu_time").value < 0.2


def test_helpers_of_a_meter_are_not_part_of_the_program():
    with process_tree.starting_helpers():
        helper = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        pids = {child.pid for child in process_tree.descendants()}
        assert other.pid in pids and helper.pid not in pids
    finally:
        for process in (helper, other):
            process.communicate(b"\n")
    assert process_tree.descendants() == []


def test_wall_clock_agrees_with_another_clock():
    begun = time.monotonic()
    with MeterSet(["wall_clock"]) as measured:
        time.sleep(0.05)
    around = time.monotonic() - begun
    assert 0.05 <= measured.get("wall_time").value <= around + 1e-3


def test_readings_are_typed_and_ordered():
    with MeterSet() as measured:
        pass
    quantities = [reading.quantity for reading in measured.readings]
    assert quantities[:3] == ["wall_time", "cpu_time", "peak_memory"]
    for reading in measured.readings:
        assert isinstance(reading, Reading) and reading.unit == UNITS[reading.quantity]
        assert reading.measurement == "measured" and reading.value >= 0
    assert measured.get("wall_time") == measured.readings[0]


def test_a_quantity_that_was_not_measured_is_none():
    with MeterSet(["wall_clock"]) as measured:
        pass
    assert measured.get("energy") is None


def test_one_meter_serves_nested_regions():
    clock = WallClock()
    with MeterSet([clock]) as outer:
        time.sleep(0.02)
        with MeterSet([clock]) as inner:
            time.sleep(0.01)
    assert 0.01 <= inner.get("wall_time").value <= outer.get("wall_time").value - 0.02


def test_one_set_may_be_entered_again():
    measured = MeterSet(["wall_clock"])
    with measured:
        with measured:
            pass
        inner = measured.readings
        time.sleep(0.01)
    assert measured.readings[0].value > inner[0].value


def test_readings_survive_an_exception():
    with pytest.raises(KeyError), MeterSet() as measured:
        raise KeyError("work failed")
    assert measured.get("wall_time").value >= 0


class Broken(WallClock):
    def _end(self, begun):
        raise OSError("sensor lost")


def test_a_failing_meter_does_not_silence_the_others():
    clock = WallClock()
    with pytest.raises(OSError, match="sensor lost"), MeterSet([Broken(), clock]) as measured:
        pass
    assert [reading.meter for reading in measured.readings] == ["wall_clock"]
    assert clock._open == []


def test_the_error_of_the_work_wins_over_that_of_a_meter():
    with pytest.raises(ZeroDivisionError), MeterSet([Broken()]):
        _ = 1 / 0


def test_a_meter_that_cannot_start_closes_the_others():
    class Unstartable(WallClock):
        def _begin(self):
            raise OSError("no sensor")

    clock = WallClock()
    with pytest.raises(OSError, match="no sensor"), MeterSet([Unstartable(), clock]):
        pass
    assert clock._open == []


def test_stop_without_start():
    with pytest.raises(RuntimeError, match="without being started"):
        CpuTime().stop()


def test_unknown_names_get_the_closest():
    with pytest.raises(ConfigError, match="did you mean 'wall_clock'"):
        meter("wal_clock")
    with pytest.raises(ConfigError, match="did you mean 'wearable'"):
        available_meters("wearible")


def test_an_unavailable_meter_says_why_and_what_to_do():
    class Absent(WallClock):
        def probe(self):
            return Probe(False, "no such counter", "buy one")

    with pytest.raises(Unavailable, match=r"wall_clock.*no such counter.*buy one"):
        MeterSet([Absent()])


def test_defaults_never_model_and_wearables_are_never_measured_on_the_host():
    for target in ("cpu", "gpu", "wearable"):
        assert all(m.measurement != "modelled" for m in available_meters(target))
    assert {m.measurement for m in available_meters("wearable")} == {"emulated"}
    assert WallClock().measurement == "measured"


def test_every_meter_explains_itself():
    for name, make in METERS.items():
        made = make()
        probe = made.probe()
        assert made.kind == name and made.name.startswith(name) and probe.reason
        assert probe.available or probe.enable
        assert bool(probe) is probe.available


def test_a_machine_without_gpu_offers_no_cuda_timer():
    if gpu.probe():
        pytest.skip("this machine has a GPU")
    assert all(m.kind != "cuda_event" for m in available_meters("gpu"))
    with pytest.raises(Unavailable, match="cuda_event"):
        MeterSet(["cuda_event"])


@pytest.mark.gpu
@pytest.mark.skipif(not gpu.probe(), reason=gpu.probe().reason)
def test_cuda_timer_lies_within_the_wall_clock():
    import torch

    a = torch.rand(2048, 2048, device="cuda")
    with MeterSet([CudaEventTimer(), WallClock()]) as measured:
        for _ in range(20):
            a = torch.tanh(a @ a)
    device, wall = measured.readings
    assert 0 < device.value <= wall.value
    assert measured.get("wall_time").meter == "cuda_event"
