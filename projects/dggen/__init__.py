"""DG-Gen: a generative model of streams of timestamped, attributed edges.

The public names; everything is imported on first use.
"""

from __future__ import annotations

from common.lazy import lazy

_HOME = {
    "DGGen": "model",
    "DGGenConfig": "config",
    "NotFittedError": "config",
    "copy_report": "copying",
}
__all__ = list(_HOME)
__getattr__, __dir__ = lazy(__name__, _HOME)
