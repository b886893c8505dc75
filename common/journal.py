"""The journal of an unfinished run: which cells are done, what they observed and noted."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from common.results import atomic

log = logging.getLogger(__name__)


@dataclass
class Notes:
    """What a run has to say besides its numbers.

    Attributes
    ----------
    datasets : dict
        Provenance of the data by name.
    stand_ins : dict
        Datasets that were not available, with the reason.
    skipped : dict
        Variants left out, by variant and reason.
    """

    datasets: dict[str, Any] = field(default_factory=dict)
    stand_ins: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, noted: dict[str, dict[str, Any]]) -> None:
        """Take over notes that :meth:`since` has given out."""
        for kind, entries in noted.items():
            getattr(self, kind).update(entries)

    def since(self, earlier: Notes) -> dict[str, dict[str, Any]]:
        """Return what has been noted, or noted differently, since ``earlier``."""
        return {
            kind: {name: entry for name, entry in entries.items() if before.get(name) != entry}
            for (kind, entries), before in zip(
                asdict(self).items(), asdict(earlier).values(), strict=True
            )
        }


class Journal:
    """Append-only file of finished cells; a torn last line is one unfinished cell.

    Attributes
    ----------
    finished : dict of str to dict
        ``rows`` and ``notes`` of each finished cell.
    """

    def __init__(self, path: Path, digest: str) -> None:
        self.path = path
        self.digest = digest
        self.finished: dict[str, dict[str, Any]] = {}
        self._noted = Notes()
        self._load()
        if self.finished:
            log.warning("resuming: %d finished cells kept", len(self.finished))

    def _load(self) -> None:
        if not self.path.exists():
            return
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
                digest, cell = entry["digest"], entry["cell"]
                done = {"rows": entry["rows"], "notes": entry["notes"]}
            except (ValueError, KeyError, TypeError):
                break
            if digest != self.digest:
                log.warning("configuration or code changed: unfinished run starts anew")
                self.start_anew()
                return
            self.finished[cell] = done
            self._noted.add(done["notes"])
        with atomic(self.path) as temporary:
            temporary.write_text("".join(self._line(*item) for item in self.finished.items()))

    def _line(self, cell: str, done: dict[str, Any]) -> str:
        return json.dumps({"digest": self.digest, "cell": cell, **done}) + "\n"

    def append(self, cell: str, rows: list[dict[str, Any]], notes: Notes) -> None:
        """Note a finished cell, its observations, and what has been noted since the last one."""
        done = {"rows": rows, "notes": notes.since(self._noted)}
        self._noted.add(done["notes"])
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(self._line(cell, done))

    def start_anew(self) -> None:
        """Forget the finished cells."""
        self.finished.clear()
        self._noted = Notes()
        self.discard()

    def discard(self) -> None:
        """Remove the file: the run is written in full, or starts anew."""
        self.path.unlink(missing_ok=True)
