"""Tracking: results stay files, MLflow shows them; the only code that writes to MLflow.

>>> from pathlib import Path
>>> report = sync(Path("results"))  # doctest: +SKIP
>>> report.added, report.unchanged, report.updated  # doctest: +SKIP
(3, 0, 0)
"""

from __future__ import annotations

from common.tracking.connection import TrackingError, connect, tracking_uri
from common.tracking.upload import SyncReport, sync

__all__ = ["SyncReport", "TrackingError", "connect", "sync", "tracking_uri"]
