"""Writing a report: the two texts where the reader wants them, the crate beside the results."""

from __future__ import annotations

from pathlib import Path

from common.reports.content import gather
from common.reports.crate import CRATE, crate
from common.reports.render import as_html, as_markdown
from common.results import write_bytes, write_json

NAMES = ("report.html", "report.md")


def write_report(
    root: Path, size: str, target: str, slug: str, out: Path | None = None
) -> list[Path]:
    """Write one paper's report and the RO-Crate metadata of its results folder.

    Parameters
    ----------
    root : Path
        Root of the results tree.
    size, target, slug : str
        Which paper folder.
    out : Path, optional
        Folder that gets ``<slug>/report.html`` and ``<slug>/report.md``; by default they stand in
        the paper's results folder. The crate describes that folder, so it always stands there.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    ConfigError
        If there are no results.
    """
    report = gather(root, size, target, slug)
    folder = Path(out) / slug if out else report.folder
    html, markdown = (folder / name for name in NAMES)
    write_bytes(html, as_html(report).encode())
    write_bytes(markdown, as_markdown(report, folder).encode())
    metadata = report.folder / CRATE
    write_json(metadata, crate(report))
    return [html, markdown, metadata]
