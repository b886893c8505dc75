"""One results folder as MLflow sees it: tags, parameters, metrics and files."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.claims import Verdict, judge_claims, read_verdicts
from common.errors import DataError
from common.papers import Paper, load_paper, projects_root
from common.results import (
    COLUMNS,
    DATA_LABELS,
    MEASUREMENT_LABELS,
    OBSERVATIONS,
    RECORD,
    VERDICTS,
    Folder,
    RunRecord,
    paper_folder,
)
from common.tracking.layout import (
    CLAIM,
    FIGURES,
    PAPER,
    PAPER_FILES,
    TAG,
    VERDICT,
    digest,
    identity,
    key,
)

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)
# Limits of MLflow's store.
TAG_LENGTH = 8000
PARAM_LENGTH = 6000
NAME_LENGTH = 250


@dataclass(frozen=True)
class Bundle:
    """What one MLflow run holds.

    Attributes
    ----------
    record : RunRecord
        The run's ``run.json``.
    tags, params, metrics : dict
        Ready for MLflow: names allowed, values within its limits.
    files : dict
        Artifact path to the file, or to its text where no file holds it.
    """

    record: RunRecord
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]
    files: dict[str, Path | str]

    @property
    def key(self) -> str:
        """Identity of the run."""
        return key(self.record)

    @property
    def content(self) -> str:
        """Digest of all that the store should hold; a change is an update."""
        files = {name: _file_digest(source) for name, source in self.files.items()}
        return digest([self.tags, self.params, self.metrics, files])


def bundle(
    folder: Folder, verdicts: list[Verdict], *, root: Path | None = None, recorded: str = ""
) -> Bundle:
    """Collect one results folder, with the verdicts and figures that rest on it.

    Parameters
    ----------
    folder : Folder
        The experiment's folder.
    verdicts : list of Verdict
        Verdicts of the whole paper at this size and target.
    root : Path, optional
        Folder of the papers' packages.
    recorded : str
        Name of the recorded machine's folder, empty for results of this checkout.

    Raises
    ------
    ConfigError, DataError
        If ``run.json`` or the observations cannot be read.
    """
    record = folder.record()
    rows = _observations(folder)
    own = [verdict for verdict in verdicts if _belongs(verdict, folder)]
    paper = _paper(folder.paper, root)
    tags = {
        **_facts(record, rows),
        f"{TAG}recorded": recorded,
        f"{TAG}title": paper.experiments[folder.experiment].title
        if paper and folder.experiment in paper.experiments
        else folder.experiment,
        "mlflow.note.content": _note(record, own),
    }
    for place, verdict in enumerate(verdicts):
        if verdict in own:
            tags[f"{VERDICT}{verdict.claim}"] = verdict.verdict
            tags[f"{CLAIM}{verdict.claim}"] = _verdict_text(verdict, place)
    return Bundle(
        record=record,
        tags={_name(name, set()): value[:TAG_LENGTH] for name, value in tags.items()},
        params=_params(record.config),
        metrics={**_totals(record), **_means(rows)},
        files=_files(folder, paper, root, verdicts),
    )


def experiment_tags(slug: str, root: Path | None = None) -> dict[str, str]:
    """Tags of a paper's MLflow experiment: what a list of papers has to show."""
    tags = {f"{TAG}paper": slug}
    if paper := _paper(slug, root):
        for name in ("title", "venue", "year", "url", "group", "summary"):
            tags[f"{TAG}{name}"] = str(getattr(paper, name))
        tags[f"{TAG}authors"] = ", ".join(paper.authors)
    return tags


def _observations(folder: Folder) -> pd.DataFrame:
    rows = folder.observations()
    if missing := [column for column in COLUMNS if column not in rows]:
        raise DataError(f"{folder.path / OBSERVATIONS}: lacks the columns {', '.join(missing)}")
    return rows


def _facts(record: RunRecord, rows: pd.DataFrame) -> dict[str, str]:
    tags = {f"{TAG}{name}": value for name, value in identity(record).items()}
    labels = [label for label in DATA_LABELS if (rows["data"] == label).any()]
    kinds = [kind for kind in MEASUREMENT_LABELS if (rows["measurement"] == kind).any()]
    facts = {
        "key": key(record),
        "status": record.status,
        "reason": record.reason,
        "dirty": str(bool(record.git.get("dirty"))).lower(),
        "machine_label": str(record.machine.get("label", "")),
        "cpu": str(record.machine.get("cpu", "")),
        "cores": str(record.machine.get("usable_cores", "")),
        "memory_gib": str(record.machine.get("memory_gib", "")),
        "gpus": ", ".join(_gpu_names(record.machine)),
        "data": ", ".join(labels),
        "measurement": ", ".join(kinds),
        "data_mode": record.data_mode,
        "stand_ins": ", ".join(record.stand_ins),
        "skipped": "\n".join(": ".join(entry.values()) for entry in record.skipped),
        "meters": json.dumps(_meters(record)),
        "started": record.started,
        "finished": record.finished,
        "rows": str(record.rows),
    }
    return {**tags, **{f"{TAG}{name}": value for name, value in facts.items()}}


def _gpu_names(machine: dict[str, Any]) -> list[str]:
    gpus = machine.get("gpus") or []
    return [str(gpu.get("name", "?") if isinstance(gpu, dict) else gpu) for gpu in gpus]


