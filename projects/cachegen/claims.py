"""Claims that compare sizes at equal quality: the level depends on what it does to the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from common.stats import Estimate, bootstrap

if TYPE_CHECKING:
    import pandas as pd

ALLOWED_RISE = 1.0
"""Percent of perplexity that counts as similar quality (brief section 9)."""


def size_at_quality(observations: pd.DataFrame) -> Estimate:
    """How many times smaller than 8 bits the paper's codec is at similar quality."""
    return _gain(observations, "cachegen")


def size_at_quality_auto(observations: pd.DataFrame) -> Estimate:
    """The same for the codec that chooses its predictors."""
    return _gain(observations, "auto")


def _gain(observations: pd.DataFrame, variant: str) -> Estimate:
    """Bits of 8-bit quantisation over those of the coarsest level of similar quality.

    Rows are ``bits`` of every variant and level with the perplexity rise [%] in column ``rise``.
    The level is chosen anew in every resample of contexts; where none is good enough, there is no
    value.
    """
    rows = observations[observations["dataset"] == "python-sources"]
    plain = rows[rows["variant"] == "uniform8"].set_index("item")["value"]
    ours = rows[rows["variant"] == variant]
    bits = ours.pivot_table(index="item", columns="level", values="value").loc[plain.index]
    rise = ours.pivot_table(index="item", columns="level", values="rise").loc[plain.index]
    levels = bits.shape[1]
    table = np.column_stack([plain, bits[bits.columns], rise[bits.columns]])

    def gain(stack: np.ndarray) -> np.ndarray:
        mean = stack.mean(axis=-2)
        size, lost = mean[..., 1 : 1 + levels], mean[..., 1 + levels :]
        smallest = np.where(lost <= ALLOWED_RISE, size, np.inf).min(axis=-1)
        return np.where(np.isfinite(smallest), mean[..., 0] / smallest, np.nan)

    return bootstrap(table, gain)
