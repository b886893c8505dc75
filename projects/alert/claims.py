"""Claims that the declared kinds cannot express."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.stats import Estimate, bootstrap

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def harmonic_mean(rows: pd.DataFrame) -> Estimate:
    """Harmonic mean over constraint settings, as the paper's tables have it."""

    def statistic(stack: np.ndarray) -> np.ndarray:
        return 1 / (1 / stack[..., 0]).mean(axis=-1)

    values = rows.groupby(["dataset", "item"])["value"].mean()
    return bootstrap(values.to_numpy()[:, None], statistic)
