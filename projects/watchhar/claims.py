"""Claims that the declared kinds cannot express."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.stats import Estimate

if TYPE_CHECKING:
    import pandas as pd


def modelled_range(rows: pd.DataFrame) -> Estimate:
    """A modelled number with the range that the model's coefficients leave it.

    The range is no confidence interval: there is one number, and nothing was repeated.
    """
    (row,) = rows.to_dict("records")
    note = "range of the model's coefficients"
    return Estimate(row["value"], row["low"], row["high"], n=1, unit=row["unit"], note=note)
