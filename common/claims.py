"""From observations to verdicts: estimates of the six kinds of claim, and the rules above them."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import RepriseError, did_you_mean
from common.papers import Claim, Filter, load_claims, load_paper, load_target
from common.results import (
    DATA_LABELS,
    MEASUREMENT_LABELS,
    RECORD,
    VERDICTS,
    Folder,
    paper_folder,
    read_json,
    write_json,
)
from common.stats import Estimate, bootstrap, trend

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

log = logging.getLogger(__name__)
# From best to worst; "worse" in `reprise verify` means further to the right.
VERDICTS_BEST_FIRST = (
    "reproduced",
    "consistent",
    "weaker",
    "not reproduced",
    "untested",
    "error",
)
HARDWARE_QUANTITIES = ("time", "energy", "memory")


class ClaimError(RepriseError):
    """The observations do not hold what a claim names."""


class Untested(RepriseError):
    """A claim cannot be judged here; the message is the reason."""


@dataclass(frozen=True)
class Verdict:
    """One judged claim, as it stands in ``verdicts.json``."""

    paper: str
    claim: str
    title: str
    kind: str
    size: str
    target: str
    verdict: str
    estimate: float | None
    low: float | None
    high: float | None
    n: int
    unit: str
    paper_value: float | tuple[float, float] | None
    paper_unit: str
    accept_low: float | None
    accept_high: float | None
    data: str
    measurement: str
    reason: str
    experiment: str
    statement: str
    source: str


def judge_paper(root: Path, size: str, target: str, slug: str) -> list[Verdict]:
    """Judge all claims of a paper against a results tree and write ``verdicts.json``."""
    paper = load_paper(slug)
    verdicts = []
    for claim in load_claims(slug):
        folder = Folder(Path(root), size, target, slug, claim.experiment)
        declared = paper.experiment(claim.experiment)
        verdicts.append(judge_folder(claim, folder, size in declared.sizes, declared.targets))
    path = paper_folder(root, size, target, slug) / VERDICTS
    write_json(path, [asdict(verdict) for verdict in verdicts])
    return verdicts


def read_verdicts(path: Path) -> list[Verdict]:
    """Read a ``verdicts.json``."""
    return [Verdict(**entry) for entry in read_json(path)]


def judge_folder(
    claim: Claim, folder: Folder, at_size: bool = True, targets: tuple[str, ...] = ("cpu",)
) -> Verdict:
    """Judge one claim on one experiment's folder; nothing that goes wrong here is a zero."""
    try:
        _check_scope(claim, folder, at_size, targets)
        record = folder.record()
        if record.status == "skipped":
            raise Untested(record.reason)
        if record.status == "failed":
            raise ClaimError(f"the experiment failed: {record.reason}")
        return judge(claim, folder.observations(), folder)
    except Untested as error:
        return _verdict(claim, folder, "untested", str(error))
    except Exception as error:
        log.debug("claim %s", claim.id, exc_info=True)
        return _verdict(claim, folder, "error", f"{type(error).__name__}: {error}")


def judge(claim: Claim, observations: pd.DataFrame, folder: Folder) -> Verdict:
    """Judge one claim on observations.

    Raises
    ------
    ClaimError
        If the observations lack the metric, a column or a variant that the claim names.
    Untested
        If no observation is left inside the claim's scope.
    """
    rows = _best_labelled(claim, select(observations, claim))
    data = max(rows["data"].unique(), key=DATA_LABELS.index)
    measurement = max(rows["measurement"].unique(), key=MEASUREMENT_LABELS.index)
    estimator = load_target(claim.function) if claim.function else partial(estimate_claim, claim)
    estimate = estimator(rows)
    unit = claim.unit or claim.paper.unit or _only(rows["unit"])
    estimate = estimate.scaled(claim.scale, unit)
    if claim.deterministic and estimate.low is None:
        estimate = replace(estimate, low=estimate.value, high=estimate.value, note="")
    verdict, reason = decide(claim, estimate, data, measurement)
    return _verdict(claim, folder, verdict, reason, estimate, data, measurement)


