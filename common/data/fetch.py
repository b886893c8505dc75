"""From a dataset's name to verified files: the mirrors, then the cache, then a download."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from common.data import store
from common.data.dataset import SOURCES, Dataset, DataUnavailable
from common.data.registry import DatasetEntry, FileEntry, load_entry
from common.errors import ConfigError, did_you_mean
from common.locks import locked

log = logging.getLogger(__name__)

MODES = ("auto", "real", "synthetic")

Found = dict[str, tuple[str, Path]]


def resolve(
    name: str,
    mode: str = "auto",
    files: Sequence[str] | None = None,
    offline: bool | None = None,
) -> Dataset:
    """Return a registered dataset as verified plain files.

    Looks into the mirrors of ``$REPRISE_DATA``, then into the cache, then downloads.

    Parameters
    ----------
    name : str
        Name of the dataset.
    mode : {"auto", "real", "synthetic"}
        ``auto`` and ``real`` look everywhere; what to do when that fails is the caller's choice.
        ``synthetic`` never looks.
    files : sequence of str, optional
        Only these files of it.
    offline : bool, optional
        Whether the network is forbidden; by default ``$REPRISE_OFFLINE`` says so.

    Raises
    ------
    DataUnavailable
        If the data is in none of the places, or ``mode="synthetic"``.
    DataError
        If a mirror's file is corrupted, a download is not the registered file, or the name is
        unknown. A caller must not answer this one with a stand-in.

    Examples
    --------
    >>> data = resolve("wfinstances-tasks")  # doctest: +SKIP
    >>> data.files["blast-chameleon-large-001.json"].stat().st_size  # doctest: +SKIP
    253551
    """
    if mode not in MODES:
        raise ConfigError(f"unknown data mode {mode!r}{did_you_mean(mode, MODES)}")
    entry = load_entry(name)
    wanted = entry.select(files)
    if mode == "synthetic":
        raise DataUnavailable(name, "synthetic data was asked for")
    found = _find_all(entry, wanted)
    missing = [file for file in wanted if file.name not in found]
    if missing:
        found |= _download(entry, missing, offline)
    return Dataset(
        name=entry.name,
        title=entry.title,
        files={file.name: found[file.name][1] for file in wanted},
        label=entry.label,
        source=max((found[file.name][0] for file in wanted), key=SOURCES.index),
        sha256={file.name: file.sha256 for file in wanted},
        licence=entry.licence,
        citation=entry.citation,
        url=entry.homepage,
    )


def _find_all(entry: DatasetEntry, wanted: Sequence[FileEntry]) -> Found:
    places = ((file.name, store.find(entry.name, file)) for file in wanted)
    return {name: place for name, place in places if place is not None}


def _download(entry: DatasetEntry, missing: Sequence[FileEntry], offline: bool | None) -> Found:
    """Fetch files into the cache, or say in full why that is not possible."""
    by_hand = [file.name for file in missing if entry.url_of(file) is None]
    if by_hand:
        reason = f"{_some(by_hand)} must be obtained by hand"
        raise _unavailable(entry, missing, reason, "no address to download from")
    if offline_by_environment() if offline is None else offline:
        reason = "not on this machine, and the network is forbidden"
        raise _unavailable(entry, missing, reason, "forbidden (REPRISE_OFFLINE, or offline=True)")
    from common.data.network import DownloadFailed, require_network
    from common.data.remote import download_files

    try:
        for file in missing:
            require_network(entry.url_of(file))
        with locked(store.cache_folder(entry.name) / ".lock", f"downloads {entry.name}"):
            # another process may have fetched the files while this one waited for the lock
            found = _find_all(entry, missing)
            rest = [file for file in missing if file.name not in found]
            _warn_corrupted(entry, rest)
            download_files(entry, rest)
    except DownloadFailed as error:
        reason = f"not on this machine, and the download failed: {error}"
        raise _unavailable(entry, missing, reason, str(error)) from error
    for file in rest:
        found[file.name] = ("download", store.cache_folder(entry.name) / file.name)
    return found


def _warn_corrupted(entry: DatasetEntry, files: Sequence[FileEntry]) -> None:
    """Say which files of the cache are about to be replaced; a good one would have been used."""
    for file in files:
        target = store.cache_folder(entry.name) / file.name
        if target.is_file():
            log.warning("%s in the cache is corrupted; downloading it anew", target)


def offline_by_environment() -> bool:
    """Return whether ``$REPRISE_OFFLINE`` forbids the network.

    Raises
    ------
    ConfigError
        If it is set to anything but 0/1, no/yes, false/true.
    """
    value = os.environ.get("REPRISE_OFFLINE", "").strip().lower()
    if value in ("1", "yes", "true"):
        return True
    if value in ("", "0", "no", "false"):
        return False
    raise ConfigError(f"REPRISE_OFFLINE is {value!r}; set it to 1 or 0, or leave it unset")


def _unavailable(
    entry: DatasetEntry, missing: Sequence[FileEntry], reason: str, network: str
) -> DataUnavailable:
    tried = []
    for mirror in store.mirrors():
        lacks = [file.name for file in missing if not _held(mirror / entry.name, file)]
        state = f"lacks {_some(lacks)}" if mirror.is_dir() else "no such folder"
        tried.append(f"$REPRISE_DATA, {mirror / entry.name}: {state}")
    if not tried:
        tried.append("$REPRISE_DATA: not set")
    cached = store.cache_folder(entry.name)
    bad = [file.name for file in missing if (cached / file.name).is_file()]
    lacks = [file.name for file in missing if file.name not in bad]
    states = [f"{_some(bad)} corrupted"] * bool(bad) + [f"lacks {_some(lacks)}"] * bool(lacks)
    tried.append(f"the cache, {cached}: {', '.join(states)}")
    tried.append(f"the network: {network}")
    if entry.manual and any(entry.url_of(file) is None for file in missing):
        remedy = f"{entry.manual.strip()}\nThen put the files into {cached}, or into {entry.name}/ "
        return DataUnavailable(entry.name, reason, tried, remedy + "of a folder in $REPRISE_DATA.")
    remedy = (
        f"Set REPRISE_DATA to a folder that holds {entry.name}/, or run 'reprise data fetch "
        f"{entry.name}' where there is a network (REPRISE_CACHE moves the cache)."
    )
    return DataUnavailable(entry.name, reason, tried, remedy)


def _held(folder: Path, file: FileEntry) -> bool:
    return (folder / file.name).is_file() or (folder / f"{file.name}.gz").is_file()


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
