"""Sketched random features: kernel features mixed across all nodes, for any graph network.

>>> from projects.srf import AddSketchedFeatures
>>> AddSketchedFeatures(dim=16)
AddSketchedFeatures(dim=16, num_sketches=1, kernel='rbf', ...)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from projects.srf.inject import InjectFeatures
    from projects.srf.kernel_map import KernelMap
    from projects.srf.oversmoothing import dirichlet_energy
    from projects.srf.released import AddReleasedFeatures
    from projects.srf.transform import AddSketchedFeatures

__all__ = [
    "AddReleasedFeatures",
    "AddSketchedFeatures",
    "InjectFeatures",
    "KernelMap",
    "dirichlet_energy",
]

_HOMES = {
    "AddReleasedFeatures": "projects.srf.released",
    "AddSketchedFeatures": "projects.srf.transform",
    "InjectFeatures": "projects.srf.inject",
    "KernelMap": "projects.srf.kernel_map",
    "dirichlet_energy": "projects.srf.oversmoothing",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'projects.srf' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
