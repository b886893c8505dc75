"""The answer every meter, actuator and target gives when asked whether it works here."""

from __future__ import annotations

from typing import NamedTuple

from common.errors import RepriseError

HW_EXTRA = "pip install -c envs/constraints.txt -e '.[hw]'"
"""The line that installs the energy libraries."""


class Unavailable(RepriseError):
    """A meter, actuator or target was asked for that this machine does not have."""


class Probe(NamedTuple):
    """Whether something works on this machine.

    True in a condition exactly when it is available.

    Attributes
    ----------
    available : bool
        Whether it works here, now, with the rights of this process.
    reason : str
        What it gives, or in plain words why it does not work.
    enable : str
        What would make it work; empty where there is nothing to do.
    """

    available: bool
    reason: str
    enable: str = ""

    def __bool__(self) -> bool:
        return self.available

    def require(self, what: str) -> None:
        """Raise :class:`Unavailable` naming ``what``, the reason and the remedy."""
        if not self.available:
            remedy = f"; to enable it: {self.enable}" if self.enable else ""
            raise Unavailable(f"{what} is not available here: {self.reason}{remedy}")
