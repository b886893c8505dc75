"""A watch for papers that export a model: a real one through adb, else an honest emulation.

Export, costs and runners live here and not in a package of their own: a file, its operations and
the program that runs it are what every step of this target begins with. They need no watch.
"""

from __future__ import annotations

from common.lazy import lazy

_HOME = {
    "CHIPS": "chips",
    "Export": "export",
    "devices": "probing",
    "export_executorch": "executorch",
    "export_fp16_onnx": "half",
    "export_int8_onnx": "quantize",
    "export_onnx": "export",
    "export_together": "together",
    "layer_costs": "costs",
    "model_card": "card",
    "probe": "probing",
    "profile": "profiling",
    "profile_program": "profiling",
}
__all__ = [*_HOME]
__getattr__, __dir__ = lazy(__name__, _HOME)
