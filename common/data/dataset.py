"""What a resolved dataset is, and how it says that it could not be had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import DataError

SOURCES = ("mirror", "cache", "download")


@dataclass(frozen=True)
class Dataset:
    """A dataset on this machine, every file checked against its registered digest.

    Attributes
    ----------
    name, title : str
        As in the registry.
    files : dict of str to Path
        Plain (uncompressed) files by registered name.
    label : str
        ``original`` or ``substitute``; travels with every number made from the data.
    source : str
        Where the files came from this time: ``mirror``, ``cache`` or ``download``; of several, the
        last in this order.
    sha256 : dict of str to str
        Digest of each file's plain content.
    licence, citation, url : str
        Whose data it is; ``url`` is the homepage.
    """

    name: str
    title: str
    files: dict[str, Path]
    label: str
    source: str
    sha256: dict[str, str]
    licence: str
    citation: str
    url: str

    def provenance(self) -> dict[str, Any]:
        """Return what a result has to say about its data; holds no path of this machine."""
        return {
            "title": self.title,
            "label": self.label,
            "source": self.source,
            "sha256": dict(self.sha256),
            "licence": self.licence,
            "citation": self.citation,
            "url": self.url,
        }


class DataUnavailable(DataError):
    """A dataset could not be had here, through no fault of its files.

    Parameters
    ----------
    name : str
        The dataset.
    reason : str
        One line without any path of this machine, fit for a published result.
    tried : sequence of str
        Every place looked, and why it did not serve.
    remedy : str
        What to do about it.
    """

    def __init__(self, name: str, reason: str, tried: Sequence[str] = (), remedy: str = "") -> None:
        super().__init__(name, reason, tuple(tried), remedy)
        self.name = name
        self.reason = reason
        self.tried = tuple(tried)
        self.remedy = remedy

    def __str__(self) -> str:
        lines = [f"dataset {self.name!r} is not available: {self.reason}"]
        if self.tried:
            lines.append("Looked in:")
        lines += [f"  - {place}" for place in self.tried]
        if self.remedy:
            lines.append(self.remedy)
        return "\n".join(lines)
