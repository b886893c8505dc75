"""From observations to verdicts: the rules, and the caps of the labels."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import DataError, MissingExtra
from common.estimates import ClaimError, Untested, estimate_claim, select, side_rows
from common.papers import Claim, load_claims, load_paper, load_target
from common.results import (
    DATA_LABELS,
    MEASUREMENT_LABELS,
    RECORD,
    VERDICTS,
    Folder,
    RunRecord,
    paper_folder,
    read_json,
    write_json,
)
from common.stats import ONE_UNIT, Estimate

if TYPE_CHECKING:
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
    path = paper_folder(root, size, target, slug) / VERDICTS
    verdicts = judge_claims(root, size, target, slug)
    write_json(path, [asdict(verdict) for verdict in verdicts])
    return verdicts


def judge_claims(
    root: Path, size: str, target: str, slug: str, projects: Path | None = None
) -> list[Verdict]:
    """Judge all claims of a paper against a results tree, in memory.

    ``projects`` is where the papers are, by default those of this distribution.
    """
    paper = load_paper(slug, projects)
    verdicts, read = [], cache(Folder.observations)
    for claim in load_claims(slug, projects):
        folder = Folder(Path(root), size, target, slug, claim.experiment)
        declared = paper.experiment(claim.experiment)
        scope = {"at_size": size in declared.sizes, "targets": declared.targets}
        verdicts.append(judge_folder(claim, folder, **scope, read=read))
    return verdicts


def read_verdicts(path: Path) -> list[Verdict]:
    """Read a ``verdicts.json``; keys that a newer version has added are left out.

    Raises
    ------
    DataError
        If the file is missing or does not hold verdicts.
    """
    names = {field.name for field in fields(Verdict)}
    try:
        entries = [{k: v for k, v in entry.items() if k in names} for entry in read_json(path)]
        verdicts = [Verdict(**entry) for entry in entries]
    except (AttributeError, TypeError) as error:
        raise DataError(
            f"{path}: not this version's verdicts ({error}); run `reprise verdicts` again"
        ) from error
    # JSON knows no tuples.
    return [
        replace(v, paper_value=tuple(v.paper_value)) if isinstance(v.paper_value, list) else v
        for v in verdicts
    ]


def judge_folder(
    claim: Claim,
    folder: Folder,
    *,
    at_size: bool = True,
    targets: tuple[str, ...] = ("cpu",),
    read: Callable[[Folder], pd.DataFrame] = Folder.observations,
) -> Verdict:
    """Judge one claim on one experiment's folder; nothing that goes wrong here is a zero."""
    try:
        _check_scope(claim, folder, at_size, targets)
        record = folder.record()
        if record.status == "skipped":
            raise Untested(record.reason)
        if record.status == "failed":
            raise ClaimError(f"the experiment failed: {record.reason}")
        observations = read(folder)
        left_out = _left_out(claim, record, observations)
        verdict = judge(claim, observations, folder)
        if claim.each == "variant" and left_out:
            note = f"without {', '.join(left_out)}, which the run skipped"
            verdict = replace(verdict, reason="; ".join(filter(None, [verdict.reason, note])))
        return verdict
    except (Untested, MissingExtra) as error:
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
    rows = _best_labelled(claim, side_rows(claim, select(observations, claim)))
    data = max(rows["data"].unique(), key=DATA_LABELS.index)
    measurement = max(rows["measurement"].unique(), key=MEASUREMENT_LABELS.index)
    estimator = load_target(claim.function) if claim.function else partial(estimate_claim, claim)
    estimate = estimator(rows)
    unit = claim.unit or estimate.unit or claim.paper.unit
    if not unit and claim.kind not in ("ratio", "trend"):
        unit = _only(rows["unit"])
    estimate = estimate.scaled(claim.scale, unit)
    if claim.deterministic and estimate.low is None:
        notes = [note for note in estimate.note.split("; ") if note != ONE_UNIT]
        exact = {"low": estimate.value, "high": estimate.value}
        estimate = replace(estimate, **exact, note="; ".join(notes))
    verdict, reason = decide(claim, estimate, data, measurement)
    return _verdict(claim, folder, verdict, reason, estimate, data, measurement)


def decide(claim: Claim, estimate: Estimate, data: str, measurement: str) -> tuple[str, str]:
    """Apply the verdict rules and the caps of the two labels; return verdict and reason.

    An end of the accepted range that equals "no effect" is open: an interval that touches it has
    not shown the direction that the claim is about.
    """
    reasons = [estimate.note] if estimate.note else []
    if math.isnan(estimate.value):
        return "untested", "; ".join([*reasons, "the estimate has no value"])
    if math.isinf(estimate.value):
        return "error", "; ".join([*reasons, "the estimate is infinite"])
    low = estimate.value if estimate.low is None else estimate.low
    high = estimate.value if estimate.high is None else estimate.high
    floor = -float("inf") if claim.accept.low is None else claim.accept.low
    ceiling = float("inf") if claim.accept.high is None else claim.accept.high
    neutral = _no_effect(claim)

    def above(end: float) -> bool:
        return end >= floor and not end == floor == neutral

    def below(end: float) -> bool:
        return end <= ceiling and not end == ceiling == neutral

    if above(low) and below(high):
        verdict = "reproduced"
    elif above(high) and below(low):
        verdict = "consistent"
    elif _right_direction(claim, low, high):
        verdict = "weaker"
    else:
        verdict = "not reproduced"
    caps = _caps(claim, estimate, data, measurement)
    if caps and verdict == "reproduced":
        verdict = "consistent"
        reasons.append(f"capped: {', '.join(caps)}")
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
    if estimate.low is None or estimate.high is None:
        caps.append("no interval")
    return caps


def _no_effect(claim: Claim) -> float | None:
    """The estimate that would mean "no effect"; None for kinds that have no such point."""
    if claim.no_effect is not None:
        return claim.no_effect
    # An estimate is compared in the claim's own unit: "no effect" of a ratio in % is 100.
    none = {"difference": 0.0, "ordering": 0.0, "trend": 0.0, "ratio": claim.scale}
    return none.get(claim.kind)


def _right_direction(claim: Claim, low: float, high: float) -> bool:
    """Whether the interval lies wholly between "no effect" and the accepted range."""
    neutral = _no_effect(claim)
    if neutral is None:
        return False
    if claim.accept.low is not None and neutral < claim.accept.low:
        return neutral < low and high < claim.accept.low
    if claim.accept.high is not None and neutral > claim.accept.high:
        return claim.accept.high < low and high < neutral
    return False


def _left_out(claim: Claim, record: RunRecord, observations: pd.DataFrame) -> dict[str, str]:
    """Variants that the run skipped altogether; a claim that names one is untested."""
    there = set(observations.loc[observations["metric"] == claim.metric, "variant"])
    skipped = {entry["variant"]: entry["reason"] for entry in record.skipped}
    absent = {variant: why for variant, why in skipped.items() if variant not in there}
    over = claim.over if isinstance(claim.over, tuple) else (claim.over,)
    for condition in (claim.where, claim.of, *over, *claim.order):
        named = condition.get("variant", [])
        for variant in named if isinstance(named, list | tuple) else [named]:
            if variant in absent:
                raise Untested(f"{variant!r} was skipped: {absent[variant]}")
    return absent


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
        return None if value is None or not math.isfinite(value) else float(value)

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
        n=int(estimate.n) if estimate else 0,
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
