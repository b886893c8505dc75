"""A paper's figures: drawn from a results tree, labelled, and there even when a run is not."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from common.papers import Paper, load_paper
from common.plotting import (
    is_labelled,
    label_figure,
    message_figure,
    save,
    style,
    weakest,
)
from common.results import RECORD, Folder, paper_folder, paper_observations

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Drawing

log = logging.getLogger(__name__)
FIGURES = "figures"


def make_figures(root: Path, size: str, target: str, slug: str) -> list[Path]:
    """Draw all figures of a paper.

    Each function of the paper's ``figures.py`` gets the observations of its experiments. The
    chart is labelled with the weakest labels of those rows, unless the function has labelled it
    itself from the rows that it used. A figure without rows becomes an image that says why.

    Parameters
    ----------
    root : Path
        Root of the results tree.
    size, target, slug : str
        Which paper folder.

    Returns
    -------
    list of Path
        ``figures/<name>.png`` and ``.svg`` below the paper's results folder, in the order of
        ``paper.yaml``.
    """
    paper = load_paper(slug)
    observations = paper_observations(root, size, target, slug)
    goal = paper_folder(root, size, target, slug) / FIGURES
    written = []
    for name, declared in paper.figures.items():
        rows = observations[observations["experiment"].isin(declared.experiments)]
        missing = _missing(Path(root), size, target, slug, declared.experiments)
        written += save(_draw(paper, name, rows, missing), goal / name)
    return written


def _draw(paper: Paper, name: str, rows: pd.DataFrame, missing: dict[str, str]) -> Drawing:
    reasons = "\n".join(f"{experiment}: {why}" for experiment, why in missing.items())
    title = paper.figures[name].title
    if not len(rows):
        return message_figure(title, f"no data\n{reasons}")
    try:
        with style():
            fig = paper.function("figures", name)(rows)
            return fig if is_labelled(fig) else label_figure(fig, *weakest(rows))
    except Exception as error:
        # With all rows there it is the function that is wrong, and that must not pass.
        if not missing:
            raise
        log.warning("%s %s: not drawn, experiments are missing (%s)", paper.slug, name, error)
        return message_figure(title, f"not drawn: {type(error).__name__}: {error}\n{reasons}")


def _missing(
    root: Path, size: str, target: str, slug: str, experiments: tuple[str, ...]
) -> dict[str, str]:
    """Experiments without observations, each with the reason."""
    reasons = {}
    for experiment in experiments:
        folder = Folder(root, size, target, slug, experiment)
        if not (folder.path / RECORD).exists():
            reasons[experiment] = f"not run at size {size} on {target}"
            continue
        record = folder.record()
        if record.status != "done":
            reasons[experiment] = f"{record.status}: {record.reason}"
    return reasons
