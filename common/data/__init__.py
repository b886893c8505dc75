"""Datasets: what they are, where they are on this machine, and their provenance.

>>> from common.data import load_entry
>>> load_entry("wfinstances-tasks").redistribution
'conditional'
"""

from __future__ import annotations

from common.lazy import lazy

_HOME = {
    "DataUnavailable": "dataset",
    "Dataset": "dataset",
    "list_datasets": "registry",
    "load_entry": "registry",
    "resolve": "fetch",
}
__all__ = list(_HOME)
__getattr__, __dir__ = lazy(__name__, _HOME)
