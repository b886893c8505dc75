"""Datasets: what they are, where they are on this machine, and their provenance.

>>> from common.data import load_entry
>>> load_entry("wfinstances-tasks").redistribution
'conditional'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from common.data.dataset import Dataset, DataUnavailable
    from common.data.fetch import resolve
    from common.data.registry import list_datasets, load_entry

__all__ = ["DataUnavailable", "Dataset", "list_datasets", "load_entry", "resolve"]

_HOMES = {
    "DataUnavailable": "common.data.dataset",
    "Dataset": "common.data.dataset",
    "list_datasets": "common.data.registry",
    "load_entry": "common.data.registry",
    "resolve": "common.data.fetch",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'common.data' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
