"""The data of one run, each with the label that travels with every number made from it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import DataError, known
from common.journal import Notes
from common.papers import Paper

if TYPE_CHECKING:
    from common.data import Dataset

log = logging.getLogger(__name__)
DATA_MODES = ("auto", "real", "synthetic")


class RunData:
    """What :class:`common.run.Run` knows of its data.

    Parameters
    ----------
    paper : Paper
        Whose recordings are used.
    data_mode : {"auto", "real", "synthetic"}
        ``auto`` falls back to recorded data and stand-ins, loudly; ``real`` makes that an error.
    """

    def __init__(self, paper: Paper, data_mode: str) -> None:
        self.paper, self.data_mode = paper, known(data_mode, DATA_MODES, "data mode")
        self._notes = Notes()

    def dataset(
        self,
        name: str,
        *,
        label: str | None = None,
        files: Sequence[str] | None = None,
        alias: str | None = None,
    ) -> Dataset | None:
        """Return a registered dataset, or None when a stand-in has to take its place.

        Parameters
        ----------
        name : str
            Dataset of the registry.
        label : str, optional
            Overrides the data's label, for a dataset that plays another one's part
            (``"substitute"``).
        files : sequence of str, optional
            Only these files of it.
        alias : str, optional
            What observations call it, for one of several graphs that share a registry entry.

        Raises
        ------
        DataError
            If the data is corrupted, or missing while ``data_mode="real"``.
        """
        from common.data import DataUnavailable, resolve

        try:
            found = resolve(name, mode=self.data_mode, files=files)
        except DataUnavailable as error:
            if self.data_mode == "real":
                raise
            self._notes.stand_ins[name] = error.reason
            log.warning("STAND-IN: %s is not available, going on without it (%s)", name, error)
            return None
        provenance = {**found.provenance(), "label": label or found.label}
        self._notes.datasets[alias or name] = provenance
        return found

    def recorded(self, relative: str, *, name: str) -> Path | None:
        """Return a file of the project's own recordings, labelled ``substitute``.

        Under ``--data synthetic`` nothing recorded is used either and the answer is None.
        """
        if self.data_mode == "synthetic":
            return None
        path = self.paper.path("recorded", relative)
        if not path.is_file():
            raise DataError(f"{path}: no such recording")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        provenance = {"label": "substitute", "source": "recorded", "sha256": digest}
        self._notes.datasets[name] = provenance
        return path

    def synthetic(self, name: str, description: str) -> None:
        """Declare generated data, so that its label travels with every number made from it."""
        self._declare(name, "synthetic", "generator", description)

    def substitute(self, name: str, description: str, **facts: Any) -> None:
        """Declare real data of this machine that stands for the paper's, and what identifies it.

        ``facts`` go into the record, such as a model's fingerprint.
        """
        self._declare(name, "substitute", "this machine", description, **facts)

    def own_data(self, name: str, files: Mapping[str, Path], *, label: str = "original") -> None:
        """Declare data in files that the user brought and nobody may pass on.

        Parameters
        ----------
        name : str
            What observations call it.
        files : mapping
            Name, without any folder, to path. Names, digests and sizes go into the record.
        label : {"original", "substitute"}
            Whether it is the paper's own data or other data for the same question.

        Raises
        ------
        DataError
            If there is no file, one is missing, or a name holds a folder.
        """
        if not files:
            raise DataError(f"own data {name!r} without a file; use run.synthetic for a stand-in")
        for file, path in files.items():
            if Path(file).name != file or not path.is_file():
                raise DataError(f"own data {name!r}: {file!r} is no file, or its name has a folder")
        facts = {
            "sha256": {n: hashlib.sha256(p.read_bytes()).hexdigest() for n, p in files.items()},
            "bytes": {n: p.stat().st_size for n, p in files.items()},
        }
        self._declare(name, label, "user", "the user's own copy", **facts)

    def _declare(self, name: str, label: str, source: str, description: str, **facts: Any) -> None:
        declared = {"label": label, "source": source, "description": description, **facts}
        self._notes.datasets[name] = declared
