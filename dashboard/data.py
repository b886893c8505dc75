"""The tracking store as data frames; knows MLflow and nothing of pages."""

from __future__ import annotations

import functools
import io
import json
import re
import tempfile
import threading
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import yaml

from common.claims import Verdict
from common.results import COLUMNS, OBSERVATIONS, RECORD
from common.tracking.connection import connect, database_file, tracked
from common.tracking.layout import CLAIM, EXPERIMENT_PREFIX, FIGURES, PAPER, RECORDED, TAG

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run as TrackedRun

# Tags of a run that become columns as they are.
_TEXTS = (
    "paper",
    "experiment",
    "title",
    "size",
    "target",
    "status",
    "reason",
    "machine",
    "machine_label",
    "recorded",
    "cpu",
    "cores",
    "memory_gib",
    "gpus",
    "commit",
    "digest",
    "data",
    "measurement",
    "data_mode",
    "stand_ins",
    "skipped",
    "started",
    "finished",
    "content",
)
_NUMBERS = ("seconds", "cpu_seconds", "peak_memory_mb", "rows")
RUN_COLUMNS = ("run_id", "artifacts", *_TEXTS, "dirty", *_NUMBERS, "energy")
PAPER_COLUMNS = ("paper", "title", "authors", "venue", "year", "url", "group", "summary")
_VERDICT_FIELDS = tuple(field.name for field in fields(Verdict))
_VERDICT_NUMBERS = ("estimate", "low", "high", "accept_low", "accept_high", "n", "place")
_OF_THE_RUN = ("run_id", "machine", "machine_label", "recorded", "commit", "dirty", "finished")
_READING = threading.Lock()
VERDICT_COLUMNS = (*_VERDICT_FIELDS, "place", *_OF_THE_RUN, "own")


@dataclass(frozen=True)
class Snapshot:
    """All that lists and charts of verdicts need, in one reading of the store.

    Attributes
    ----------
    papers : DataFrame
        One row per paper, columns ``PAPER_COLUMNS``.
    runs : DataFrame
        One row per run, newest first, columns ``RUN_COLUMNS``.
    verdicts : DataFrame
        One row per claim and run that carries it, newest first, columns ``VERDICT_COLUMNS``;
        ``own`` tells whether the claim's experiment is the run's.
    """

    papers: pd.DataFrame
    runs: pd.DataFrame
    verdicts: pd.DataFrame


def state(uri: str) -> str:
    """Return a token that changes when a local store does; a server's is always empty."""
    path = database_file(uri)
    if path is None:
        return ""
    if not path.exists():
        return "absent"
    found = path.stat()
    return f"{found.st_mtime_ns}-{found.st_size}"


def load(uri: str, moment: str = "") -> Snapshot:
    """Read the store, or return what the last call with the same arguments read.

    Several threads may ask at once: one reads, the others wait for it. The snapshot is shared:
    nobody may change its frames.

    Parameters
    ----------
    uri : str
        Tracking URI.
    moment : str
        A token that changes when the store may have changed, such as :func:`state`.

    Raises
    ------
    TrackingError
        If it cannot be reached.
    """
    with _READING:
        return _load(uri, moment)


@functools.lru_cache(maxsize=4)
def _load(uri: str, moment: str) -> Snapshot:
    import pandas as pd

    papers, runs, verdicts = [], [], []
    # Reading must not create a database where none is.
    if state(uri) != "absent":
        client = connect(uri)
        with tracked(uri):
            name = f"name LIKE '{EXPERIMENT_PREFIX}%'"
            experiments = _pages(client.search_experiments, filter_string=name)
            ids = [found.experiment_id for found in experiments]
            found_runs = _pages(client.search_runs, ids) if ids else []
        for found in experiments:
            papers.append({name: found.tags.get(f"{TAG}{name}", "") for name in PAPER_COLUMNS})
        for run in found_runs:
            row = _run_row(run)
            if row["paper"]:
                runs.append(row)
                verdicts += _verdict_rows(run, row)
    with_runs = {row["paper"] for row in runs}
    return Snapshot(
        papers=pd.DataFrame(
            [paper for paper in papers if paper["paper"] in with_runs], columns=list(PAPER_COLUMNS)
        ).sort_values("paper", ignore_index=True),
        runs=_newest_first(runs, RUN_COLUMNS, _NUMBERS),
        verdicts=_newest_first(verdicts, VERDICT_COLUMNS, _VERDICT_NUMBERS),
    )


