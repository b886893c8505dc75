"""One reproducibility report per paper, from its results tree: HTML, Markdown and RO-Crate."""

from __future__ import annotations

from common.reports.content import Report, gather
from common.reports.write import write_report

__all__ = ["Report", "gather", "write_report"]
