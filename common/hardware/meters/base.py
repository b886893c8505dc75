"""What every meter is: named, typed, able to explain itself, safe to nest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal, NamedTuple

from common.hardware.probe import Probe

Quantity = Literal["wall_time", "cpu_time", "peak_memory", "energy"]
Measurement = Literal["measured", "emulated", "simulated", "modelled"]

UNITS: dict[Quantity, str] = {
    "wall_time": "s",
    "cpu_time": "s",
    "peak_memory": "MiB",
    "energy": "J",
}


class Reading(NamedTuple):
    """One measured number and where it comes from.

    Attributes
    ----------
    quantity : str
        ``wall_time``, ``cpu_time``, ``peak_memory`` or ``energy``.
    value : float
        In ``unit``.
    unit : str
        s, s, MiB and J in that order.
    meter : str
        Name of the meter, precise enough to judge the number by.
    measurement : str
        ``measured``, ``emulated``, ``simulated`` or ``modelled``.
    """

    quantity: Quantity
    value: float
    unit: str
    meter: str
    measurement: Measurement


class Meter(ABC):
    """One way to measure one quantity over a region.

    ``start`` and ``stop`` nest like brackets, so one meter may serve regions within regions.
    A meter belongs to one thread; other threads make their own.

    Attributes
    ----------
    kind : str
        The word that asks for this meter, as in ``MeterSet(["wall_clock"])``.
    name : str
        The name that its readings carry; says more than ``kind`` where the machine decides
        how the meter works.
    quantity : str
        What it measures.
    measurement : str
        How its values come about.
    """

    kind: ClassVar[str]
    quantity: ClassVar[Quantity]
    measurement: Measurement = "measured"

    def __init__(self) -> None:
        self.name = self.kind
        self._open: list[Any] = []

    @property
    def unit(self) -> str:
        """Unit of every value of this meter."""
        return UNITS[self.quantity]

    @abstractmethod
    def probe(self) -> Probe:
        """Say whether this meter works on this machine, or why not."""

    def start(self) -> None:
        """Open a region."""
        self._open.append(self._begin())

    def stop(self) -> float:
        """Close the region opened last and return its value in ``unit``.

        Raises
        ------
        RuntimeError
            If no region is open.
        """
        if not self._open:
            raise RuntimeError(f"meter {self.name!r} was stopped without being started")
        return self._end(self._open.pop())

    def reading(self, value: float) -> Reading:
        """Put this meter's name and label on a value."""
        return Reading(self.quantity, value, self.unit, self.name, self.measurement)

    @abstractmethod
    def _begin(self) -> Any:
        """Return whatever ``_end`` needs to know about the beginning of the region."""

    @abstractmethod
    def _end(self, begun: Any) -> float:
        """Return the value of the region whose beginning was ``begun``."""
