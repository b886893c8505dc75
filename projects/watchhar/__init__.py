"""WatchHAR: activities from motion and 1 kHz sound, on the watch, in one graph.

The public names; everything that needs torch is imported on first use.
"""

from __future__ import annotations

from common.lazy import lazy

_HOME = {
    "EventDetector": "detector",
    "FrontEnd": "frontend",
    "WatchHARClassifier": "classifier",
    "WatchHARPipeline": "streaming",
    "Windows": "data",
    "evaluate": "evaluation",
    "leave_one_out": "data",
    "synth_samosa": "synthetic",
}
__all__ = [*_HOME]
__getattr__, __dir__ = lazy(__name__, _HOME)
