"""Sketched random features: kernel features mixed across all nodes, for any graph network.

>>> from projects.srf import AddSketchedFeatures
>>> AddSketchedFeatures(dim=16)
AddSketchedFeatures(dim=16, num_sketches=1, kernel='rbf', ...)
"""

from __future__ import annotations

import common.graphs  # noqa: F401  PyTorch Geometric without its datasets
from common.lazy import lazy

_HOME = {
    "AddReleasedFeatures": "released",
    "AddSketchedFeatures": "transform",
    "InjectFeatures": "inject",
    "KernelMap": "kernel_map",
    "dirichlet_energy": "oversmoothing",
}
__all__ = list(_HOME)
__getattr__, __dir__ = lazy(__name__, _HOME)