def latest(runs: pd.DataFrame, by: tuple[str, ...]) -> pd.DataFrame:
    """Newest run of each group."""
    return runs.drop_duplicates(list(by), ignore_index=True)


def current(verdicts: pd.DataFrame, *, across_machines: bool = False) -> pd.DataFrame:
    """Newest verdict of each claim at each size and target, on each machine or on any.

    A run of the claim's own experiment speaks before one that only carries the claim along.
    """
    groups = ["paper", "claim", "size", "target", *([] if across_machines else ["machine"])]
    ranked = verdicts.sort_values("own", ascending=False, kind="stable")
    return verdicts.loc[ranked.drop_duplicates(groups).index].sort_index()


# -- artifacts -----------------------------------------------------------------------------


def artifact(uri: str, run: Any, path: str) -> bytes | None:
    """Read one small file of a run; None when the store does not hold it.

    Parameters
    ----------
    uri : str
        Tracking URI.
    run : namedtuple
        Row of ``Snapshot.runs``.
    path : str
        Name of the file among the run's artifacts.
    """
    from mlflow.exceptions import MlflowException

    try:
        return _read(uri, f"{run.artifacts}/{path}", run.content)
    except (MlflowException, OSError):
        return None


@functools.lru_cache(maxsize=512)
def _read(uri: str, address: str, content: str) -> bytes:
    """Read a file; ``content`` is the run's digest: a new one means that the old file is stale."""
    if address.startswith("file:"):
        return Path(url2pathname(urlparse(address).path)).read_bytes()
    from mlflow.artifacts import download_artifacts

    # Asked for by run instead, MLflow would look the run up again, twice for each file.
    with tempfile.TemporaryDirectory() as folder:
        found = download_artifacts(artifact_uri=address, dst_path=folder, tracking_uri=uri)
        return Path(found).read_bytes()


def observations(uri: str, run: Any) -> pd.DataFrame:
    """Read the observations of a run; an empty frame when the store does not hold them.

    The frame is shared, as a snapshot is.
    """
    import pandas as pd

    content = artifact(uri, run, OBSERVATIONS)
    return pd.DataFrame(columns=list(COLUMNS)) if content is None else _parquet(content)


@functools.lru_cache(maxsize=16)
def _parquet(content: bytes) -> pd.DataFrame:
    import pandas as pd

    return pd.read_parquet(io.BytesIO(content))


def record(uri: str, run: Any) -> dict[str, Any]:
    """Read ``run.json`` of a run; empty when the store does not hold it."""
    content = artifact(uri, run, RECORD)
    return json.loads(content) if content else {}


def declaration(uri: str, run: Any) -> dict[str, Any]:
    """Read the paper's ``paper.yaml`` as it was when the run was synced."""
    return _yaml(artifact(uri, run, f"{PAPER}/paper.yaml") or b"")


def claim_notes(uri: str, run: Any) -> dict[str, str]:
    """Notes that ``claims.yaml`` adds to claims, by claim."""
    claims = _yaml(artifact(uri, run, f"{PAPER}/claims.yaml") or b"")
    return {c["id"]: c["note"] for c in claims.get("claims") or [] if c.get("note")}


