"""The system setting p_j on a real machine: the best actuator there is, and what power it means."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

from common.hardware.actuators import (
    Actuator,
    CgroupCpuQuota,
    CpuFrequencyCap,
    GpuPowerLimit,
    Range,
    RaplPowerCap,
    SimulatedActuator,
)
from common.hardware.meters.energy import BUSY_WATTS, IDLE_WATTS

log = logging.getLogger(__name__)

QUOTA_PERIOD_S = 0.004
"""Enforcement period of the CPU quota: one clock tick of a common kernel, so that a quota acts like
a slower core on inferences of some milliseconds."""

_LOWEST_SHARE = 0.4  # of the highest power cap or frequency, where the range starts at nothing

# Watts first, as in the paper; then frequency; then capacity, which any container has.
_CPU: tuple[Callable[[], Actuator], ...] = (
    RaplPowerCap,
    CpuFrequencyCap,
    lambda: CgroupCpuQuota(period=QUOTA_PERIOD_S),
)
_ACTUATORS = {"cpu": _CPU, "gpu": (GpuPowerLimit,)}


class PowerModel(NamedTuple):
    """Modelled watts of one core that runs an inference: never a measurement.

    ``P = idle + (busy - idle) share ** exponent`` with the share of full speed that a setting
    leaves. With ``exponent`` 1 the core is switched off for part of the time, which is what a CPU
    quota does; 2.4 is a core whose frequency is lowered, for which a quota can stand.

    Examples
    --------
    >>> PowerModel(busy=3.5, idle=0.7).watts(1.0)
    3.5
    """

    busy: float = BUSY_WATTS
    idle: float = IDLE_WATTS
    exponent: float = 2.4

    def watts(self, share: float) -> float:
        """Power while running at a share of full speed (W)."""
        return self.idle + (self.busy - self.idle) * share**self.exponent

    def energy(self, share: float, busy: float, period: float) -> float:
        """Joules over a period that idles when the work is done, or over the work if longer."""
        return self.watts(share) * busy + self.idle * max(period - busy, 0.0)

    def describe(self) -> str:
        """One line for the meter column of a record."""
        return (
            f"model: {self.idle:g} W idle, {self.busy:g} W busy, dynamic power ~ "
            f"share^{self.exponent:g}"
        )


class Knob:
    """One actuator held for a while, changed only when the setting changes.

    Undoes everything on the way out of the block, whatever happened in it.

    Parameters
    ----------
    actuator : Actuator
        What to change.
    settings : sequence of float
        The settings p_j, each allowed by the actuator.
    note : str
        Why this actuator and not another.

    Raises
    ------
    ConfigError
        If a setting is outside the actuator's range; names both ends.
    ValueError
        If there is no setting.

    Examples
    --------
    >>> knob = Knob(SimulatedActuator("quota", Range(0.25, 1, "cores")), [0.5, 1.0])
    >>> with knob:
    ...     knob.apply(0.5)
    >>> knob.actuator.setpoints, knob.actuator.read()
    ([1.0, 0.5], 1)
    """

    def __init__(self, actuator: Actuator, settings: Sequence[float], note: str = "") -> None:
        if not settings:
            raise ValueError("a knob needs at least one setting")
        # a simulated or a real actuator refuses before anything has run, not in the middle of it
        self.settings = tuple(sorted(float(actuator.check(value)) for value in settings))
        self.actuator, self.note = actuator, note
        self._outer, self._inner = ExitStack(), ExitStack()
        self._current: float | None = None

    @property
    def name(self) -> str:
        """Name of the actuator."""
        return str(self.actuator.name)

    @property
    def unit(self) -> str:
        """Unit of the settings."""
        return self.actuator.range.unit

    @property
    def full(self) -> float:
        """The highest setting."""
        return self.settings[-1]

    def share(self, setting: float) -> float:
        """Share of the highest setting."""
        return setting / self.full

    def __enter__(self) -> Knob:
        # the outer change lasts: in it, a later one costs two writes and no new control group
        self._outer.enter_context(self.actuator.set(self.full))
        self._current = self.full
        return self

    def apply(self, setting: float) -> None:
        """Change to a setting, if it is not the current one.

        Raises
        ------
        RuntimeError
            Outside the ``with`` block.
        """
        if self._current is None:
            raise RuntimeError(f"knob {self.name!r} is not held: use it as `with knob:`")
        if setting == self._current:
            return
        self._inner.close()
        self._current = self.full
        if setting != self.full:
            self._inner.enter_context(self.actuator.set(setting))
            self._current = setting

    def __exit__(self, *_: object) -> None:
        self._current = None
        try:
            self._inner.close()
        finally:
            self._outer.close()


def find_knob(
    target: str = "cpu",
    levels: int = 4,
    *,
    cores: float = 1.0,
    actuators: Sequence[Callable[[], Actuator]] | None = None,
) -> Knob:
    """Take the first actuator that works here, else a simulated one that changes nothing.

    Parameters
    ----------
    target : {"cpu", "gpu"}
        Whose actuators to try: RAPL power cap, frequency cap and CPU quota, or the power limit.
    levels : int
        Number of settings, evenly spaced up to the highest.
    cores : float
        Highest CPU quota: one core for a network that runs on one thread.
    actuators : sequence of callable, optional
        Replace those of the target.

    Returns
    -------
    Knob
        Its ``note`` says why better actuators were passed over.
    """
    reasons = []
    for make in _ACTUATORS[target] if actuators is None else actuators:
        actuator = make()
        probe = actuator.probe()
        if isinstance(actuator, CgroupCpuQuota) and probe and not actuator.exclusive:
            reasons.append(f"{actuator.name}: the quota would also bind other processes")
        elif probe:
            return Knob(actuator, _levels(actuator, levels, cores), "; ".join(reasons))
        else:
            reasons.append(f"{actuator.name}: {probe.reason}")
    log.warning("no actuator works here, settings are simulated (%s)", "; ".join(reasons))
    simulated = SimulatedActuator("simulated_share", Range(0.01, 1.0, "of full speed"))
    return Knob(simulated, [1.0], "; ".join(reasons))


def _levels(actuator: Actuator, count: int, cores: float) -> list[float]:
    if isinstance(actuator, CgroupCpuQuota):
        return [cores * (step + 1) / count for step in range(count)]
    allowed = actuator.range
    high: Any = actuator.read() if allowed.high is None else allowed.high
    low = max(allowed.low or 0.0, _LOWEST_SHARE * high)
    return [high - (high - low) * step / max(count - 1, 1) for step in range(count)]
