"""OSGD and nested networks: answers that come early and improve.

The public names; each is imported with what it needs (torch, ONNX) on first use.
"""

from __future__ import annotations

from common.lazy import lazy

_HOME = {
    "AnytimeModule": "anytime",
    "OSGD": "optimizer",
    "OnnxStages": "runtime",
    "Recipe": "training",
    "WidthNestedCNN": "width",
    "WidthNestedMLP": "width",
    "candidates": "pretrained",
    "fixed_stages": "wearable",
    "load_images": "data",
    "orthogonalize": "projection",
}
__all__ = [*_HOME]
__getattr__, __dir__ = lazy(__name__, _HOME)
