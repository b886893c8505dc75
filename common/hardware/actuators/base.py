"""What every actuator is: it explains itself, checks its values and undoes what it did."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple

from common.errors import ConfigError, did_you_mean
from common.hardware.actuators.undo import Undo
from common.hardware.probe import Probe, Unavailable


class Range(NamedTuple):
    """Values that an actuator accepts: an interval, or a list of choices.

    Attributes
    ----------
    low, high : float or None
        Bounds, both included; None where there is no bound.
    unit : str
        Unit of value and bounds.
    choices : tuple
        The only values allowed, where the setting is not a number.
    """

    low: float | None = None
    high: float | None = None
    unit: str = ""
    choices: tuple[Any, ...] = ()

    def check(self, name: str, value: Any) -> Any:
        """Return ``value`` if it is allowed, else raise :class:`ConfigError` with what is."""
        if self.choices:
            if value not in self.choices:
                raise ConfigError(f"{name}: {value!r}{did_you_mean(value, self.choices)}")
            return value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"{name}: {value!r} is not a number; allowed: {self}")
        low_enough = self.high is None or value <= self.high
        if not low_enough or not (self.low is None or value >= self.low):
            raise ConfigError(f"{name}: {value:g} {self.unit} is out of range; allowed: {self}")
        return value

    def __str__(self) -> str:
        if self.choices:
            return ", ".join(str(choice) for choice in self.choices)
        low = "-inf" if self.low is None else f"{self.low:g}"
        high = "inf" if self.high is None else f"{self.high:g}"
        return f"{low} to {high} {self.unit}".rstrip()


class Actuator(ABC):
    """One setting of the machine that a ``with`` block may change.

    >>> with actuator.set(value) as applied:  # doctest: +SKIP
    ...     work()

    ``applied`` is what the machine answers when asked afterwards; it may round. On the way out,
    by whatever way, the setting is what it was before. A process that ends without leaving the
    block still undoes it (at exit, and on SIGTERM); only a kill that cannot be caught leaves the
    change behind. Blocks may nest.

    Attributes
    ----------
    name : str
        What it is called in records and messages.
    simulated : bool
        True where nothing real changes.
    """

    name: ClassVar[str] | str
    simulated: bool = False
    _probed: bool = False

    @abstractmethod
    def probe(self) -> Probe:
        """Say whether this process may change the setting here, or why not."""

    @property
    @abstractmethod
    def range(self) -> Range:
        """Values that :meth:`set` accepts on this machine."""

    @abstractmethod
    def read(self) -> Any:
        """Return the setting as it is now, in the unit of ``range``."""

    @contextmanager
    def set(self, value: Any) -> Iterator[Any]:
        """Change the setting for the length of a ``with`` block.

        Raises
        ------
        Unavailable
            If this machine or the rights of this process do not allow it.
        ConfigError
            If the value is not within ``range``.
        """
        if not self._probed:
            self.probe().require(f"actuator {self.name!r}")
            self._probed = True
        wanted = self.check(value)
        before = self._snapshot()
        with Undo(self.name, lambda: self._restore(before)):
            try:
                self._apply(wanted)
            except OSError as error:
                raise Unavailable(
                    f"actuator {self.name!r}: the system refused {value!r} "
                    f"({error.strerror or error}); allowed: {self.range}"
                ) from error
            yield self.read()

    def check(self, value: Any) -> Any:
        """Return the value to apply, or raise :class:`ConfigError`."""
        return self.range.check(self.name, value)

    @abstractmethod
    def _snapshot(self) -> Any:
        """Return whatever ``_restore`` needs to put the setting back."""

    @abstractmethod
    def _apply(self, value: Any) -> None:
        """Change the setting; may fail halfway, ``_restore`` follows in any case."""

    @abstractmethod
    def _restore(self, before: Any) -> None:
        """Put the setting back; called once, but again if it failed."""
