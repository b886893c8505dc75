"""Where an experiment can run: the host's CPU, a GPU, a wearable or its emulation."""

from __future__ import annotations

from collections.abc import Callable

from common.errors import ConfigError, did_you_mean
from common.hardware.probe import Probe
from common.hardware.targets import cpu, gpu, wearable

TARGETS: dict[str, Callable[[], Probe]] = {
    "cpu": cpu.probe,
    "gpu": gpu.probe,
    "wearable": wearable.probe,
}


def probe_target(name: str) -> Probe:
    """Whether experiments for this target can run here, or why not.

    Raises
    ------
    ConfigError
        If there is no such target; names the closest.

    Examples
    --------
    >>> probe_target("cpu").available
    True
    """
    if name not in TARGETS:
        raise ConfigError(f"unknown target {name!r}{did_you_mean(name, TARGETS)}")
    return TARGETS[name]()