def decide(claim: Claim, estimate: Estimate, data: str, measurement: str) -> tuple[str, str]:
    """Apply the verdict rules and the caps of the two labels; return verdict and reason."""
    reasons = [estimate.note] if estimate.note else []
    if estimate.value != estimate.value:
        return "untested", "; ".join([*reasons, "the estimate has no value"])
    low = estimate.value if estimate.low is None else estimate.low
    high = estimate.value if estimate.high is None else estimate.high
    floor = -float("inf") if claim.accept.low is None else claim.accept.low
    ceiling = float("inf") if claim.accept.high is None else claim.accept.high
    if floor <= low and high <= ceiling:
        verdict = "reproduced"
    elif low <= ceiling and high >= floor:
        verdict = "consistent"
    elif _right_direction(claim, low, high):
        verdict = "weaker"
    else:
        verdict = "not reproduced"
    for cap in _caps(claim, estimate, data, measurement):
        if verdict == "reproduced":
            verdict = "consistent"
            reasons.append(f"capped: {cap}")
    return verdict, "; ".join(reasons)


def _caps(claim: Claim, estimate: Estimate, data: str, measurement: str) -> list[str]:
    caps = []
    if claim.quantity == "quality" and data == "synthetic":
        caps.append("synthetic data alone")
    if (
        claim.quantity in HARDWARE_QUANTITIES
        and measurement != "measured"
        and measurement != claim.paper.measurement
    ):
        caps.append(f"{measurement} {claim.quantity}")
    if estimate.low is None:
        caps.append("no interval")
    return caps


def _right_direction(claim: Claim, low: float, high: float) -> bool:
    """Whether the interval lies wholly between "no effect" and the accepted range."""
    neutral = claim.no_effect
    if neutral is None:
        neutral = {"difference": 0.0, "ordering": 0.0, "trend": 0.0, "ratio": 1.0}.get(claim.kind)
    if neutral is None:
        return False
    if claim.accept.low is not None and neutral < claim.accept.low:
        return neutral < low and high < claim.accept.low
    if claim.accept.high is not None and neutral > claim.accept.high:
        return claim.accept.high < low and high < neutral
    return False


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
    """Boolean mask of the rows that fulfil a filter; a list means "one of"."""
    import pandas as pd

    mask = pd.Series(True, index=rows.index)
    for column, wanted in condition.items():
        if column not in rows:
            raise ClaimError(
                f"claim {claim_id!r} filters on column {column!r}{did_you_mean(column, rows)}"
            )
        wanted = wanted if isinstance(wanted, list | tuple) else [wanted]
        mask &= rows[column].isin(wanted)
    return mask


def _best_labelled(claim: Claim, rows: pd.DataFrame) -> pd.DataFrame:
    """Keep the rows in scope, and of them those with the best data label there is."""
    present = [label for label in DATA_LABELS if (rows["data"] == label).any()]
    allowed = [label for label in present if label in claim.scope.data]
    if not allowed:
        raise Untested(
            f"out of scope: data is {', '.join(present)}, "
            f"the claim is about {', '.join(claim.scope.data)}"
        )
    kept = allowed[:1] if claim.data == "best" else allowed
    return rows[rows["data"].isin(kept)]


def _check_scope(claim: Claim, folder: Folder, at_size: bool, targets: tuple[str, ...]) -> None:
    if folder.size not in claim.scope.sizes or not at_size:
        raise Untested(f"out of scope: not judged at size {folder.size!r}")
    if folder.target not in claim.scope.targets or folder.target not in targets:
        raise Untested(f"out of scope: not judged on target {folder.target!r}")
    if not (folder.path / RECORD).exists():
        raise Untested(f"not run: {folder.experiment!r} has no result at {folder.size}")


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

    estimate = bootstrap(table, statistic)
    if dropped:
        note = f"{dropped} of {dropped + len(table)} units lack a side and are left out"
        estimate = replace(estimate, note="; ".join(filter(None, [estimate.note, note])))
    return estimate


