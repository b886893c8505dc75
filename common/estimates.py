"""From observations to estimates: the rows and the six kinds of a claim."""

from __future__ import annotations

import operator
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING, Any

from common.errors import RepriseError, did_you_mean
from common.papers import Claim, Filter
from common.stats import Estimate, bootstrap, trend

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


class ClaimError(RepriseError):
    """The observations do not hold what a claim names."""


class Untested(RepriseError):
    """A claim cannot be judged here; the message is the reason."""


# -- selecting rows ------------------------------------------------------------------------


def select(observations: pd.DataFrame, claim: Claim) -> pd.DataFrame:
    """Rows of the claim's metric that pass its filter and carry a value."""
    metrics = observations["metric"].unique()
    if claim.metric not in metrics:
        raise ClaimError(
            f"claim {claim.id!r} names metric {claim.metric!r}, which {claim.experiment!r} did not "
            f"observe{did_you_mean(claim.metric, metrics)}"
        )
    rows = observations[observations["metric"] == claim.metric]
    rows = rows[matches(rows, claim.where, claim.id) & rows["value"].notna()]
    if not len(rows):
        raise Untested(f"no observation of {claim.metric!r} passes {claim.where}")
    return rows


def matches(rows: pd.DataFrame, condition: Filter, claim_id: str = "") -> pd.Series:
    """Boolean mask of the rows that fulfil a filter; a list means "one of", null "no value"."""
    import pandas as pd

    mask = pd.Series(True, index=rows.index)
    for column, wanted in condition.items():
        _require_column(rows, column, claim_id)
        wanted = wanted if isinstance(wanted, list | tuple) else [wanted]
        found = rows[column].isin([value for value in wanted if value is not None])
        mask &= found | rows[column].isna() if None in wanted else found
    return mask


def side_rows(claim: Claim, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows that take part in the estimate: a label of any other row says nothing about it."""
    if claim.function:
        return rows
    if claim.kind == "trend":
        _require_column(rows, claim.trend_in, claim.id)
        sides, mask = [claim.of], matches(rows, claim.of, claim.id) & rows[claim.trend_in].notna()
    else:
        sides = _sides(claim, rows)
        mask = reduce(operator.or_, [matches(rows, side, claim.id) for side in sides])
    if not mask.any():
        raise ClaimError(f"claim {claim.id!r}: no observation of {claim.metric!r} has {sides}")
    return rows[mask]


def _require_column(rows: pd.DataFrame, column: str, claim_id: str) -> None:
    if column not in rows:
        raise ClaimError(
            f"claim {claim_id!r} names column {column!r}, which the experiment did not observe"
            f"{did_you_mean(column, rows)}"
        )


# -- the six kinds -------------------------------------------------------------------------


def estimate_claim(claim: Claim, rows: pd.DataFrame) -> Estimate:
    """Estimate a claim of one of the six declared kinds, before scaling.

    The sides of a claim are columns of a table with one row per natural unit; units that lack
    one of the sides are left out and counted in the note.
    """
    if claim.kind == "trend":
        return _trend(claim, rows)
    sides = _sides(claim, rows)
    table, dropped = side_table(claim, rows, sides)
    aggregate = _aggregate(claim.aggregate)
    sign = 1.0 if claim.better == "higher" else -1.0

    def statistic(stack: np.ndarray) -> np.ndarray:
        import numpy as np

        means = aggregate(stack)
        if claim.kind in ("value", "bound"):
            return means[..., 0]
        if claim.kind == "ordering":
            return (-sign * np.diff(means, axis=-1)).min(axis=-1)
        rivals = sign * (sign * means[..., 1:]).max(axis=-1)
        if claim.kind == "ratio":
            return means[..., 0] / rivals
        return sign * (means[..., 0] - rivals)

    return _with_dropped(bootstrap(table, statistic), len(table), dropped, "a side")


def _with_dropped(estimate: Estimate, kept: int, dropped: int, lacking: str) -> Estimate:
    if not dropped:
        return estimate
    note = f"{dropped} of {dropped + kept} units lack {lacking} and are left out"
    return replace(estimate, note="; ".join(filter(None, [estimate.note, note])))


def side_table(claim: Claim, rows: pd.DataFrame, sides: list[Filter]) -> tuple[np.ndarray, int]:
    """Table of shape (units, sides) of values averaged over seeds, and how many units it lost."""
    import pandas as pd

    columns = []
    for side in sides:
        chosen = rows[matches(rows, side, claim.id)]
        if not len(chosen):
            raise ClaimError(f"claim {claim.id!r}: no observation of {claim.metric!r} has {side}")
        columns.append(chosen.groupby(_unit_columns(claim, rows))["value"].mean())
    table = pd.concat(columns, axis=1)
    complete = table.dropna()
    if not len(complete):
        raise ClaimError(f"claim {claim.id!r}: no unit has all of {sides}")
    return complete.to_numpy(), len(table) - len(complete)


def _unit_columns(claim: Claim, rows: pd.DataFrame) -> list[str]:
    _require_column(rows, claim.unit_of_analysis, claim.id)
    # Items of two datasets may share a name; they are still two units.
    return ["dataset", "item"] if claim.unit_of_analysis == "item" else [claim.unit_of_analysis]


def _sides(claim: Claim, rows: pd.DataFrame) -> list[Filter]:
    if claim.kind == "ordering":
        return list(claim.order)
    if claim.kind in ("value", "bound"):
        return [claim.of]
    if not claim.each:
        return [claim.of, *(claim.over if isinstance(claim.over, tuple) else (claim.over,))]
    _require_column(rows, claim.each, claim.id)
    names = sorted(rows[matches(rows, claim.over, claim.id)][claim.each].unique())
    if not names:
        raise ClaimError(f"claim {claim.id!r}: no observation of {claim.metric!r} has {claim.over}")
    return [claim.of, *({**claim.over, claim.each: name} for name in names)]


def _aggregate(name: str) -> Any:
    import numpy as np

    function = {"mean": np.mean, "median": np.median, "min": np.min, "max": np.max}[name]
    return lambda stack: function(stack, axis=-2)


def _trend(claim: Claim, rows: pd.DataFrame) -> Estimate:
    table = side_rows(claim, rows).pivot_table(
        index=_unit_columns(claim, rows), columns=claim.trend_in, values="value", aggfunc="mean"
    )
    if table.shape[1] < 3:
        raise Untested(f"a trend in {claim.trend_in!r} needs three values, got {table.shape[1]}")
    complete = table.dropna()
    if not len(complete):
        raise ClaimError(f"claim {claim.id!r}: no unit has a value at every {claim.trend_in!r}")
    strengths = trend(complete.columns.to_numpy(), complete.to_numpy(), claim.statistic)
    aggregate = _aggregate(claim.aggregate)
    estimate = bootstrap(strengths[:, None], lambda stack: aggregate(stack)[..., 0])
    lost = len(table) - len(complete)
    return _with_dropped(estimate, len(complete), lost, f"a value of {claim.trend_in!r}")
