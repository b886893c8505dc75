"""Extract zip and tar archives of strangers: nothing leaves the folder or outgrows its limit."""

from __future__ import annotations

import contextlib
import lzma
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from common.data.safepath import safe_relative
from common.errors import DataError, did_you_mean

CHUNK = 1 << 20
MOST_MEMBERS = 100_000


@dataclass(frozen=True)
class _Member:
    """One entry of an archive; ``kind`` is ``file``, ``folder`` or ``other``."""

    name: str
    kind: str
    size: int
    open: Callable[[], IO[bytes]]


def extract(
    archive: Path,
    to: Path,
    members: Collection[str] | None = None,
    *,
    max_bytes: int = 4 << 30,
) -> list[Path]:
    """Extract an archive's regular files into a folder.

    The whole list of members is examined before anything is written, and the files appear under
    ``to`` only after all of them were read without a fault. Modes, owners and times are not taken
    over, empty folders are left out.

    Parameters
    ----------
    archive : Path
        Zip, or tar with any compression that :mod:`tarfile` knows.
    to : Path
        Target folder; made if needed.
    members : collection of str, optional
        Only these members, named as in the archive.
    max_bytes : int
        Largest total size of the archive's files.

    Returns
    -------
    list of Path
        The files, in the archive's order.

    Raises
    ------
    DataError
        If the archive is damaged or encrypted, holds an absolute path, ``..``, a link, a device or
        one name twice (whether asked for or not), lacks a member asked for, or is too large.
    """
    if not archive.is_file():
        raise DataError(f"{archive}: no such file")
    with _faults(archive, to), _members(archive) as found:
        chosen = _choose(archive, _examined(archive, found, max_bytes), members)
        to.mkdir(parents=True, exist_ok=True)
        # inside the target, so that moving a file is one atomic rename
        with tempfile.TemporaryDirectory(dir=to, prefix=".extract-") as scratch:
            for path, member in chosen.items():
                target = Path(scratch) / path
                target.parent.mkdir(parents=True, exist_ok=True)
                # both modules stop a member at the size of its header, so the sum above bounds this
                with member.open() as source, target.open("xb") as out:
                    shutil.copyfileobj(source, out, CHUNK)
            return [_move(Path(scratch) / path, to / path, to) for path in chosen]


@contextlib.contextmanager
def _faults(archive: Path, to: Path) -> Iterator[None]:
    """Turn what a damaged archive or a full disk raises into a DataError."""
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError) as error:
        raise DataError(f"{archive} is damaged, or neither zip nor tar ({error})") from error
    except (OSError, RuntimeError, NotImplementedError) as error:
        # RuntimeError: encrypted member; NotImplementedError: unknown compression
        raise DataError(f"{archive} cannot be extracted to {to} ({error})") from error


@contextlib.contextmanager
def _members(archive: Path) -> Iterator[Iterator[_Member]]:
    # tar first: a tar whose last member is a zip also looks like a zip from its end
    if tarfile.is_tarfile(archive):
        with tarfile.open(archive) as opened:
            yield _of_tar(opened)
    else:
        with zipfile.ZipFile(archive) as opened:
            yield _of_zip(opened)


def _of_tar(opened: tarfile.TarFile) -> Iterator[_Member]:
    for info in opened:
        kind = "folder" if info.isdir() else "file" if info.isreg() else "other"
        yield _Member(info.name, kind, info.size, lambda info=info: opened.extractfile(info))


def _of_zip(opened: zipfile.ZipFile) -> Iterator[_Member]:
    for info in opened.infolist():
        mode = stat.S_IFMT(info.external_attr >> 16)
        regular = mode in (0, stat.S_IFREG)
        folder = info.is_dir() and mode in (0, stat.S_IFDIR)
        kind = "folder" if folder else "file" if regular else "other"
        yield _Member(info.filename, kind, info.file_size, lambda info=info: opened.open(info))


def _examined(archive: Path, found: Iterator[_Member], max_bytes: int) -> dict[str, _Member]:
    """Return the regular files by clean path; stops reading at the first offence."""
    files: dict[str, _Member] = {}
    total = 0
    for count, member in enumerate(found):
        if count >= MOST_MEMBERS:
            raise DataError(f"{archive} holds more than {MOST_MEMBERS} members; refused")
        if member.kind == "folder" and member.name in (".", "./"):
            continue
        path = _clean(archive, member.name)
        if member.kind == "other":
            raise DataError(f"{archive}: member {member.name!r} is a link or a device; refused")
        if member.kind == "folder":
            continue
        if path in files:
            raise DataError(f"{archive}: member {member.name!r} stands twice; refused")
        total += member.size
        if total > max_bytes:
            raise DataError(f"{archive} holds more than the allowed {max_bytes} bytes; refused")
        files[path] = member
    return files


def _choose(
    archive: Path, files: dict[str, _Member], members: Collection[str] | None
) -> dict[str, _Member]:
    if members is None:
        return files
    wanted = {_clean(archive, name) for name in members}
    for path in wanted:
        if path not in files:
            raise DataError(f"{archive} holds no file {path!r}{did_you_mean(path, files)}")
    return {path: member for path, member in files.items() if path in wanted}


def _move(source: Path, target: Path, to: Path) -> Path:
    if not target.parent.resolve().is_relative_to(to.resolve()):
        raise DataError(f"{target} lies outside of {to}, through a link that is already there")
    target.parent.mkdir(parents=True, exist_ok=True)
    return source.replace(target)


def _clean(archive: Path, name: str) -> str:
    try:
        return str(safe_relative(name))
    except ValueError as error:
        raise DataError(f"{archive}: member {error}; refused") from error