def _meters(record: RunRecord) -> list[dict[str, Any]]:
    """Totals per quantity and meter over all regions."""
    totals: dict[tuple[str, ...], float] = {}
    for item in record.measurements:
        place = (item.quantity, item.unit, item.meter, item.measurement)
        if item.quantity == "peak_memory":
            totals[place] = max(totals.get(place, item.total), item.total)
        else:
            totals[place] = totals.get(place, 0.0) + item.total
    names = ("quantity", "unit", "meter", "measurement")
    return [
        {**dict(zip(names, place, strict=True)), "total": total} for place, total in totals.items()
    ]


def _params(config: dict[str, Any]) -> dict[str, str]:
    texts = {
        name: value if isinstance(value, str) else json.dumps(value, default=str)
        for name, value in config.items()
    }
    used: set[str] = set()
    return {_name(name, used): text[:PARAM_LENGTH] for name, text in sorted(texts.items())}


def _totals(record: RunRecord) -> dict[str, float]:
    names = ("seconds", "cpu_seconds", "peak_memory_mb", "rows")
    return {f"run/{name}": float(getattr(record, name)) for name in names}


def _means(rows: pd.DataFrame) -> dict[str, float]:
    """Mean of each metric per variant and data set, over items, seeds and parameters."""
    if not len(rows):
        return {}
    means = rows.dropna(subset=["value"]).groupby(["metric", "variant", "dataset"])["value"].mean()
    used: set[str] = set()
    return {_name("/".join(map(str, group)), used): float(mean) for group, mean in means.items()}


def _name(name: str, used: set[str]) -> str:
    """Name with only what MLflow allows; two names that become one get a digest."""
    allowed = re.sub(r"[^\w\-. :/]", "_", name, flags=re.ASCII)
    parts = [part.strip(".") for part in allowed.split("/")]
    clean = "/".join(part or "_" for part in parts)[:NAME_LENGTH]
    if clean in used:
        clean = f"{clean[: NAME_LENGTH - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    used.add(clean)
    return clean


# -- verdicts ------------------------------------------------------------------------------


def paper_verdicts(folder: Folder, root: Path | None) -> list[Verdict]:
    """Verdicts of the paper's folder; judged anew, in memory, where nobody has written them."""
    path = paper_folder(folder.root, folder.size, folder.target, folder.paper) / VERDICTS
    if path.exists():
        return read_verdicts(path)
    if _paper(folder.paper, root) is None:
        return []
    return judge_claims(folder.root, folder.size, folder.target, folder.paper, root)


def _belongs(verdict: Verdict, folder: Folder) -> bool:
    """Whether a run carries a verdict: its own, or one whose experiment has no run to carry it."""
    if verdict.experiment == folder.experiment:
        return True
    paper = paper_folder(folder.root, folder.size, folder.target, folder.paper)
    return not (paper / verdict.experiment / RECORD).exists()


def _verdict_text(verdict: Verdict, place: int) -> str:
    """Compact JSON that fits a tag; only prose is cut when it is too long.

    ``place`` is the claim's place in the paper's list, which tags would lose.
    """
    fields = {name: value for name, value in asdict(verdict).items() if value not in (None, "")}
    fields["place"] = place
    for room in (None, 1500, 300):
        for name in ("statement", "reason", "source", "title"):
            if room is not None and len(fields.get(name, "")) > room:
                fields[name] = fields[name][:room] + "…"
        text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
        if len(text) <= TAG_LENGTH:
            break
    return text


def _note(record: RunRecord, verdicts: Iterable[Verdict]) -> str:
    """Description that MLflow's own interface shows above a run."""
    lines = [f"**{record.paper} / {record.experiment}** at {record.size} on {record.target}", ""]
    if record.status != "done":
        lines += [f"**{record.status}**: {record.reason}", ""]
    lines += [f"- stand-in for {name}: {why}" for name, why in record.stand_ins.items()]
    lines += [f"- {verdict.claim}: {verdict.verdict}" for verdict in verdicts]
    return "\n".join(lines)


# -- files ---------------------------------------------------------------------------------


def _paper(slug: str, root: Path | None) -> Paper | None:
    """The paper's declaration, or None for results of a paper that is not in this checkout."""
    if not ((root or projects_root()) / slug / "paper.yaml").exists():
        return None
    return load_paper(slug, root)


def _files(
    folder: Folder, paper: Paper | None, root: Path | None, verdicts: list[Verdict]
) -> dict[str, Path | str]:
    place = paper_folder(folder.root, folder.size, folder.target, folder.paper)
    files: dict[str, Path | str] = {
        name: folder.path / name for name in (OBSERVATIONS, RECORD) if (folder.path / name).exists()
    }
    if verdicts:
        files[VERDICTS] = json.dumps([asdict(v) for v in verdicts], indent=2, ensure_ascii=False)
    for image in sorted((place / FIGURES).glob("*.png")):
        declared = paper.figures.get(image.stem) if paper else None
        if declared is None or folder.experiment in declared.experiments:
            files[f"{FIGURES}/{image.name}"] = image
    for name in PAPER_FILES:
        source = (root or projects_root()) / folder.paper / name
        if source.exists():
            files[f"{PAPER}/{name}"] = source
    return files


def _file_digest(source: Path | str) -> str:
    content = source.encode() if isinstance(source, str) else source.read_bytes()
    return hashlib.sha256(content).hexdigest()
