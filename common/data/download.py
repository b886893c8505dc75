"""Downloads over https: bounded in size, resumed where they stopped, checked by pooch."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pooch
import requests
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.util import Retry

import common
from common.data.network import CONNECT_SECONDS, DownloadFailed
from common.data.registry import check_url
from common.errors import DataError

READ_SECONDS = 60.0
WORKERS = 8
ATTEMPTS = 3
CHUNK = 1 << 16


class _Interrupted(Exception):
    """Another download of the same batch failed, or the user pressed Ctrl-C."""


@dataclass(frozen=True)
class Job:
    """One address to download.

    Attributes
    ----------
    url : str
        https, or http on the loopback.
    target : Path
        Where the complete file goes, atomically.
    limit : int
        Largest size in bytes; a longer answer is refused as soon as it is longer.
    sha256 : str or None
        Digest of the bytes served; None for a piece whose digest is checked after joining.
    """

    url: str
    target: Path
    limit: int
    sha256: str | None = None

    @property
    def partial(self) -> Path:
        """Where the unfinished bytes wait for the next attempt."""
        return self.target.with_name(self.target.name + ".partial")


class _Session(requests.Session):
    """A session that follows no redirect to anything but https (or this machine)."""

    def get_adapter(self, url: str) -> HTTPAdapter:
        try:
            check_url(url)
        except ValueError as error:
            raise DownloadFailed(str(error)) from error
        return super().get_adapter(url)


def download(jobs: Sequence[Job], *, title: str, total: int) -> None:
    """Download every job with a small thread pool and one progress bar.

    Jobs whose target is already there with the right digest (or, without a digest, at all) are
    done; an unfinished file with a digest is continued where it stopped.

    Parameters
    ----------
    jobs : sequence of Job
        What to download; the targets lie on one file system with their ``.partial`` files.
    title : str
        Shown beside the progress bar.
    total : int
        Expected bytes of all jobs, for the progress bar.

    Raises
    ------
    DownloadFailed
        If the connection breaks for good or the server refuses.
    DataError
        If a file that arrived is not the registered one.
    """
    stop = threading.Event()
    with (
        _session() as session,
        _quiet_pooch(),
        tqdm(total=total, unit="B", unit_scale=True, desc=title, disable=None) as bar,
        ThreadPoolExecutor(WORKERS, thread_name_prefix="download") as pool,
    ):
        futures = [
            pool.submit(_download_one, job, _Stream(job, session, bar, stop)) for job in jobs
        ]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            # The pool waits for its threads on the way out: empty its queue and stop the streams.
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _download_one(job: Job, stream: _Stream) -> None:
    try:
        pooch.retrieve(
            job.url,
            known_hash=f"sha256:{job.sha256}" if job.sha256 else None,
            fname=job.target.name,
            path=job.target.parent,
            downloader=stream,
        )
    except requests.RequestException as error:
        raise DownloadFailed(f"{job.url}: {_plain(error)}") from error
    except ValueError as error:
        # pooch names both digests and has deleted the file already
        raise DataError(f"{job.url} does not serve the registered file: {error}") from error
    except OSError as error:
        raise DataError(f"cannot write to {job.target.parent} ({error})") from error


class _Stream:
    """The downloader that pooch calls: streams one job into its partial file, hands it over."""

    def __init__(
        self, job: Job, session: requests.Session, bar: tqdm, stop: threading.Event
    ) -> None:
        self.job, self.session, self.bar, self.stop = job, session, bar, stop

    def __call__(self, url: str, output_file: str, _pooch: object) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            if self.stop.is_set():
                raise _Interrupted
            try:
                self._continue(url)
                break
            except (
                requests.ConnectionError,
                requests.Timeout,
                requests.exceptions.ChunkedEncodingError,
            ):
                if attempt == ATTEMPTS:
                    raise
        self.job.partial.replace(output_file)

    def _continue(self, url: str) -> None:
        """Fetch what is still missing of the file."""
        partial = self.job.partial
        have = partial.stat().st_size if self.job.sha256 and partial.exists() else 0
        if have >= self.job.limit > 0:
            return
        headers = {"Range": f"bytes={have}-"} if have else {}
        timeout = (CONNECT_SECONDS, READ_SECONDS)
        with self.session.get(url, headers=headers, stream=True, timeout=timeout) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                partial.unlink()
                raise requests.ConnectionError("the unfinished file does not fit; starting over")
            response.raise_for_status()
            if response.status_code != requests.codes.partial_content:
                have = 0
            self._advance(have)
            with partial.open("ab" if have else "wb") as out:
                self._write(response, out, have)

    def _write(self, response: requests.Response, out: BinaryIO, size: int) -> None:
        for chunk in response.iter_content(CHUNK):
            if self.stop.is_set():
                raise _Interrupted
            size += len(chunk)
            if size > self.job.limit:
                self.job.partial.unlink()
                raise DataError(
                    f"{self.job.url} serves more than the registered {self.job.limit} bytes"
                )
            out.write(chunk)
            self._advance(len(chunk))

    def _advance(self, count: int) -> None:
        with self.bar.get_lock():
            self.bar.update(count)


def _session() -> requests.Session:
    retry = Retry(
        total=ATTEMPTS,
        connect=1,
        read=0,
        backoff_factor=0.5,
        status_forcelist=(429, 500, 502, 503, 504),
        raise_on_status=False,
        # a server may ask for an hour; the next attempt resumes where this one gave up
        respect_retry_after_header=False,
    )
    session = _Session()
    session.headers["User-Agent"] = f"reprise/{common.__version__}"
    # a compressed transfer could be neither bounded nor continued by byte counts
    session.headers["Accept-Encoding"] = "identity"
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry, pool_maxsize=WORKERS))
    return session


@contextlib.contextmanager
def _quiet_pooch() -> Iterator[None]:
    """Silence pooch's line per file: the progress bar says it all."""
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _plain(error: requests.RequestException) -> str:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP {error.response.status_code} {error.response.reason}"
    return str(error)
