"""The host's own processor."""

from __future__ import annotations

from common.hardware.machine import cpu_model, usable_cores
from common.hardware.probe import Probe


def probe() -> Probe:
    """Always there; says with how many cores."""
    return Probe(True, f"{cpu_model()}, {usable_cores():g} usable cores")