def side_table(claim: Claim, rows: pd.DataFrame, sides: list[Filter]) -> tuple[np.ndarray, int]:
    """Table of shape (units, sides) of values averaged over seeds, and how many units it lost."""
    import pandas as pd

    columns = []
    for side in sides:
        chosen = rows[matches(rows, side, claim.id)]
        if not len(chosen):
            raise ClaimError(f"claim {claim.id!r}: no observation of {claim.metric!r} has {side}")
        columns.append(chosen.groupby(_unit_columns(claim))["value"].mean())
    table = pd.concat(columns, axis=1)
    complete = table.dropna()
    if not len(complete):
        raise ClaimError(f"claim {claim.id!r}: no unit has all of {sides}")
    return complete.to_numpy(), len(table) - len(complete)


def _unit_columns(claim: Claim) -> list[str]:
    # Items of two datasets may share a name; they are still two units.
    return ["dataset", "item"] if claim.unit_of_analysis == "item" else [claim.unit_of_analysis]


def _sides(claim: Claim, rows: pd.DataFrame) -> list[Filter]:
    if claim.kind == "ordering":
        return list(claim.order)
    if claim.kind in ("value", "bound"):
        return [claim.of]
    if not claim.each:
        return [claim.of, *(claim.over if isinstance(claim.over, tuple) else (claim.over,))]
    names = sorted(rows[matches(rows, claim.over, claim.id)][claim.each].unique())
    if not names:
        raise ClaimError(f"claim {claim.id!r}: no observation of {claim.metric!r} has {claim.over}")
    return [claim.of, *({**claim.over, claim.each: name} for name in names)]


def _aggregate(name: str) -> Any:
    import numpy as np

    function = {"mean": np.mean, "median": np.median, "min": np.min, "max": np.max}[name]
    return lambda stack: function(stack, axis=-2)


def _trend(claim: Claim, rows: pd.DataFrame) -> Estimate:
    rows = rows[matches(rows, claim.of, claim.id)]
    if claim.trend_in not in rows:
        raise ClaimError(
            f"claim {claim.id!r}: no parameter column {claim.trend_in!r}"
            f"{did_you_mean(claim.trend_in, rows)}"
        )
    table = rows.pivot_table(
        index=_unit_columns(claim), columns=claim.trend_in, values="value", aggfunc="mean"
    ).dropna()
    if table.shape[1] < 3 or not len(table):
        raise Untested(f"a trend in {claim.trend_in!r} needs three values, got {table.shape[1]}")
    strengths = trend(table.columns.to_numpy(), table.to_numpy(), claim.statistic)
    return bootstrap(strengths[:, None], lambda stack: stack.mean(axis=(-2, -1)))


def _only(units: pd.Series) -> str:
    unique = units.unique()
    return str(unique[0]) if len(unique) == 1 else ""


def _verdict(
    claim: Claim,
    folder: Folder,
    verdict: str,
    reason: str,
    estimate: Estimate | None = None,
    data: str = "",
    measurement: str = "",
) -> Verdict:
    def number(value: float | None) -> float | None:
        return None if value is None or value != value else float(value)

    return Verdict(
        paper=folder.paper,
        claim=claim.id,
        title=claim.title,
        kind=claim.kind,
        size=folder.size,
        target=folder.target,
        verdict=verdict,
        estimate=number(estimate.value) if estimate else None,
        low=number(estimate.low) if estimate else None,
        high=number(estimate.high) if estimate else None,
        n=estimate.n if estimate else 0,
        unit=estimate.unit if estimate else (claim.unit or claim.paper.unit),
        paper_value=claim.paper.value,
        paper_unit=claim.paper.unit,
        accept_low=claim.accept.low,
        accept_high=claim.accept.high,
        data=data,
        measurement=measurement,
        reason=reason,
        experiment=claim.experiment,
        statement=claim.statement,
        source=claim.source,
    )
