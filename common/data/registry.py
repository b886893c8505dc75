"""The dataset registry: one YAML file per dataset, what it is, whose it is and how to get it."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from common.data.safepath import safe_relative
from common.errors import ConfigError, DataError, did_you_mean
from common.schema import Model, load_yaml

REGISTRY = Path(__file__).parent / "registry"
LOOPBACK = ("127.0.0.1", "::1")
MOST_PARTS = 100_000


def check_url(url: str) -> str:
    """Return a URL that may be downloaded from: https, or http to this very machine.

    Raises
    ------
    ValueError
        For any other scheme, and for a GitHub file that is not pinned at a commit.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise ValueError(f"{url!r} is not https; only https downloads are allowed")
    if not parts.hostname or parts.username is not None:
        raise ValueError(f"{url!r} names no host, or carries a user name")
    of_github = parts.hostname == "raw.githubusercontent.com" or (
        parts.hostname == "github.com" and "/raw/" in parts.path
    )
    if of_github and not re.search(r"/[0-9a-f]{40}(/|$)", parts.path):
        raise ValueError(
            f"{url!r} is not pinned: use the 40-digit commit instead of a branch or tag"
        )
    return url


def _check_name(name: str) -> str:
    if str(safe_relative(name)) != name or any(part.startswith(".") for part in name.split("/")):
        raise ValueError(f"{name!r} is not a plain relative file name (no leading dots, no '//')")
    return name


def parse_index(text: str) -> list[int]:
    """Expand index ranges, which must increase.

    Examples
    --------
    >>> parse_index("0-2,5")
    [0, 1, 2, 5]
    """
    indices: list[int] = []
    for item in text.split(","):
        found = re.fullmatch(r"\s*(\d{1,9})(?:-(\d{1,9}))?\s*", item)
        if not found:
            raise ValueError(f"{item!r} is not an index or a range; write for example '0-149,151'")
        first, last = int(found[1]), int(found[2] or found[1])
        if last < first or (indices and first <= indices[-1]):
            raise ValueError(f"index {text!r} does not increase at {item!r}")
        if last - first + len(indices) >= MOST_PARTS:
            raise ValueError(f"index {text!r} names more than {MOST_PARTS} parts")
        indices.extend(range(first, last + 1))
    return indices


Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Bytes = Annotated[int, Field(ge=0)]
Url = Annotated[str, AfterValidator(check_url)]
Name = Annotated[str, AfterValidator(_check_name)]


class Parts(Model):
    """A file that its publisher keeps in numbered pieces.

    The pieces are joined in increasing index; a piece that does not end in a newline gets one.
    """

    url: Url
    index: str

    @field_validator("url")
    @classmethod
    def _has_index(cls, url: str) -> str:
        if "{index}" not in url:
            raise ValueError(f"{url!r} does not hold '{{index}}'")
        return url

    @field_validator("index")
    @classmethod
    def _parses(cls, index: str) -> str:
        parse_index(index)
        return index

    @property
    def indices(self) -> list[int]:
        """Every index, in the order of joining."""
        return parse_index(self.index)

    def url_of(self, index: int) -> str:
        """Address of one piece."""
        return self.url.replace("{index}", str(index))


class Packed(Model):
    """What the URL serves, when it serves a compressed form of the file."""

    format: Literal["gz", "xz"]
    sha256: Sha256
    bytes: Bytes


