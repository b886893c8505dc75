"""An actuator that changes nothing, for replay."""

from __future__ import annotations

from typing import Any

from common.hardware.actuators.base import Actuator, Range
from common.hardware.probe import Probe


class SimulatedActuator(Actuator):
    """Takes setpoints like a real actuator, keeps them in ``setpoints``, changes nothing.

    Parameters
    ----------
    name : str
        What it stands for.
    range : Range
        Values that it accepts; as strict as the real one.
    initial : optional
        Setting before the first block; default: the upper bound, or the first choice.

    Attributes
    ----------
    setpoints : list
        Every value set, in order; going back at the end of a block is not one.
    """

    simulated = True

    def __init__(self, name: str, range: Range, initial: Any = None) -> None:
        self.name = name
        self._range = range
        if initial is None:
            initial = range.choices[0] if range.choices else range.high
        self._setting = initial
        self.setpoints: list[Any] = []

    def probe(self) -> Probe:
        """It works everywhere."""
        return Probe(True, "simulated: setpoints are recorded, nothing changes")

    @property
    def range(self) -> Range:
        """Values that it accepts."""
        return self._range

    def read(self) -> Any:
        """Setting that a real machine would have now."""
        return self._setting

    def _snapshot(self) -> Any:
        return self._setting

    def _apply(self, value: Any) -> None:
        self._setting = value
        self.setpoints.append(value)

    def _restore(self, before: Any) -> None:
        self._setting = before
