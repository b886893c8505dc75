"""The journal of an unfinished run: which cells are done, and what they observed."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from common.results import atomic

log = logging.getLogger(__name__)


class Journal:
    """Append-only file of finished cells; a torn last line is one unfinished cell."""

    def __init__(self, path: Path, digest: str) -> None:
        self.path = path
        self.digest = digest
        self.finished: dict[str, list[dict[str, Any]]] = {}
        self._load()
        if self.finished:
            log.warning("resuming: %d finished cells kept", len(self.finished))

    def _load(self) -> None:
        if not self.path.exists():
            return
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                break
            if entry["digest"] != self.digest:
                log.warning("configuration or code changed: unfinished run starts anew")
                self.finished.clear()
                self.path.unlink()
                return
            self.finished[entry["cell"]] = entry["rows"]
        self._rewrite()

    def _rewrite(self) -> None:
        with atomic(self.path) as temporary:
            temporary.write_text("".join(map(self._line, self.finished, self.finished.values())))

    def _line(self, cell: str, rows: list[dict[str, Any]]) -> str:
        return json.dumps({"digest": self.digest, "cell": cell, "rows": rows}, default=str) + "\n"

    def append(self, cell: str, rows: list[dict[str, Any]]) -> None:
        """Note a finished cell and its observations."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(self._line(cell, rows))

    def discard(self) -> None:
        """Remove the journal: the run is written in full."""
        self.path.unlink(missing_ok=True)
