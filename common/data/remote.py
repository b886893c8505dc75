"""Bring registered files into the cache: plain ones, compressed ones and those kept in parts."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from common.data import store
from common.data.download import Job, download
from common.data.registry import DatasetEntry, FileEntry

log = logging.getLogger(__name__)


def download_files(entry: DatasetEntry, files: Sequence[FileEntry]) -> None:
    """Download files of a dataset into the cache: plain, packed or in parts.

    Raises
    ------
    DownloadFailed
        If the network or the server fails; what has arrived is kept for the next attempt.
    DataError
        If what arrived is not the registered file; it is deleted.
    """
    jobs = {file.name: _job(entry, file) for file in files if not file.parts}
    if jobs:
        download(list(jobs.values()), title=entry.name, total=sum(j.limit for j in jobs.values()))
    for file in files:
        target = store.cache_folder(entry.name) / file.name
        if file.parts:
            _download_parts(entry, file, target)
        elif file.packed:
            store.unpack(jobs[file.name].target, target, file, file.packed.format)
            jobs[file.name].target.unlink()
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            jobs[file.name].target.replace(target)


def _job(entry: DatasetEntry, file: FileEntry) -> Job:
    served = file.packed or file
    # with the digest in its name, a partial file is never continued by a newer version's bytes
    name = f"{quote(file.name, safe='')}.{served.sha256[:16]}"
    waiting = store.partial_folder(entry.name) / name
    return Job(entry.url_of(file), waiting, served.bytes, served.sha256)


def _download_parts(entry: DatasetEntry, file: FileEntry, target: Path) -> None:
    folder = store.partial_folder(entry.name) / file.sha256
    indices = file.parts.indices
    jobs = [Job(file.parts.url_of(i), folder / str(i), file.bytes) for i in indices]
    download(jobs, title=f"{entry.name}/{file.name}", total=file.bytes)
    try:
        chunks = join_parts(folder / str(i) for i in indices)
        store.write_checked(target, file, chunks, file.parts.url)
    finally:
        # joined, or one of the parts is wrong and nobody can say which
        shutil.rmtree(folder, ignore_errors=True)


def join_parts(parts: Iterable[Path]) -> Iterator[bytes]:
    """Yield the parts one after the other, each ending in a newline."""
    for part in parts:
        content = part.read_bytes()
        yield content if not content or content.endswith(b"\n") else content + b"\n"