class FileEntry(Model):
    """One file of a dataset; ``sha256`` and ``bytes`` are those of the plain content.

    It comes from ``url``, or from ``base_url`` of the dataset and ``path`` (default: ``name``), or
    from ``parts``; a file with none of these has to be put into place by hand.
    """

    name: Name
    sha256: Sha256
    bytes: Bytes
    url: Url | None = None
    path: Name | None = None
    parts: Parts | None = None
    packed: Packed | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [key for key in ("url", "path", "parts") if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(
                f"{self.name}: give one of url, path, parts, not {' and '.join(given)}"
            )
        if self.packed and self.parts:
            raise ValueError(f"{self.name}: parts cannot be packed")
        return self


class DatasetEntry(Model):
    """One dataset.

    Attributes
    ----------
    name : str
        Name of the registry file without ``.yaml``.
    licence : str
        SPDX identifier, or plain words where there is none.
    redistribution : str
        ``allowed``, ``conditional`` (under the ``terms``), ``forbidden`` or ``unclear``.
    label : str
        ``original`` when the data is what its title says, ``substitute`` when it plays a part.
    manual : str
        How to get the files that have no address, for example because their licence asks every user
        to agree in person.
    base_url : str
        Prefix of the files' addresses; ends in ``/``.
    """

    name: Annotated[str, Field(pattern="^[a-z0-9][a-z0-9._-]*$")]
    title: str
    about: str
    licence: str
    redistribution: Literal["allowed", "conditional", "forbidden", "unclear"]
    terms: str
    citation: str
    homepage: Url
    label: Literal["original", "substitute"] = "original"
    manual: str | None = None
    base_url: Url | None = None
    files: list[FileEntry]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.base_url and not self.base_url.endswith("/"):
            raise ValueError(f"base_url {self.base_url!r} must end in '/'")
        if not self.files:
            raise ValueError("a dataset has at least one file")
        names: set[str] = set()
        for file in self.files:
            if names & {file.name, f"{file.name}.gz", file.name.removesuffix(".gz")}:
                raise ValueError(f"file {file.name!r} stands twice (x.gz is x, compressed)")
            names.add(file.name)
            if file.path and not self.base_url:
                raise ValueError(f"file {file.name!r} has a path but the dataset has no base_url")
            if self.url_of(file) is None and not self.manual:
                raise ValueError(f"file {file.name!r} has no address: give url, parts or manual")
        return self

    @property
    def bytes(self) -> int:
        """Size of all files, uncompressed."""
        return sum(file.bytes for file in self.files)

    def url_of(self, file: FileEntry) -> str | None:
        """Address of a file (the template, for a file in parts), or None if it has none."""
        if file.parts:
            return file.parts.url
        if file.url or not self.base_url:
            return file.url
        return self.base_url + quote(file.path or file.name)

    def select(self, names: Sequence[str] | None) -> list[FileEntry]:
        """Return the files of these names, in registry order; None means all.

        Raises
        ------
        DataError
            For a name that the dataset does not hold, with the closest one; for no name at all.
        """
        if names is None:
            return self.files
        if not names:
            raise DataError(f"no file of dataset {self.name!r} was asked for; None means all")
        known = {file.name for file in self.files}
        for name in names:
            if name not in known:
                nearest = difflib.get_close_matches(name, known, n=8, cutoff=0)
                raise DataError(
                    f"dataset {self.name!r} has no file {name!r}{did_you_mean(name, nearest)}"
                )
        return [file for file in self.files if file.name in set(names)]


def list_datasets() -> list[str]:
    """Return the names of all registered datasets, sorted."""
    return sorted(path.stem for path in REGISTRY.glob("*.yaml"))


def load_entry(name: str) -> DatasetEntry:
    """Load one dataset's registry entry.

    Parameters
    ----------
    name : str
        Name of the dataset, as in :func:`list_datasets`.

    Raises
    ------
    DataError
        For an unknown name, with the closest one.
    ConfigError
        If the registry file is not valid: names the file and the key.

    Examples
    --------
    >>> load_entry("wfinstances-tasks").licence
    'LGPL-3.0'
    """
    names = list_datasets()
    if name not in names:
        raise DataError(f"unknown dataset {name!r}{did_you_mean(name, names)}")
    return _load(REGISTRY / f"{name}.yaml")


@functools.cache
def _load(path: Path) -> DatasetEntry:
    entry = load_yaml(path, DatasetEntry)
    if entry.name != path.stem:
        raise ConfigError(f"{path}: name {entry.name!r} must be the file's name, {path.stem!r}")
    return entry
