"""Text that every machine has: Python sources, split by content into three disjoint parts."""

from __future__ import annotations

import hashlib
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from common.errors import ConfigError, DataError, known

SOURCES = {"stdlib": ("stdlib",), "environment": ("stdlib", "purelib", "platlib")}
SPLITS = ("train", "validation", "evaluation")
# Tests repeat one another and their expected output; IDLE is mostly a word list and a change log;
# `encodings` is tables of hexadecimal numbers.
SKIPPED = frozenset({"test", "tests", "idlelib", "idle_test", "encodings", "__pycache__"})
INSTALLED = frozenset({"site-packages", "dist-packages"})


@dataclass(frozen=True)
class Corpus:
    """Source files of one split or of all.

    Attributes
    ----------
    files : tuple of Path
        In the order of their names below their root.
    digests : tuple of str
        SHA-256 of each file's content.
    """

    files: tuple[Path, ...]
    digests: tuple[str, ...]

    @property
    def digest(self) -> str:
        """SHA-256 over the contents, whatever the files are called and wherever they are."""
        return hashlib.sha256("".join(sorted(self.digests)).encode()).hexdigest()

    def split(self, name: str) -> Corpus:
        """Return one of ``train`` (90 %), ``validation`` (5 %) and ``evaluation`` (5 %)."""
        known(name, SPLITS, "split of the corpus")
        kept = [
            (file, digest)
            for file, digest in zip(self.files, self.digests, strict=True)
            if split_of(digest) == name
        ]
        return Corpus(tuple(f for f, _ in kept), tuple(d for _, d in kept))

    def texts(self) -> list[str]:
        """Return the files' texts; bytes that are not UTF-8 become replacement characters."""
        return [file.read_text(encoding="utf-8", errors="replace") for file in self.files]


def corpus(source: str = "stdlib", roots: Iterable[Path] | None = None) -> Corpus:
    """Collect the Python sources of this interpreter.

    Parameters
    ----------
    source : {"stdlib", "environment"}
        The standard library alone (about 9 MB), or with the installed packages.
    roots : iterable of Path, optional
        Folders to take instead.

    Returns
    -------
    Corpus
        Every distinct content once; another Python version gives another digest.

    Raises
    ------
    ConfigError
        For another ``source``.
    DataError
        If there are no sources, as in an installation of byte code alone.

    Examples
    --------
    >>> parts = [corpus().split(name) for name in SPLITS]
    >>> len(parts[0].files) > 10 * len(parts[1].files)
    True
    """
    places = SOURCES[known(source, SOURCES, "source of text")]
    installed = dict.fromkeys(map(sysconfig.get_path, places))
    folders = [Path(place) for place in (installed if roots is None else roots)]
    skipped = SKIPPED if source == "environment" else SKIPPED | INSTALLED
    by_digest: dict[str, Path] = {}
    for root in folders:
        for file in sorted(root.rglob("*.py")):
            # A folder or a dangling link may end in .py too.
            if skipped.isdisjoint(file.relative_to(root).parts) and file.is_file():
                by_digest.setdefault(hashlib.sha256(file.read_bytes()).hexdigest(), file)
    if not by_digest:
        raise DataError(
            f"no Python sources in {', '.join(map(str, folders))}; install the interpreter with "
            "its standard library's .py files"
        )
    return Corpus(tuple(by_digest.values()), tuple(by_digest))


def split_of(digest: str) -> str:
    """Return the split that a file of this SHA-256 belongs to.

    Examples
    --------
    >>> split_of("ff" * 32), split_of("00" * 32)
    ('train', 'evaluation')
    """
    try:
        share = int(digest[:8], 16) / 16**8
    except ValueError as error:
        raise ConfigError(f"{digest!r} is no hexadecimal digest") from error
    return "evaluation" if share < 0.05 else "validation" if share < 0.1 else "train"
