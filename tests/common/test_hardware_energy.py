import importlib.util
import time
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest

from common.errors import ConfigError
from common.hardware import machine, nvml, rapl
from common.hardware.actuators import GpuPowerLimit
from common.hardware.meters import MeterSet, ModelledEnergy, NvmlEnergy, RaplEnergy, energy
from common.hardware.meters.energy import BUSY_WATTS, IDLE_WATTS
from common.hardware.probe import Unavailable

needs_zeus = pytest.mark.skipif(
    importlib.util.find_spec("zeus") is None, reason="zeus is not installed (extra hw)"
)


def rapl_tree(sys_root, packages=2):
    for number in range(packages):
        zone = sys_root / f"class/powercap/intel-rapl/intel-rapl:{number}"
        zone.mkdir(parents=True)
        (zone / "name").write_text(f"package-{number}\n")
        (zone / "energy_uj").write_text("1000000\n")
        (zone / "max_energy_range_uj").write_text("262143328850\n")
        link = sys_root / "class/powercap" / zone.name
        link.symlink_to(zone)
    return sys_root / "class/powercap/intel-rapl"


@pytest.fixture
def fake_rapl(tmp_path, monkeypatch):
    """Zeus reading a tree of ours; its helper that watches for wrap-around stands still."""
    import zeus.device.cpu
    from zeus.device.cpu import rapl as zeus_rapl

    folder = rapl_tree(tmp_path)
    monkeypatch.setattr(zeus_rapl, "RAPL_DIR", str(folder))
    monkeypatch.setattr(
        zeus_rapl,
        "RaplWraparoundTracker",
        lambda path, top: SimpleNamespace(get_num_wraparounds=lambda: 0),
    )
    monkeypatch.setattr(zeus.device.cpu, "_cpus", None)
    zeus_rapl.rapl_is_available.cache_clear()
    energy._monitor.cache_clear()
    yield folder
    zeus_rapl.rapl_is_available.cache_clear()
    energy._monitor.cache_clear()


@needs_zeus
def test_rapl_joules_of_all_packages_through_zeus(fake_rapl, tmp_path):
    with MeterSet([RaplEnergy(tmp_path)]) as measured:
        (fake_rapl / "intel-rapl:0/energy_uj").write_text("3500000")
        (fake_rapl / "intel-rapl:1/energy_uj").write_text("1250000")
    reading = measured.get("energy")
    assert reading.value == pytest.approx(2.5 + 0.25) and reading.unit == "J"
    assert reading.measurement == "measured" and "rapl" in reading.meter


@needs_zeus
def test_rapl_regions_nest(fake_rapl, tmp_path):
    counter = fake_rapl / "intel-rapl:0/energy_uj"
    with MeterSet([RaplEnergy(tmp_path)]) as outer:
        counter.write_text("2000000")
        with MeterSet([RaplEnergy(tmp_path)]) as inner:
            counter.write_text("2500000")
        counter.write_text("4000000")
    assert inner.get("energy").value == pytest.approx(0.5)
    assert outer.get("energy").value == pytest.approx(3.0)


def test_rapl_absent_is_explained(tmp_path, monkeypatch):
    monkeypatch.setattr(rapl, "virtualised", lambda: True)
    in_vm = RaplEnergy(tmp_path).probe()
    assert not in_vm and "virtual machine" in in_vm.reason and "bare metal" in in_vm.enable
    monkeypatch.setattr(rapl, "virtualised", lambda: False)
    assert "no powercap driver" in RaplEnergy(tmp_path).probe().reason
    (tmp_path / "class/powercap").mkdir(parents=True)
    assert "no intel-rapl zone" in RaplEnergy(tmp_path).probe().reason


def test_rapl_that_only_root_may_read(tmp_path, monkeypatch):
    rapl_tree(tmp_path)
    monkeypatch.setattr(rapl.os, "access", lambda path, mode: False)
    probe = RaplEnergy(tmp_path).probe()
    assert not probe and "intel-rapl:0, intel-rapl:1" in probe.reason and "root" in probe.enable


def test_counters_without_the_library_name_the_extra(tmp_path, monkeypatch):
    rapl_tree(tmp_path)
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "zeus" else find_spec(name)
    )
    probe = RaplEnergy(tmp_path).probe()
    assert not probe and "Zeus is not installed" in probe.reason and "[hw]" in probe.enable


def test_packages_in_numeric_order_without_subzones(tmp_path):
    for name in ("intel-rapl:10", "intel-rapl:2", "intel-rapl:2:0", "dtpm"):
        (tmp_path / "class/powercap" / name).mkdir(parents=True)
    assert [zone.name for zone in rapl.packages(tmp_path)] == ["intel-rapl:2", "intel-rapl:10"]


