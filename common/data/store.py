"""Files on this machine: mirrors named in $REPRISE_DATA, the user's cache, digests, unpacking."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import lzma
import os
import secrets
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from common.data.registry import FileEntry
from common.errors import DataError

CHUNK = 1 << 20


class _Unreadable(Exception):
    """Bytes that cannot be read or decompressed."""


class Copy(NamedTuple):
    """One copy of a registered file: in which place, at which path, gzipped or plain."""

    place: str
    path: Path
    packed: bool


def mirrors() -> tuple[Path, ...]:
    """Return the mirror folders of ``$REPRISE_DATA``, an ``os.pathsep``-separated list."""
    listed = os.environ.get("REPRISE_DATA", "").split(os.pathsep)
    return tuple(Path(item).expanduser().absolute() for item in listed if item.strip())


def cache_root() -> Path:
    """Return the cache folder: ``data`` in ``$REPRISE_CACHE``, else in the platform's place."""
    chosen = os.environ.get("REPRISE_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute() / "data"
    import pooch

    return Path(pooch.os_cache("reprise")) / "data"


def cache_folder(dataset: str) -> Path:
    """Return where the cache keeps a dataset's files."""
    return cache_root() / dataset


def partial_folder(dataset: str) -> Path:
    """Return where unfinished downloads of a dataset wait to be resumed."""
    return cache_folder(dataset) / ".partial"


def copies(dataset: str, file: FileEntry) -> Iterator[Copy]:
    """Yield every copy of a file that exists, unchecked, in the order of lookup."""
    for mirror in mirrors():
        plain = mirror / dataset / file.name
        packed = plain.with_name(plain.name + ".gz")
        if plain.is_file():
            yield Copy("mirror", plain, False)
        elif packed.is_file():
            yield Copy("mirror", packed, True)
    cached = cache_folder(dataset) / file.name
    if cached.is_file():
        yield Copy("cache", cached, False)


def fault(copy: Copy, file: FileEntry) -> str | None:
    """Return what is wrong with a copy, naming expected and found digest, or None.

    Reads the whole copy, but never more than one byte beyond the registered size.
    """
    digest = hashlib.sha256()
    size = 0
    try:
        for chunk in _content(copy.path, "gz" if copy.packed else None, file.bytes + 1):
            digest.update(chunk)
            size += len(chunk)
    except _Unreadable as error:
        return f"expected sha256 {file.sha256}, found nothing readable ({error})"
    if size > file.bytes:
        return f"expected sha256 {file.sha256}, found more than the registered {file.bytes} bytes"
    if digest.hexdigest() != file.sha256:
        return f"expected sha256 {file.sha256}, found {digest.hexdigest()} ({size} bytes)"
    return None


def find(dataset: str, file: FileEntry) -> tuple[str, Path] | None:
    """Return the place and the plain, verified file, from a mirror or the cache.

    A gzipped file of a mirror is unpacked into the cache once; afterwards the verified unpacked
    copy is used. A corrupted file in the cache counts as missing, so that it is replaced.

    Raises
    ------
    DataError
        If a mirror holds the file but corrupted; names file, expected and found digest.
    """
    for copy in copies(dataset, file):
        if copy.place == "mirror" and copy.packed:
            return copy.place, _unpacked(dataset, file, copy)
        wrong = fault(copy, file)
        if wrong is None:
            return copy.place, copy.path
        if copy.place == "mirror":
            raise _corrupted(copy.path, wrong)
    return None


def _unpacked(dataset: str, file: FileEntry, copy: Copy) -> Path:
    target = cache_folder(dataset) / file.name
    if target.is_file() and fault(Copy("cache", target, False), file) is None:
        return target
    unpack(copy.path, target, file, "gz")
    return target


def unpack(source: Path, target: Path, file: FileEntry, form: str) -> None:
    """Decompress a ``gz`` or ``xz`` file, atomically and only to the registered content.

    Raises
    ------
    DataError
        If it cannot be decompressed, holds more than the registered bytes, or another content.
    """
    try:
        write_checked(target, file, _content(source, form, file.bytes + 1), str(source))
    except _Unreadable as error:
        found = f"expected sha256 {file.sha256}, found nothing readable ({error})"
        raise _corrupted(source, found) from error


def write_checked(target: Path, file: FileEntry, chunks: Iterable[bytes], origin: str) -> None:
    """Write chunks to ``target`` atomically, refusing any content but the registered one."""
    digest = hashlib.sha256()
    size = 0
    with atomic_write(target) as stream:
        for chunk in chunks:
            size += len(chunk)
            if size > file.bytes:
                found = f"more than the registered {file.bytes} bytes"
                raise _corrupted(origin, f"expected sha256 {file.sha256}, found {found}")
            digest.update(chunk)
            stream.write(chunk)
        if digest.hexdigest() != file.sha256:
            found = f"found {digest.hexdigest()} ({size} bytes)"
            raise _corrupted(origin, f"expected sha256 {file.sha256}, {found}")


@contextlib.contextmanager
def atomic_write(target: Path) -> Iterator[BinaryIO]:
    """Open a new file that takes ``target``'s place when the block ends well, and only then.

    Raises
    ------
    DataError
        If the folder cannot be written; says how to choose another cache.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as stream:
            yield stream
        temporary.replace(target)
    except OSError as error:
        raise DataError(
            f"cannot write to {target.parent} ({error}); free space or set REPRISE_CACHE to a "
            "writable folder"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _content(path: Path, form: str | None, limit: int) -> Iterator[bytes]:
    """Yield at most ``limit`` bytes of a file's plain content."""
    opener = {None: Path.open, "gz": gzip.open, "xz": lzma.open}[form]
    try:
        with opener(path, "rb") as stream:
            while limit > 0 and (chunk := stream.read(min(CHUNK, limit))):
                limit -= len(chunk)
                yield chunk
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise _Unreadable(str(error)) from error


def _corrupted(path: Path | str, wrong: str) -> DataError:
    return DataError(f"{path} is corrupted: {wrong}; delete it or replace it by a good copy")
