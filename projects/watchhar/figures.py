"""The figures of the paper, each from observations alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.plotting import distribution_by_group, figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def example(observations: pd.DataFrame) -> Figure:
    fig, ax = figure()
    distribution_by_group(ax, observations, ylabel="score")
    return fig
