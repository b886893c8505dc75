"""JL-Metric: one number for how close a generated stream of edges is to a reference.

The public names; everything that needs more than numpy is imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

# Not lazily: the module of the same name would take the function's place in this package.
from projects.jlmetric.fingerprint import fingerprint

_HOME = {
    "Calibration": "calibration",
    "FingerprintStream": "monitor",
    "JLEvaluator": "metric",
    "JLMetric": "metric",
    "Limits": "histories",
    "calibrate": "calibration",
    "compare": "scores",
    "limit_cosine": "scores",
}
__all__ = ["fingerprint", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
