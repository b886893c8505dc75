"""How a results folder is named inside MLflow: shared by the writer and the results browser."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from common.results import RunRecord

# One MLflow experiment per paper.
EXPERIMENT_PREFIX = "reprise-"
# Tags: facts of the run, and one per claim that the run's experiment decides.
TAG = "reprise."
CLAIM = "claim."
VERDICT = "verdict."
# Artifacts beside observations.parquet, run.json and verdicts.json.
FIGURES = "figures"
PAPER = "paper"
RECORDED = "recorded/verdicts.json"
PAPER_FILES = ("paper.yaml", "claims.yaml", "README.md", RECORDED)


def identity(record: RunRecord) -> dict[str, str]:
    """What makes a run the same run: synced twice, it is one run in the store."""
    return {
        "paper": record.paper,
        "experiment": record.experiment,
        "size": record.size,
        "target": record.target,
        "digest": record.digest,
        "commit": str(record.git.get("commit", "")),
        "machine": record.machine_id,
    }


def key(record: RunRecord) -> str:
    """Digest of :func:`identity`."""
    return digest(identity(record))


def digest(content: Any) -> str:
    """Sixteen hex digits over JSON-able content."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
