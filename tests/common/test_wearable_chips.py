"""The model of a chip: the published example, its ranges, and what it refuses."""

import random

import pytest

from common.errors import ConfigError
from common.hardware.targets.wearable.chips import (
    CHIPS,
    Battery,
    Coefficient,
    Interval,
    battery_life,
    energy,
    latency,
)
from common.hardware.targets.wearable.costs import LayerCost

WHOLE = [LayerCost("all", "conv", 17_300_000, 9_400_000, 0)]
MIXED = [
    LayerCost("a", "conv", 8_400_000, 3_300_000, 100_000),
    LayerCost("b", "depthwise", 500_000, 20_000, 400_000),
    LayerCost("c", "elementwise", 0, 0, 300_000),
    LayerCost("d", "dense", 400_000, 400_000, 4_000, "int8"),
    LayerCost("e", "recurrent", 900_000, 60_000, 8_000),
]
OVERHEAD_S = 2e-4


def test_the_worked_example():
    """17.3 MMAC on two A53 at 1.7 GHz and 0.35 of peak: 7 ms; 9.4 MB at 3 GB/s: 3 ms more."""
    compute = 17.3e6 / (2 * 1.7e9 * 2 * 0.35)
    traffic = 9.4e6 / 3e9
    assert round(compute * 1e3) == 7 and round(traffic * 1e3) == 3
    both = latency(WHOLE, "w5", cores=2, overlap=False)
    assert both.value == pytest.approx(compute + traffic + OVERHEAD_S)
    assert latency(WHOLE, "w5", cores=2).value == pytest.approx(compute + OVERHEAD_S)
    assert both.low < 11.8e-3 < both.high


@pytest.mark.parametrize("chip", CHIPS.values(), ids=CHIPS)
@pytest.mark.parametrize("overlap", [True, False])
def test_no_choice_of_coefficients_leaves_the_range(chip, overlap):
    rng = random.Random(0)
    bounds = [f(MIXED, chip, overlap=overlap) for f in (latency, energy)]
    for _ in range(50):
        drawn = {
            name: c._replace(value=rng.uniform(c.low, c.high))
            for name, c in chip._asdict().items()
            if isinstance(c, Coefficient)
        }
        for model, bound in zip((latency, energy), bounds, strict=True):
            value = model(MIXED, chip._replace(**drawn), overlap=overlap).value
            assert bound.low <= value <= bound.high


def test_battery_life_by_hand_and_within_its_range():
    assert battery_life([]).value == pytest.approx(0.360 * 3.85 / 0.035)
    load = [(Interval(3e-3, 1e-3, 9e-3), 3600.0)]  # one inference a second: 3 mW
    found = battery_life(load, microphone_duty=0.5, wakes_per_hour=36)
    drained = 0.035 + 3e-3 + 0.5 * 0.0035 + 36 * 0.01 / 3600
    assert found.value == pytest.approx(0.360 * 3.85 / drained)
    assert found.low < found.value < found.high < battery_life([]).high


def test_more_work_less_battery():
    loads = [[(Interval(e, e, e), 3600.0)] for e in (0.0, 1e-3, 1e-2)]
    hours = [battery_life(load).value for load in loads]
    assert hours == sorted(hours, reverse=True)


def test_energy_is_time_times_power():
    seconds, joules = latency(MIXED, "w5", 2), energy(MIXED, "w5", 2)
    chip = CHIPS["w5"]
    assert joules.value == pytest.approx(
        seconds.value * (2 * chip.core_power.value + chip.uncore_power.value)
    )


def test_every_coefficient_has_an_origin_and_a_range_that_holds_it():
    for part in (*CHIPS.values(), Battery()):
        for name, c in part._asdict().items():
            if isinstance(c, Coefficient):
                assert c.low <= c.value <= c.high, (part, name)
                assert c.source and c.unit


def test_eight_bits_help_where_there_is_a_dot_product():
    gains = {
        name: latency(WHOLE, name, precision="fp32").value
        / latency(WHOLE, name, precision="int8").value
        for name in ("w5", "w920")
    }
    assert 1 < gains["w5"] < gains["w920"]


def test_what_is_refused():
    with pytest.raises(ConfigError, match=r"unknown chip 'w9'.*w920"):
        latency(MIXED, "w9")
    with pytest.raises(ConfigError, match="has 2 cores, not 4"):
        latency(MIXED, "w920", cores=4)
    with pytest.raises(ConfigError, match="unknown precision 'fp61'"):
        latency(MIXED, "w5", precision="fp61")
    with pytest.raises(ConfigError, match="not a share"):
        battery_life([], microphone_duty=1.5)
    with pytest.raises(ConfigError, match="must not be negative"):
        battery_life([(Interval(1, 1, 1), -1.0)])
