"""Results tree to MLflow: run it as often as you like, each result is there once."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import ConfigError, DataError
from common.papers import projects_root as default_projects_root
from common.results import find
from common.tracking.bundle import Bundle, bundle, experiment_tags, paper_verdicts
from common.tracking.connection import (
    artifact_location,
    connect,
    exclusive,
    tracked,
    tracking_uri,
)
from common.tracking.layout import EXPERIMENT_PREFIX, TAG

if TYPE_CHECKING:
    from mlflow.entities import Run as TrackedRun
    from mlflow.tracking import MlflowClient

    from common.claims import Verdict

log = logging.getLogger(__name__)
CONTENT = f"{TAG}content"
KEY = f"{TAG}key"
STATUS = {"done": "FINISHED", "failed": "FAILED", "skipped": "KILLED"}
# MLflow takes at most 1000 metrics, and 100 tags or parameters, in one request.
_METRICS, _TEXTS = 1000, 100


@dataclass(frozen=True)
class SyncReport:
    """What a sync did.

    Attributes
    ----------
    added, unchanged, updated : int
        Runs in the store.
    unreadable : tuple of str
        One line per results folder that could not be read and was left out.
    uri : str
        The store.
    """

    added: int
    unchanged: int
    updated: int
    unreadable: tuple[str, ...] = ()
    uri: str = ""


def sync(
    results: Path,
    uri: str | None = None,
    recorded: bool = False,
    projects_root: Path | None = None,
) -> SyncReport:
    """Bring an MLflow store up to date with a results tree.

    A run is known by its paper, experiment, size, target, digest of configuration and code,
    commit and machine. One that is there unchanged is left alone; one whose verdicts, figures
    or numbers changed is updated in place.

    Parameters
    ----------
    results : Path
        Root of the results tree; it may be missing.
    uri : str, optional
        Tracking URI; by default ``MLFLOW_TRACKING_URI``, else ``mlflow.db`` in the current
        directory with its artifacts in ``mlartifacts/`` beside it.
    recorded : bool
        Also sync the results of other machines that the papers' packages hold.
    projects_root : Path, optional
        Folder of the papers' packages.

    Returns
    -------
    SyncReport

    Raises
    ------
    TrackingError
        If the store cannot be reached. Nothing is lost: the results stay as files.
    MissingExtra
        If MLflow is not installed.
    """
    uri = tracking_uri(uri)
    bundles, unreadable = _collect(Path(results), recorded, projects_root)
    counts = {"added": 0, "unchanged": 0, "updated": 0}
    with tracked(uri), exclusive(uri):
        client = connect(uri)
        for slug in sorted({item.record.paper for item in bundles}):
            experiment = _experiment(client, uri, slug, experiment_tags(slug, projects_root))
            known = _known(client, experiment)
            for item in bundles:
                if item.record.paper == slug:
                    counts[_sync_one(client, experiment, item, known.get(item.key))] += 1
    return SyncReport(**counts, unreadable=tuple(unreadable), uri=uri)


def _collect(
    results: Path, recorded: bool, projects_root: Path | None
) -> tuple[list[Bundle], list[str]]:
    bundles: dict[str, Bundle] = {}
    judged: dict[Path, list[Verdict]] = {}
    unreadable = []
    # Results of this checkout come last: they replace the recording of the same run.
    for tree, machine in [*(_recordings(projects_root) if recorded else ()), (results, "")]:
        for folder in find(tree):
            try:
                place = folder.path.parent
                if place not in judged:
                    judged[place] = paper_verdicts(folder, projects_root)
                item = bundle(folder, judged[place], root=projects_root, recorded=machine)
            except (ConfigError, DataError) as error:
                log.error("left out of tracking: %s", error)
                unreadable.append(str(error))
                continue
            bundles[item.key] = item
    return list(bundles.values()), unreadable


def _recordings(projects_root: Path | None) -> Iterator[tuple[Path, str]]:
    root = projects_root or default_projects_root()
    for tree in sorted(root.glob("*/recorded/results/*")):
        if tree.is_dir():
            yield tree, tree.name


def _experiment(client: MlflowClient, uri: str, slug: str, tags: dict[str, str]) -> str:
    """Id of the paper's MLflow experiment, made or revived when needed."""
    name = f"{EXPERIMENT_PREFIX}{slug}"
    found = client.get_experiment_by_name(name)
    if found is None:
        return client.create_experiment(name, artifact_location(uri, slug), tags)
    if found.lifecycle_stage != "active":
        client.restore_experiment(found.experiment_id)
    for tag, value in tags.items():
        if found.tags.get(tag) != value:
            client.set_experiment_tag(found.experiment_id, tag, value)
    return found.experiment_id


def _known(client: MlflowClient, experiment: str) -> dict[str, TrackedRun]:
    runs: dict[str, TrackedRun] = {}
    token = None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        runs.update({run.data.tags[KEY]: run for run in page if KEY in run.data.tags})
        token = page.token
        if not token:
            return runs


def _sync_one(client: MlflowClient, experiment: str, item: Bundle, known: TrackedRun | None) -> str:
    content = item.content
    if known is not None and known.data.tags.get(CONTENT) == content:
        return "unchanged"
    record = item.record
    if known is None:
        known = client.create_run(
            experiment,
            start_time=_milliseconds(record.started),
            tags={KEY: item.key},
            run_name=f"{record.experiment} {record.size} {record.target}",
        )
        done = "added"
    else:
        done = "updated"
    _write(client, known, item)
    client.set_terminated(
        known.info.run_id, STATUS[record.status], end_time=_milliseconds(record.finished)
    )
    # Last, so that an interrupted sync is completed by the next one.
    client.set_tag(known.info.run_id, CONTENT, content)
    return done


def _write(client: MlflowClient, run: TrackedRun, item: Bundle) -> None:
    from mlflow.entities import Metric, Param, RunTag

    # Of two values MLflow shows the later one, so the time is that of writing.
    run_id, moment = run.info.run_id, int(time.time() * 1000)
    # MLflow keeps what is not named again: a number or verdict that is gone must not survive.
    metrics = {**dict.fromkeys(run.data.metrics, float("nan")), **item.metrics}
    for gone in set(run.data.tags) - set(item.tags) - {KEY, CONTENT}:
        if not gone.startswith("mlflow."):
            client.delete_tag(run_id, gone)
    fresh = [Metric(name, value, moment, 0) for name, value in metrics.items()]
    params = [Param(name, v) for name, v in item.params.items() if name not in run.data.params]
    tags = [RunTag(name, value) for name, value in item.tags.items()]
    for chunk in _chunks(fresh, _METRICS):
        client.log_batch(run_id, metrics=chunk)
    for chunk in _chunks(params, _TEXTS):
        client.log_batch(run_id, params=chunk)
    for chunk in _chunks(tags, _TEXTS):
        client.log_batch(run_id, tags=chunk)
    with tempfile.TemporaryDirectory() as stage:
        for name, source in item.files.items():
            path = Path(stage, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(source, str):
                path.write_text(source, encoding="utf-8")
            else:
                shutil.copyfile(source, path)
        client.log_artifacts(run_id, stage)


def _chunks(items: list[Any], length: int) -> Iterable[list[Any]]:
    return (items[start : start + length] for start in range(0, len(items), length))


def _milliseconds(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp() * 1000)
