"""NURD: online straggler prediction from finished (negative) and running (unlabelled) tasks.

The public names; everything is imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "BoostedTrees": "boosting",
    "Job": "job",
    "NURDClassifier": "estimator",
    "NotEnoughData": "job",
    "Protocol": "protocol",
    "StragglerMonitor": "monitor",
    "kaplan_meier_quantile": "thresholds",
    "metrics": "evaluation",
    "run_method": "evaluation",
    "task_events": "spark_log",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