def test_model_by_hand():
    model = ModelledEnergy(busy_watts=5.0, idle_watts=1.0, cores=4)
    # 4 idle cores for 10 s: 40 J; 3 CPU seconds at 4 W above idle: 12 J
    assert model.energy(wall=10.0, cpu=3.0) == pytest.approx(52.0)


def test_model_of_a_region_is_bounded_by_idle_and_busy_power():
    model = ModelledEnergy(cores=2)
    with MeterSet(["wall_clock", "cpu_time"]) as around, MeterSet([model]) as inside:
        end = time.process_time() + 0.1
        while time.process_time() < end:
            pass
    joules = inside.get("energy").value
    wall, cpu = (reading.value for reading in around.readings)
    assert (BUSY_WATTS - IDLE_WATTS) * 0.1 < joules <= model.energy(wall, cpu) * 1.01


def test_a_model_is_never_called_measured():
    with MeterSet(["modelled_energy"]) as modelled:
        pass
    reading = modelled.get("energy")
    assert reading.measurement == "modelled" and reading.meter.startswith("modelled_energy (3.5 W")
    assert "assumption" in ModelledEnergy().probe().reason
    assert ModelledEnergy().cores == machine.usable_cores()


@pytest.mark.parametrize(
    "watts", [(1.0, 2.0), (-1.0, -2.0), (float("inf"), 1.0), (float("nan"), 1.0)]
)
def test_model_refuses_impossible_watts(watts):
    with pytest.raises(ConfigError, match="idle_watts <= busy_watts"):
        ModelledEnergy(*watts)


class FakeNvml(ModuleType):
    """The few calls of NVML that are used, for one GPU with a limit of 250 W."""

    class NVMLError(Exception):
        pass

    def __init__(self, gpus=1):
        super().__init__("pynvml")
        self.__spec__ = ModuleSpec("pynvml", None)
        self.gpus, self.limit, self.open = gpus, 250_000, 0

    def nvmlInit(self):
        self.open += 1

    def nvmlShutdown(self):
        self.open -= 1

    def nvmlDeviceGetCount(self):
        return self.gpus

    def nvmlSystemGetDriverVersion(self):
        return b"570.1"

    def nvmlDeviceGetHandleByIndex(self, index):
        if index >= self.gpus:
            raise self.NVMLError("Invalid Argument")
        return index

    def nvmlDeviceGetName(self, handle):
        return "NVIDIA Test"

    def nvmlDeviceGetMemoryInfo(self, handle):
        return SimpleNamespace(total=80 * 2**30)

    def nvmlDeviceGetPowerManagementLimitConstraints(self, handle):
        return [100_000, 300_000]

    def nvmlDeviceGetPowerManagementLimit(self, handle):
        return self.limit

    def nvmlDeviceSetPowerManagementLimit(self, handle, milliwatts):
        if milliwatts == 111_000:
            raise self.NVMLError("Insufficient Permissions")
        self.limit = milliwatts


@pytest.fixture
def fake_nvml(monkeypatch):
    library = FakeNvml()
    monkeypatch.setitem(__import__("sys").modules, "pynvml", library)
    nvml.probe.cache_clear()
    yield library
    nvml.probe.cache_clear()


def test_gpus_through_nvml(fake_nvml):
    assert nvml.probe().reason == "NVML sees 1 GPU"
    assert nvml.gpus() == [{"name": "NVIDIA Test", "memory_gib": 80.0, "driver": "570.1"}]
    assert machine.fingerprint()["label"].endswith("NVIDIA Test")
    assert fake_nvml.open == 0


def test_nvml_without_a_gpu(fake_nvml):
    fake_nvml.gpus = 0
    assert "lists no GPU" in NvmlEnergy().probe().reason


def test_gpu_power_limit_is_undone(fake_nvml, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    limit = GpuPowerLimit()
    with pytest.raises(KeyboardInterrupt), limit.set(150) as watts:
        assert watts == 150 and fake_nvml.limit == 150_000
        raise KeyboardInterrupt
    assert fake_nvml.limit == 250_000 and fake_nvml.open == 0
    with pytest.raises(ConfigError, match=r"50 W is out of range; allowed: 100 to 300 W"):
        limit.set(50).__enter__()


def test_gpu_power_limit_explains_refusals(fake_nvml, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert "root only" in GpuPowerLimit().probe().reason
    assert "Invalid Argument" in GpuPowerLimit(index=3).probe().reason
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(Unavailable, match="Insufficient Permissions"):
        GpuPowerLimit().set(111).__enter__()
    assert fake_nvml.limit == 250_000