@functools.lru_cache(maxsize=64)
def _yaml(content: bytes) -> dict[str, Any]:
    # libyaml's parser, where PyYAML has it, is several times as fast and as safe.
    parsed = yaml.load(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return parsed if isinstance(parsed, dict) else {}


def recorded(uri: str, run: Any) -> list[Any]:
    """Verdicts that the project stood behind when the run was synced; empty where none are."""
    content = artifact(uri, run, f"{PAPER}/{RECORDED}")
    return _parsed(content.decode("utf-8", "replace"), list) if content else []


def card(uri: str, run: Any) -> str:
    """Read the paper card as it was when the run was synced."""
    content = artifact(uri, run, f"{PAPER}/README.md")
    return content.decode("utf-8", "replace") if content else ""


def card_section(card: str, word: str) -> str:
    r"""Text below the first heading that holds a word, up to the next heading of its level.

    Examples
    --------
    >>> card_section("# A\n## Deviations\nNone.\n## Data and licences\nCC0.", "deviation")
    'None.'
    """
    lines = card.splitlines()
    for start, line in enumerate(lines):
        heading = re.match(r"(#+)\s+(.*)", line)
        if heading and word.lower() in heading[2].lower():
            level = len(heading[1])
            body = []
            for following in lines[start + 1 :]:
                if re.match(rf"#{{1,{level}}}\s", following):
                    break
                body.append(following)
            return "\n".join(body).strip()
    return ""


def figures(uri: str, runs: pd.DataFrame, declared: dict[str, Any]) -> dict[str, bytes]:
    """Images of a paper, by name: of each declared figure the first run's that holds one.

    Parameters
    ----------
    uri : str
        Tracking URI.
    runs : DataFrame
        Rows of ``Snapshot.runs``, one per experiment.
    declared : dict
        The paper's ``paper.yaml``.
    """
    images = {}
    rows = list(runs.itertuples())
    for name, told in (declared.get("figures") or {}).items():
        for run in rows:
            if run.experiment not in told.get("experiments", ()):
                continue
            if content := artifact(uri, run, f"{FIGURES}/{name}.png"):
                images[name] = content
                break
    return images


# -- rows ----------------------------------------------------------------------------------


def _pages(search: Any, *args: Any, **options: Any) -> list[Any]:
    found: list[Any] = []
    token = None
    while True:
        page = search(*args, max_results=1000, page_token=token, **options)
        found += page
        token = page.token
        if not token:
            return found


def _run_row(run: TrackedRun) -> dict[str, Any]:
    tags = run.data.tags
    row: dict[str, Any] = {name: tags.get(f"{TAG}{name}", "") for name in _TEXTS}
    row["run_id"] = run.info.run_id
    row["artifacts"] = run.info.artifact_uri
    row["machine_label"] = row["machine_label"] or row["machine"]
    row["dirty"] = tags.get(f"{TAG}dirty") == "true"
    for name in _NUMBERS:
        row[name] = run.data.metrics.get(f"run/{name}", float("nan"))
    row["energy"] = _energy(_parsed(tags.get(f"{TAG}meters", ""), list))
    return row


def _energy(meters: list[Any]) -> str:
    """Energy with the meter that gave it, since a joule is worth what its meter is."""
    parts = [
        f"{item['total']:.4g} {item['unit']} ({item['meter']}, {item['measurement']})"
        for item in meters
        if item.get("quantity") == "energy"
    ]
    return "; ".join(parts)


def _verdict_rows(run: TrackedRun, row: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for tag, text in run.data.tags.items():
        if tag.startswith(CLAIM):
            told = _parsed(text, dict)
            if told.get("claim") and told.get("verdict"):
                numbers = dict.fromkeys(_VERDICT_FIELDS, "") | dict.fromkeys(_VERDICT_NUMBERS)
                verdict = {
                    name: told.get(name, empty)
                    for name, empty in {**numbers, "paper_value": None}.items()
                }
                facts = {name: row[name] for name in _OF_THE_RUN}
                own = verdict["experiment"] == row["experiment"]
                rows.append({**verdict, **facts, "own": own, "paper": row["paper"]})
    return rows


def _parsed(text: str, kind: type) -> Any:
    """JSON of one type; a tag that another tool has spoilt reads as empty."""
    try:
        parsed = json.loads(text)
    except ValueError:
        return kind()
    return parsed if isinstance(parsed, kind) else kind()


def _newest_first(
    rows: list[dict[str, Any]], columns: tuple[str, ...], numbers: tuple[str, ...]
) -> pd.DataFrame:
    import pandas as pd

    # As plain objects: pages take these frames apart row by row, which Arrow's texts make slow.
    frame = pd.DataFrame(rows, columns=list(columns), dtype=object)
    frame = frame.assign(**{name: pd.to_numeric(frame[name]) for name in numbers})
    return frame.sort_values("finished", ascending=False, ignore_index=True, kind="stable")
