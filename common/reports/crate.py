"""RO-Crate 1.1 metadata of a paper's results folder, after the Process Run Crate profile.

The crate says in one JSON-LD file what every other file of the folder is, who wrote the paper that
it is about, and which run of which software made it: https://w3id.org/ro/crate/1.1 and
https://w3id.org/ro/wfrun/process/0.5.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import common
from common.errors import DataError
from common.reports.content import Part, Report, commit
from common.results import OBSERVATIONS, RECORD, VERDICTS, RunRecord

CRATE = "ro-crate-metadata.json"
SPECIFICATION = "https://w3id.org/ro/crate/1.1"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
LICENCE = "https://spdx.org/licenses/Apache-2.0"
# The digest is a term of schema.org that the context of RO-Crate 1.1 does not have yet.
CONTEXT = [f"{SPECIFICATION}/context", {"sha256": "http://schema.org/sha256"}]
# What the pipeline writes for itself, partly after the crate.
WORKINGS = ("logs", "benchmarks")
FORMATS = {
    ".html": "text/html",
    ".json": "application/json",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}
Entity = dict[str, Any]


def crate(report: Report) -> dict[str, Any]:
    """Content of ``ro-crate-metadata.json`` for the folder of a report.

    Returns
    -------
    dict
        JSON-LD: every file with size and digest, the paper and its authors as citation, the
        datasets with their licences, and one ``CreateAction`` per run with its times, software
        version, inputs and outputs.
    """
    files = [_file(report, path) for path in _paths(report.folder)]
    actions = [_action(part, part.record, files) for part in report.parts if part.record]
    software = {_software_id(record): _software(record) for record in report.records}
    entities = [
        _descriptor(),
        _root(report, files, actions),
        *files,
        *actions,
        *software.values(),
        *_datasets(report),
        *_article(report),
        {"@id": LICENCE, "@type": "CreativeWork", "name": "Apache License 2.0"},
        {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"},
    ]
    return {"@context": CONTEXT, "@graph": entities}


def _descriptor() -> Entity:
    return {
        "@id": CRATE,
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": {"@id": SPECIFICATION},
    }


def _root(report: Report, files: list[Entity], actions: list[Entity]) -> Entity:
    paper = report.paper
    counts = ", ".join(f"{count} {name}" for name, count in report.counts.items())
    finished = max((record.finished for record in report.records), default="")
    return {
        "@id": "./",
        "@type": "Dataset",
        "name": f"Reproduction of “{paper.title}”, size {report.size} on {report.target}",
        "description": f"Observations, figures and verdicts on the claims of the paper ({counts}). "
        "Datasets that were read keep their own licences.",
        "datePublished": finished,
        "license": {"@id": LICENCE},
        "conformsTo": {"@id": PROFILE},
        "citation": {"@id": paper.url},
        "hasPart": [_reference(entity) for entity in files],
        "mentions": [_reference(action) for action in actions],
    }


def _paths(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") for part in parts)
        if path.is_file() and not hidden and parts[0] not in (*WORKINGS, CRATE):
            yield path


def _file(report: Report, path: Path) -> Entity:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    entity = {
        "@id": _path_id(report.folder, path),
        "@type": "File",
        "name": path.name,
        "contentSize": str(len(content)),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    if path.suffix in FORMATS:
        entity["encodingFormat"] = FORMATS[path.suffix]
    if description := _description(report, path):
        entity["description"] = description
    return entity


def _description(report: Report, path: Path) -> str:
    known = {
        OBSERVATIONS: "observations, one row per measured number",
        RECORD: "configuration, commit, versions, machine, data and measurements of the run",
        VERDICTS: "the paper's claims, each judged",
    }
    figure = report.paper.figures.get(path.stem) if path.parent.name == "figures" else None
    return f"{figure.title}. {figure.caption.strip()}" if figure else known.get(path.name, "")


def _path_id(folder: Path, path: Path) -> str:
    return quote(path.relative_to(folder).as_posix())


def _action(part: Part, record: RunRecord, files: list[Entity]) -> Entity:
    done = record.status != "failed"
    own = [entity for entity in files if entity["@id"].startswith(f"{quote(part.name)}/")]
    action = {
        "@id": f"#run-{part.name}",
        "@type": "CreateAction",
        "name": part.title,
        "startTime": record.started,
        "endTime": record.finished,
        "actionStatus": f"http://schema.org/{'Completed' if done else 'Failed'}ActionStatus",
        "instrument": {"@id": _software_id(record)},
        "object": [{"@id": _dataset_id(name)} for name in record.datasets],
        "result": [_reference(entity) for entity in own],
    }
    return action if done else {**action, "error": record.reason}


def _software_id(record: RunRecord) -> str:
    return f"#reprise-{quote(commit(record).replace(' ', '-').replace(',', ''))}"


def _software(record: RunRecord) -> Entity:
    return {
        "@id": _software_id(record),
        "@type": "SoftwareApplication",
        "name": "Reprise",
        "softwareVersion": f"{common.__version__}, commit {commit(record)}",
        "license": {"@id": LICENCE},
    }


def _dataset_id(name: str) -> str:
    return f"#data-{quote(name)}"


def _datasets(report: Report) -> list[Entity]:
    found = {}
    for record in report.records:
        for name, facts in record.datasets.items():
            notes = [facts[key] for key in ("label", "source", "description") if facts.get(key)]
            entity = {"@id": _dataset_id(name), "@type": "Dataset", "name": name}
            terms = {
                "name": facts.get("title"),
                "description": "; ".join(map(str, notes)),
                "license": facts.get("licence"),
                "creditText": facts.get("citation"),
                "url": facts.get("url"),
            }
            found[name] = entity | {term: str(value) for term, value in terms.items() if value}
    return list(found.values())


def _article(report: Report) -> list[Entity]:
    paper = report.paper
    people = [
        {"@id": f"#author-{place}", "@type": "Person", "name": name}
        for place, name in enumerate(paper.authors, 1)
    ]
    article = {
        "@id": paper.url,
        "@type": "ScholarlyArticle",
        "name": paper.title,
        "author": [_reference(person) for person in people],
        "datePublished": str(paper.year),
        "publisher": paper.venue,
        "abstract": paper.summary.strip(),
    }
    return [article, *people]


def _reference(entity: Entity) -> Entity:
    return {"@id": entity["@id"]}
