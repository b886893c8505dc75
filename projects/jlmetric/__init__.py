"""JL-Metric: one number for how close a generated stream of edges is to a reference.

The public names; everything that needs more than numpy is imported on first use.
"""

from __future__ import annotations

from common.lazy import lazy

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
__getattr__, __dir__ = lazy(__name__, _HOME)
