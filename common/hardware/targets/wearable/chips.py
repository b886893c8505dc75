"""An analytical model of latency, energy and battery life on named chips of watches.

Nothing here is measured. Every coefficient carries a range and says where it comes from, and
every result carries the range that follows: all functions are monotone in each coefficient, so
the two corners bound it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from common.errors import ConfigError, known
from common.hardware.targets.wearable.costs import LayerCost

End = Literal["value", "low", "high"]
METER = "analytical model"
PRECISIONS = ("fp32", "int8")
SPECIFICATION = (
    "https://www.notebookcheck.net/SD-W5-Gen-1-vs-Exynos-W1000_15067_18011.247596.0.html"
)
CORE_WIDTH = "assumption: width of the core's vector unit, not confirmed by its maker"
USUAL = "assumption: usual for hand-written kernels"


class Interval(NamedTuple):
    """A modelled number and the range that its coefficients leave it."""

    value: float
    low: float
    high: float


class Coefficient(NamedTuple):
    """One number of the model, its range, unit and origin."""

    value: float
    low: float
    high: float
    unit: str
    source: str

    def at(self, end: End) -> float:
        """Value, or an end of the range."""
        return getattr(self, end)


class Chip(NamedTuple):
    """Coefficients of one cluster of cores.

    Attributes
    ----------
    name : str
        Chip, and the cluster where it has several.
    cores : int
        Cores of the cluster.
    clock : Coefficient
        Frequency under load.
    macs_fp32, macs_int8 : Coefficient
        Multiply-accumulates that a core can do in a cycle.
    core_power, uncore_power : Coefficient
        Watts of an active core, and of the rest while one is active.
    conv, depthwise, dense, recurrent : Coefficient
        Share of the peak that layers of this kind reach.
    bandwidth : Coefficient
        Bytes a second from memory.
    overhead : Coefficient
        Seconds of each inference that no layer explains.
    """

    name: str
    cores: int
    clock: Coefficient
    macs_fp32: Coefficient
    macs_int8: Coefficient
    core_power: Coefficient
    uncore_power: Coefficient = Coefficient(
        0.05, 0.02, 0.10, "W", "assumption: memory and interconnect of a small chip"
    )
    conv: Coefficient = Coefficient(0.35, 0.20, 0.60, "of peak", USUAL)
    depthwise: Coefficient = Coefficient(0.15, 0.08, 0.30, "of peak", USUAL)
    dense: Coefficient = Coefficient(0.35, 0.20, 0.60, "of peak", USUAL)
    recurrent: Coefficient = Coefficient(0.20, 0.10, 0.40, "of peak", USUAL)
    bandwidth: Coefficient = Coefficient(
        3e9, 2e9, 4e9, "B/s", "assumption: single-channel LPDDR4 as one cluster sees it"
    )
    overhead: Coefficient = Coefficient(
        2e-4, 5e-5, 1e-3, "s", "assumption: call of a runtime, waking of threads"
    )


class Battery(NamedTuple):
    """Coefficients of what drains a watch besides inferences."""

    charge: Coefficient = Coefficient(
        360.0, 300.0, 425.0, "mAh", "capacities of current watches; the value is their middle"
    )
    voltage: Coefficient = Coefficient(3.85, 3.8, 3.9, "V", "nominal voltage of a lithium cell")
    base_power: Coefficient = Coefficient(
        0.035, 0.02, 0.05, "W", "assumption: the watch otherwise idle lasts one to three days"
    )
    microphone_power: Coefficient = Coefficient(
        0.0035, 0.002, 0.005, "W", "assumption: microphone, converter and buffer"
    )
    wake_energy: Coefficient = Coefficient(
        0.01, 0.002, 0.05, "J", "assumption: leaving sleep, one start of the microphone"
    )


def _clock(gigahertz: float, source: str = SPECIFICATION) -> Coefficient:
    """Range down to 70 %: a watch throttles, and no specification promises its peak."""
    return Coefficient(gigahertz * 1e9, 0.7 * gigahertz * 1e9, gigahertz * 1e9, "Hz", source)


def _macs(value: float, low: float, high: float) -> Coefficient:
    return Coefficient(value, low, high, "MAC/cycle", CORE_WIDTH)


def _watts(value: float, low: float, high: float) -> Coefficient:
    return Coefficient(value, low, high, "W", "assumption: not published by the maker")


_CORTEX_A55 = {
    "macs_fp32": _macs(4, 4, 4),
    "macs_int8": _macs(16, 8, 16),
    "core_power": _watts(0.09, 0.06, 0.13),
}

CHIPS: dict[str, Chip] = {
    "w5": Chip(
        "Snapdragon W5 Gen 1 (4x Cortex-A53)",
        cores=4,
        clock=_clock(1.7),
        macs_fp32=_macs(2, 2, 4),
        # no dot product instruction: widening products give at best twice the float rate
        macs_int8=_macs(4, 2, 8),
        core_power=_watts(0.125, 0.10, 0.15),
    ),
    "w920": Chip(
        "Exynos W920 (2x Cortex-A55)",
        cores=2,
        clock=_clock(1.18),
        **_CORTEX_A55,
    ),
    "w1000": Chip(
        "Exynos W1000 (4x Cortex-A55)",
        cores=4,
        clock=_clock(1.5),
        **_CORTEX_A55,
    ),
    "w1000-a78": Chip(
        "Exynos W1000 (1x Cortex-A78)",
        cores=1,
        clock=_clock(1.6),
        macs_fp32=_macs(8, 8, 8),
        macs_int8=_macs(32, 16, 32),
        core_power=_watts(0.35, 0.20, 0.60),
    ),
}
"""Chips by the word that asks for them."""


def latency(
    costs: Sequence[LayerCost],
    chip: str | Chip,
    cores: int | None = None,
    precision: str | None = None,
    *,
    overlap: bool = True,
) -> Interval:
    """Seconds of one inference.

    t = sum_l max(MAC_l / (cores * f * MAC_per_cycle * efficiency_l), bytes_l / bandwidth)
    + overhead, where bytes are those of weights and of what a layer reads and writes.

    Parameters
    ----------
    costs : sequence of LayerCost
        From :func:`~common.hardware.targets.wearable.costs.layer_costs`.
    chip : str or Chip
        ``w5``, ``w920``, ``w1000``, ``w1000-a78``, or coefficients of one's own.
    cores : int, optional
        Cores at work; at most two by default, as applications on a watch get.
    precision : {"fp32", "int8"}, optional
        Instead of each layer's own: every layer as if in floats, or in eight bits.
    overlap : bool
        Whether a layer computes while its bytes arrive; otherwise both times add up.

    Returns
    -------
    Interval

    Raises
    ------
    ConfigError
        If the chip or precision is unknown, or it has not so many cores.

    Examples
    --------
    17.3 million products in floats and 9.4 MB of weights take about 7 ms and 3 ms:

    >>> whole = [LayerCost("all", "conv", 17_300_000, 9_400_000, 0)]
    >>> round(1e3 * latency(whole, "w5", cores=2).value, 1)
    7.5
    >>> round(1e3 * latency(whole, "w5", cores=2, overlap=False).value, 1)
    10.6
    """
    chip, cores = _chip(chip, cores)
    if precision is not None:
        known(precision, PRECISIONS, "precision")
        costs = [in_precision(cost, precision) for cost in costs]
    times = [
        _seconds(costs, chip, cores, overlap, rates, delays)
        for rates, delays in (("value", "value"), ("high", "low"), ("low", "high"))
    ]
    return Interval(*times)


def energy(
    costs: Sequence[LayerCost],
    chip: str | Chip,
    cores: int | None = None,
    precision: str | None = None,
    *,
    overlap: bool = True,
) -> Interval:
    """Joules of one inference: its time, times the power of its cores and what they need.

    Parameters and errors as for :func:`latency`.
    """
    chip, cores = _chip(chip, cores)
    seconds = latency(costs, chip, cores, precision, overlap=overlap)
    ends: tuple[End, ...] = ("value", "low", "high")
    watts = [cores * chip.core_power.at(end) + chip.uncore_power.at(end) for end in ends]
    return Interval(*(t * p for t, p in zip(seconds, watts, strict=True)))


def battery_life(
    loads: Sequence[tuple[Interval, float]],
    *,
    microphone_duty: float = 0.0,
    wakes_per_hour: float = 0.0,
    battery: Battery | None = None,
) -> Interval:
    """Hours that a full battery lasts.

    Parameters
    ----------
    loads : sequence of (Interval, float)
        Joules of an inference, and how many of it an hour.
    microphone_duty : float
        Share of the time in which the microphone runs, in [0, 1].
    wakes_per_hour : float
        How often it starts.
    battery : Battery, optional
        Coefficients of one's own.

    Raises
    ------
    ConfigError
        If the duty is not a share, or a rate is negative.

    Examples
    --------
    >>> idle = battery_life([])
    >>> idle.low < idle.value < idle.high
    True
    """
    if not 0 <= microphone_duty <= 1:
        raise ConfigError(f"microphone_duty={microphone_duty!r} is not a share between 0 and 1")
    rates = [wakes_per_hour, *(rate for _, rate in loads)]
    if min(rates) < 0:
        raise ConfigError(f"rates an hour must not be negative, got {rates}")
    battery = battery or Battery()

    def hours(stored: End, drained: End) -> float:
        joules = sum(getattr(each, drained) * rate for each, rate in loads)
        joules += battery.wake_energy.at(drained) * wakes_per_hour
        watts = battery.base_power.at(drained) + joules / 3600
        watts += battery.microphone_power.at(drained) * microphone_duty
        return battery.charge.at(stored) / 1e3 * battery.voltage.at(stored) / watts

    return Interval(hours("value", "value"), hours("low", "high"), hours("high", "low"))


def in_precision(cost: LayerCost, precision: str) -> LayerCost:
    """The same layer in another precision: a quarter of the bytes, or four times as many."""
    if precision == cost.precision or not cost.macs:
        return cost
    sizes = (cost.weight_bytes, cost.activation_bytes)
    weights, others = (n // 4 if precision == "int8" else 4 * n for n in sizes)
    return replace(cost, weight_bytes=weights, activation_bytes=others, precision=precision)


def _chip(chip: str | Chip, cores: int | None) -> tuple[Chip, int]:
    if isinstance(chip, str):
        chip = CHIPS[known(chip, CHIPS, "chip")]
    cores = min(2, chip.cores) if cores is None else cores
    if not 1 <= cores <= chip.cores:
        raise ConfigError(f"{chip.name} has {chip.cores} cores, not {cores}")
    return chip, cores


def _seconds(
    costs: Sequence[LayerCost], chip: Chip, cores: int, overlap: bool, rates: End, delays: End
) -> float:
    """Time with rates (more is faster) and delays (more is slower) at given ends."""
    peaks = {"fp32": chip.macs_fp32.at(rates), "int8": chip.macs_int8.at(rates)}
    join = max if overlap else (lambda a, b: a + b)
    total = chip.overhead.at(delays)
    for cost in costs:
        compute = 0.0
        if cost.macs:
            share = getattr(chip, cost.kind).at(rates)
            rate = cores * chip.clock.at(rates) * peaks[cost.precision] * share
            compute = cost.macs / rate
        moved = (cost.weight_bytes + cost.activation_bytes) / chip.bandwidth.at(rates)
        total += join(compute, moved)
    return total
