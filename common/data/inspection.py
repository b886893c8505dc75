"""What lies in the mirrors and the cache, for the ``reprise data`` commands."""

from __future__ import annotations

from typing import NamedTuple

from common.data import store
from common.data.dataset import SOURCES
from common.data.registry import load_entry


class FileStatus(NamedTuple):
    """One copy of one file: ``status`` is ``ok``, ``corrupted`` or ``absent``."""

    file: str
    place: str
    status: str
    path: str
    detail: str


class CacheStatus(NamedTuple):
    """Size of the user's cache; ``unfinished`` counts the bytes of interrupted downloads."""

    path: str
    files: int
    bytes: int
    unfinished: int


def verify(name: str) -> list[FileStatus]:
    """Check every copy of every file of a dataset, in all mirrors and the cache.

    Returns
    -------
    list of FileStatus
        One row per copy, and an ``absent`` row for a file without any copy.
    """
    entry = load_entry(name)
    rows = []
    for file in entry.files:
        copies = list(store.copies(entry.name, file))
        for copy in copies:
            wrong = store.fault(copy, file)
            status = "corrupted" if wrong else "ok"
            rows.append(FileStatus(file.name, copy.place, status, str(copy.path), wrong or ""))
        if not copies:
            rows.append(FileStatus(file.name, "", "absent", "", "in no mirror, not in the cache"))
    return rows


def presence(name: str) -> str:
    """Say where a dataset is, without reading it: ``mirror``, ``cache``, ``partly`` or ``no``."""
    entry = load_entry(name)
    places = [next(store.copies(name, file), None) for file in entry.files]
    if all(places):
        return max((copy.place for copy in places if copy), key=SOURCES.index)
    return "partly" if any(places) else "no"


def cache_status() -> CacheStatus:
    """Count the files and bytes of the user's cache."""
    root = store.cache_root()
    files = size = unfinished = 0
    for path in root.rglob("*") if root.is_dir() else ():
        if not path.is_file() or path.name == ".lock":
            continue
        if path.name.endswith(".partial") or ".partial" in path.parts:
            unfinished += path.stat().st_size
        else:
            files += 1
            size += path.stat().st_size
    return CacheStatus(str(root), files, size, unfinished)
