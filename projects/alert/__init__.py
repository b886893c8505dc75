"""ALERT: choose network and power setting before every input, so that all goals hold.

The public names, imported on first use.
"""

from __future__ import annotations

from common.lazy import lazy

_HOME = {
    "AlertController": "controller",
    "Decision": "controller",
    "Goals": "goals",
    "KalmanConfig": "filters",
    "ProfileTable": "profile",
    "wrap": "sessions",
}
__all__ = [*_HOME]
__getattr__, __dir__ = lazy(__name__, _HOME)
