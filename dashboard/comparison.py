"""Side by side: methods, machines, commits, sizes and targets, and ratios to a baseline."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from common.compare import UNIT, ratio
from common.plotting import interval_table
from common.results import COLUMNS

if TYPE_CHECKING:
    import pandas as pd

_ALWAYS = ("machine_label", "size", "target")
_ON_DEMAND = ("stamp", "digest", "started", "run_id")


def series_names(runs: pd.DataFrame) -> list[str]:
    """Name each run by what tells it apart from the others, and nothing more.

    Parameters
    ----------
    runs : DataFrame
        Columns ``machine_label, size, target, stamp, digest, started, run_id``, one row a run.
    """
    if len(runs) == 1:
        return list(runs["machine_label"])
    chosen = [column for column in _ALWAYS if runs[column].nunique() > 1]
    for column in _ON_DEMAND:
        if chosen and not runs.duplicated(chosen).any():
            break
        if runs[column].nunique() > 1:
            chosen.append(column)
    return [" · ".join(map(str, values)) for values in runs[chosen].itertuples(index=False)]


def parameter_columns(rows: pd.DataFrame) -> list[str]:
    """Columns that the experiment added to the record schema and that vary."""
    return [
        column
        for column in rows
        if column not in (*COLUMNS, "experiment", "series") and rows[column].nunique() > 1
    ]


def method_names(rows: pd.DataFrame, split: Iterable[str], column: str = "variant") -> pd.Series:
    """Variant, or what another column holds, with the chosen parameters behind it."""
    names = rows[column].map(_short)
    for parameter in split:
        names = names + f", {parameter}=" + rows[parameter].map(_short)
    return names


def _short(value: Any) -> str:
    """A whole number as one, though a column with gaps holds it as a fraction."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def means(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean with interval per method and series."""
    table = interval_table(rows, ("method", "series"), UNIT)
    order = table.groupby("method")["value"].mean().sort_values(ascending=False).index
    return table.sort_values(
        "method", key=lambda column: column.map(list(order).index), ignore_index=True, kind="stable"
    )


def ratios(rows: pd.DataFrame, baseline: tuple[str, str]) -> pd.DataFrame:
    """Ratio of each mean to the baseline's.

    Where the two share units, the bootstrap draws these units together; where they share none,
    the ratio of the two means stands without an interval.

    Parameters
    ----------
    rows : DataFrame
        Observations of one metric with ``method`` and ``series``.
    baseline : tuple of str
        Method and series of the denominator.

    Returns
    -------
    DataFrame
        Columns ``method, series, value, low, high, n``; ``n`` is the number of shared units.
    """
    import pandas as pd

    values = rows.dropna(subset=["value"]).groupby(["method", "series", *UNIT])["value"].mean()
    below = values.loc[baseline]
    table = []
    for (method, series), above in values.groupby(level=["method", "series"]):
        estimate = ratio(above.droplevel(["method", "series"]), below)
        numbers = (estimate.value, estimate.low, estimate.high, estimate.n)
        table.append((method, series, *numbers))
    frame = pd.DataFrame(table, columns=["method", "series", "value", "low", "high", "n"])
    return frame.astype({"value": float, "low": float, "high": float})
