"""Compare verdicts with the recorded ones: the science's own regression test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.claims import VERDICTS_BEST_FIRST, Verdict
from common.papers import load_paper
from common.results import DATA_LABELS, read_json, write_json

RECORD = "verdicts.json"
Entry = dict[str, str]
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Change:
    """How a claim's verdict stands to the recorded one.

    ``status`` is ``same``, ``better``, ``worse``, ``new`` (never judged before) or ``missing``
    (recorded, but not judged on this data now, or no longer a claim).
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

    A verdict is compared with the one on the same data label. One that is recorded on other data
    is ``missing``, not ``worse``, unless it stands beside and on weaker data than there is now. A
    verdict without data (untested, or an error) is compared with all that is recorded for it.
    """
    recorded = _read(slug)
    changes = []
    for verdict in verdicts:
        entries = [entry for entry in recorded if _key(entry) == _place(verdict)]
        if not entries:
            changes.append(Change(slug, verdict.claim, "new", "", verdict.verdict, verdict.reason))
        comparable = [e for e in entries if not verdict.data or e["data"] in ("", verdict.data)]
        for entry in entries:
            status, reason = _status(entry["verdict"], verdict.verdict), verdict.reason
            if entry not in comparable:
                if comparable and _weaker(entry["data"], verdict.data):
                    continue
                status = "missing"
                reason = f"recorded on {entry['data']} data, now judged on {verdict.data}"
            changes.append(
                Change(slug, verdict.claim, status, entry["verdict"], verdict.verdict, reason)
            )
    changes += [
        Change(slug, entry["claim"], "missing", entry["verdict"], "", "no longer a claim")
        for entry in _orphans(recorded, verdicts)
    ]
    return changes


def failures(changes: Sequence[Change], *, strict: bool) -> list[Change]:
    """Changes that fail the check; ``strict`` counts missing verdicts too."""
    bad = {"worse", "missing"} if strict else {"worse"}
    return [change for change in changes if change.status in bad]


def record(slug: str, verdicts: Sequence[Verdict]) -> Path:
    """Record verdicts, in place of those at the same size, target, claim and data.

    A verdict without data (untested, or an error) is recorded only where no other is.
    """
    recorded = _read(slug)
    orphans = _orphans(recorded, verdicts)
    entries = {(_key(e), e["data"]): e for e in recorded if e not in orphans}
    for verdict in verdicts:
        key = _place(verdict)
        if verdict.data:
            entries.pop((key, ""), None)
        elif any(other == key and data for other, data in entries):
            continue
        entries[key, verdict.data] = {
            "size": verdict.size,
            "target": verdict.target,
            "claim": verdict.claim,
            "data": verdict.data,
            "verdict": verdict.verdict,
        }
    path = recorded_path(slug)
    write_json(path, [entries[name] for name in sorted(entries)])
    return path


def _read(slug: str) -> list[Entry]:
    path = recorded_path(slug)
    return read_json(path) if path.exists() else []


def _key(entry: Entry) -> Key:
    return entry["size"], entry["target"], entry["claim"]


def _place(verdict: Verdict) -> Key:
    return verdict.size, verdict.target, verdict.claim


def _orphans(recorded: Sequence[Entry], verdicts: Sequence[Verdict]) -> list[Entry]:
    """Entries at the size and target of the verdicts whose claim is not among them."""
    judged = {_place(verdict) for verdict in verdicts}
    places = {key[:2] for key in judged}
    return [e for e in recorded if _key(e)[:2] in places and _key(e) not in judged]


def _weaker(recorded: str, now: str) -> bool:
    return DATA_LABELS.index(recorded) > DATA_LABELS.index(now)


def _status(recorded: str, now: str) -> str:
    if recorded == now:
        return "same"
    before, after = VERDICTS_BEST_FIRST.index(recorded), VERDICTS_BEST_FIRST.index(now)
    if now == "untested":
        return "missing" if before < after else "better"
    if recorded == "untested" and now != "error":
        return "new"
    return "better" if after < before else "worse"
