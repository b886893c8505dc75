"""NVIDIA's management library, opened only when asked and closed again."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import ModuleType

from common.hardware.probe import HW_EXTRA, Probe, Unavailable

DRIVER = "a machine with an NVIDIA GPU and its driver (check with nvidia-smi)"


@contextmanager
def session() -> Iterator[ModuleType]:
    """Open NVML and give the ``pynvml`` module.

    Raises
    ------
    Unavailable
        If pynvml is not installed, or no driver answers.
    """
    if importlib.util.find_spec("pynvml") is None:
        raise Unavailable("the NVML bindings (nvidia-ml-py) are not installed")
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise Unavailable(f"NVML does not answer ({error})") from error
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


@lru_cache(maxsize=1)
def probe() -> Probe:
    """Whether NVML sees at least one GPU; asked once per process, drivers do not come and go."""
    try:
        with session() as nvml:
            count = nvml.nvmlDeviceGetCount()
    except Unavailable as error:
        missing_bindings = "not installed" in str(error)
        return Probe(False, str(error), HW_EXTRA if missing_bindings else DRIVER)
    if count == 0:
        return Probe(False, "NVML answers but lists no GPU", DRIVER)
    return Probe(True, f"NVML sees {count} GPU{'s' if count > 1 else ''}")


def gpus() -> list[dict[str, str | float]]:
    """Name, memory (GiB) and driver of every GPU; empty where NVML sees none."""
    if not probe():
        return []
    with session() as nvml:
        driver = _text(nvml.nvmlSystemGetDriverVersion())
        found = []
        for index in range(nvml.nvmlDeviceGetCount()):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            memory = round(nvml.nvmlDeviceGetMemoryInfo(handle).total / 2**30, 1)
            name = _text(nvml.nvmlDeviceGetName(handle))
            found.append({"name": name, "memory_gib": memory, "driver": driver})
    return found


def _text(value: str | bytes) -> str:
    # older bindings answer in bytes
    return value.decode() if isinstance(value, bytes) else value
