"""Where a model stands in time: the state after a stream of events, and excursions from it."""

from __future__ import annotations

from typing import Literal

import torch

from common.errors import known
from projects.dggen.encoding import Batch, Past
from projects.dggen.network import Network
from projects.dggen.scores import ScoreTable

Start = Literal["history", "empty"]
STARTS = ("history", "empty")


class History:
    """The events that a model goes on from.

    The network has one state. It is that of the history, until :meth:`leave` puts this aside for
    an excursion (scoring a stream, sampling one); the next use brings it back.

    Parameters
    ----------
    network : Network
        Switched to evaluation and reset: the history is empty.
    sources, destinations : LongTensor
        Candidates of the scores.

    Attributes
    ----------
    past : Past or None
        Times of the first and the last event, None without events.
    """

    def __init__(self, network: Network, sources: torch.Tensor, destinations: torch.Tensor) -> None:
        self.network, self.sources, self.destinations = network, sources, destinations
        self.past: Past | None = None
        self._table: ScoreTable | None = None
        self._kept: dict[str, torch.Tensor] | None = None
        network.eval()
        network.tgn.reset()

    @property
    def num_events(self) -> int:
        """Number of events."""
        return self.network.tgn.num_events if self._kept is None else len(self._kept["log_t"])

    def _scores(self) -> ScoreTable:
        return ScoreTable(self.network, self.sources, self.destinations)

    def table(self) -> ScoreTable:
        """Return the scores after the history."""
        if self._kept is not None:
            self.network.tgn.restore(self._kept)
            self._kept = None
        if self._table is None:
            self._table = self._scores()
        return self._table

    def observe(self, batches: list[Batch], past: Past | None) -> None:
        """Add events; ``past`` is what they leave."""
        if self._kept is not None:
            self.table()
        for batch in batches:
            if self._table is None:
                self.network.update(batch)
            else:
                self._table.advance(batch)
        self.past = past

    def keep(self) -> dict[str, torch.Tensor]:
        """Put the state aside and return it, so that the network may move on."""
        if self._kept is None:
            self._kept = self.network.tgn.snapshot()
        return self._kept

    def load(self, state: dict[str, torch.Tensor], past: Past | None) -> None:
        """Take over a state that :meth:`keep` returned."""
        self._table, self._kept, self.past = None, state, past

    def leave(self, start: Start) -> tuple[ScoreTable, Past | None]:
        """Return scores that may move on, and what came before."""
        known(start, STARTS, "start")
        away, table = self._kept is not None, self._table
        state, self._table = self.keep(), None
        if start == "empty":
            self.network.tgn.reset()
            return self._scores(), None
        if away:
            self.network.tgn.restore(state)
        return self._scores() if away or table is None else table, self.past
