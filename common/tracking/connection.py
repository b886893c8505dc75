"""Where the tracking store is, and how to reach it without waiting for minutes."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import RepriseError, require

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

log = logging.getLogger(__name__)
DATABASE = "mlflow.db"
ARTIFACTS = "mlartifacts"
# MLflow's own defaults retry for minutes and wait two minutes for one answer.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_FIRST_CONTACT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
# Seconds to wait for a database server, as its drivers call them.
_DATABASE_SERVERS = {
    "postgresql": {"connect_timeout": 5},
    "mysql": {"connect_timeout": 5},
    "mssql": {"timeout": 5},
}


class TrackingError(RepriseError):
    """The tracking store cannot be reached or does not answer as one."""


def tracking_uri(uri: str | None = None) -> str:
    """Return the URI in force: the argument, ``MLFLOW_TRACKING_URI``, or a file right here.

    Examples
    --------
    >>> tracking_uri("http://127.0.0.1:5000")
    'http://127.0.0.1:5000'
    """
    chosen = uri or os.environ.get("MLFLOW_TRACKING_URI") or DATABASE
    if "://" not in chosen and chosen.endswith(".db"):
        return f"sqlite:///{Path(chosen).resolve()}"
    return chosen


def database_file(uri: str) -> Path | None:
    """File of an SQLite store, None for any other store."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(uri.removeprefix("sqlite:///").partition("?")[0]).resolve()


def artifact_location(uri: str, slug: str) -> str | None:
    """Where a paper's artifacts go; a server decides for itself.

    MLflow's default would be ``./mlruns`` of whatever directory the command was typed in.
    """
    path = database_file(uri)
    return (path.parent / ARTIFACTS / slug).as_uri() if path else None


def shown(uri: str) -> str:
    """Return the URI without the password that it may hold."""
    return re.sub(r"(?<=://)[^/@]*@", "***@", uri)


def connect(uri: str) -> MlflowClient:
    """Return a client whose store has answered once.

    Raises
    ------
    TrackingError
        If it does not, within seconds.
    MissingExtra
        If MLflow is not installed.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    path = database_file(uri)
    with tracked(uri), _environment(_FIRST_CONTACT):
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
        tracking = require("mlflow.tracking", "track")
        _reach_database(uri)
        # The lines about created tables are of no use to the reader of a pipeline's log.
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
        client = tracking.MlflowClient(uri)
        client.search_experiments(max_results=1)
    return client


def _reach_database(uri: str) -> None:
    """Connect once to a database server: MLflow would knock ten times, for 100 seconds."""
    import sqlalchemy

    wait = _DATABASE_SERVERS.get(re.match(r"[a-z]*", uri)[0])
    if wait:
        engine = sqlalchemy.create_engine(uri, connect_args=wait)
        engine.connect().close()
        engine.dispose()


@contextlib.contextmanager
def tracked(uri: str) -> Iterator[None]:
    """Turn whatever MLflow, its database or the network raises into one clear error."""
    try:
        yield
    except RepriseError:
        raise
    except Exception as error:
        if database_file(uri):
            todo = "check that the file is an MLflow database that you may write, or move it away"
        else:
            todo = (
                "check that the server runs and MLFLOW_TRACKING_URI is right, or unset it to use "
                f"the local file {DATABASE}"
            )
        raise TrackingError(
            f"tracking store {shown(uri)} does not answer ({_reason(error)}); {todo}. "
            "The results stay as files: `reprise track` adds them later"
        ) from error


def _reason(error: BaseException) -> str:
    """Name what lies at the root: MLflow wraps a refused connection in four other errors."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError) and link.strerror:
            return link.strerror
        link = link.__cause__ or link.__context__
    lines = str(error).strip().splitlines()
    return shown(f"{type(error).__name__}: {lines[0][:200] if lines else ''}")


@contextlib.contextmanager
def exclusive(uri: str) -> Iterator[None]:
    """One writer at a time: two would both create the tables, or both add the same run."""
    path = database_file(uri)
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
