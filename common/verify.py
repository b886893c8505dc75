"""Compare verdicts with the recorded ones: the science's own regression test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.claims import VERDICTS_BEST_FIRST, Verdict
from common.papers import load_paper
from common.results import read_json, write_json

RECORD = "verdicts.json"


@dataclass(frozen=True)
class Change:
    """How a claim's verdict stands to the recorded one.

    ``status`` is ``same``, ``better``, ``worse``, ``new`` (nothing recorded) or ``missing``
    (recorded, but not judged on this data now).
    """

    paper: str
    claim: str
    status: str
    recorded: str
    now: str
    reason: str = ""


def recorded_path(slug: str) -> Path:
    """File of a paper's recorded verdicts."""
    return load_paper(slug).path("recorded", RECORD)


def check(slug: str, verdicts: Sequence[Verdict]) -> list[Change]:
    """Compare a paper's verdicts at one size and target with the recorded ones.

    A verdict is compared only with one on the same data label: without the real data a claim is
    judged on something else, which is ``missing``, not ``worse``. An untested or failed claim is
    compared with all that is recorded for it.
    """
    path = recorded_path(slug)
    recorded = read_json(path) if path.exists() else []
    changes = []
    for verdict in verdicts:
        key = (verdict.size, verdict.target, verdict.claim)
        entries = [e for e in recorded if (e["size"], e["target"], e["claim"]) == key]
        same_data = [e for e in entries if not verdict.data or e["data"] == verdict.data]
        if not entries:
            changes.append(Change(slug, verdict.claim, "new", "", verdict.verdict))
        for entry in same_data or entries:
            status = "missing" if not same_data else _status(entry["verdict"], verdict.verdict)
            if status == "worse" and verdict.verdict == "untested":
                status = "missing"
            changes.append(
                Change(
                    slug, verdict.claim, status, entry["verdict"], verdict.verdict, verdict.reason
                )
            )
    return changes


def failures(changes: Sequence[Change], *, strict: bool) -> list[Change]:
    """Changes that fail the check; ``strict`` counts missing verdicts too."""
    bad = {"worse", "missing"} if strict else {"worse"}
    return [change for change in changes if change.status in bad]


def record(slug: str, verdicts: Sequence[Verdict]) -> Path:
    """Record verdicts, in place of those at the same size, target, claim and data."""

    def key(entry: dict[str, str]) -> tuple[str, ...]:
        return tuple(entry[name] for name in ("size", "target", "claim", "data"))

    path = recorded_path(slug)
    entries = {key(entry): entry for entry in (read_json(path) if path.exists() else [])}
    for verdict in verdicts:
        entry = {
            "size": verdict.size,
            "target": verdict.target,
            "claim": verdict.claim,
            "data": verdict.data,
            "verdict": verdict.verdict,
        }
        entries[key(entry)] = entry
    write_json(path, [entries[name] for name in sorted(entries)])
    return path


def _status(recorded: str, now: str) -> str:
    before, after = VERDICTS_BEST_FIRST.index(recorded), VERDICTS_BEST_FIRST.index(now)
    return "same" if before == after else "better" if after < before else "worse"
