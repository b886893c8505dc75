"""The life of a model: trained on a stream, moved on by later events, saved and loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from common.errors import known
from common.graphs.events import EventStream
from projects.dggen.config import DGGenConfig, NotFittedError
from projects.dggen.encoding import Batch, Encoding, Past
from projects.dggen.history import STARTS, History, Start
from projects.dggen.network import Network
from projects.dggen.scores import ScoreTable
from projects.dggen.training import check_memory, mean_loss, train


class StreamModel:
    """A network, what the data fixed around it, and the stream that it goes on from.

    Parameters and attributes are those of :class:`projects.dggen.DGGen`, which asks the questions.
    """

    def __init__(
        self, config: DGGenConfig | dict[str, Any] | str | Path | None = None, **changes: Any
    ) -> None:
        config = DGGenConfig.of(config)
        self.config = DGGenConfig.of({**config.model_dump(), **changes}) if changes else config
        self.network_: Network | None = None

    # -- training --------------------------------------------------------------------------

    def fit(
        self,
        data: Any,
        val: Any = None,
        callback: Callable[[int, dict[str, float]], Any] | None = None,
        progress: bool = True,
        *,
        sources: Sequence[int] | None = None,
        destinations: Sequence[int] | None = None,
        sort: bool = False,
    ) -> Self:
        """Train from scratch by maximum likelihood.

        Parameters
        ----------
        data, val : TemporalData, DataFrame, path of a CSV file or EventStream
            Training events, and later ones that choose the epoch whose weights are kept.
        callback : callable, optional
            Called with the epoch's number and its metrics. Inside it the model has the weights of
            that epoch: it may score, sample and save.
        progress : bool
            Show a bar.
        sources, destinations : sequence of int, optional
            All ids that may ever act and be acted on; by default those of ``data`` and ``val``.
        sort : bool
            Sort events that are out of order, instead of refusing them.

        Returns
        -------
        Self
            Itself.

        Raises
        ------
        ValueError
            For events out of order, fewer events than one batch, an empty ``val``, columns that
            do not fit ``config.columns``, ids that ``config.num_nodes`` has no room for, or a
            training step that would not fit into ``config.memory_limit``.
        """
        events, later = self._streams(data, val, sort)
        self.network_, self.losses_ = None, []
        network = self._prepare(events, later, sources, destinations)
        num_candidates = len(self.sources_) + len(self.destinations_)
        check_memory(self.config, num_candidates, len(events), len(self.encoding_.laws))
        batch = self._batch(events, None)
        later_batch = None if later is None else self._batch(later, Past.after(None, events))

        def validate() -> float:
            history = History(network, self.sources_, self.destinations_)
            history.observe(batch.split(self.config.batch_size), None)
            return mean_loss(history.table(), later_batch, self.config.batch_size)

        def called(epoch: int, metrics: dict[str, float]) -> None:
            self.losses_.append(metrics)
            self._take(network, events, later)
            callback(epoch, metrics)
            self.network_ = None

        with torch.random.fork_rng(devices=_cuda_devices(network)):
            torch.manual_seed(self.config.seed)
            self.losses_ = train(
                network,
                batch,
                self.sources_,
                self.destinations_,
                self.config,
                validate=validate if later is not None else None,
                callback=called if callback is not None else None,
                progress=progress,
            )
        self._take(network, events, later)
        return self

    def _streams(self, data: Any, val: Any, sort: bool) -> tuple[EventStream, EventStream | None]:
        """Return the checked training and validation events."""
        events = EventStream.of(data, sort=sort)
        later = None if val is None else EventStream.of(val, sort=sort)
        self.num_self_loops_ = int((events.src == events.dst).sum())
        if self.config.drop_self_loops:
            events = events[events.src != events.dst]
            later = None if later is None else later[later.src != later.dst]
        if len(events) < self.config.batch_size:
            raise ValueError(
                f"{len(events)} training events are fewer than one batch; pass more events or a "
                f"smaller batch_size than {self.config.batch_size}"
            )
        if later is not None and not len(later):
            raise ValueError("the validation stream is empty; pass val=None to go without")
        return events, later

    def _take(self, network: Network, events: EventStream, later: EventStream | None) -> None:
        """Be this network, with a history that its weights make of the events."""
        self.network_ = network
        self.reset().observe(events)
        if later is not None:
            self.observe(later)

    def _prepare(
        self,
        events: EventStream,
        later: EventStream | None,
        sources: Sequence[int] | None,
        destinations: Sequence[int] | None,
    ) -> Network:
        """Fix everything that does not come from gradients, and make the network."""
        config = self.config
        streams = [events] if later is None else [events, later]
        ids = []
        for given, end in ((sources, "src"), (destinations, "dst")):
            seen = [getattr(stream, end) for stream in streams]
            ids.append(
                np.unique(
                    np.concatenate(
                        [*seen, np.asarray([] if given is None else given, dtype=np.int64)]
                    )
                )
            )
        self.bipartite_ = not np.intersect1d(*ids).size
        needed = int(max(ids[0].max(), ids[1].max())) + 1
        if config.num_nodes is not None and config.num_nodes < needed:
            raise ValueError(f"the data hold node id {needed - 1}; num_nodes={config.num_nodes}")
        self.encoding_ = Encoding.fit(events, config.num_nodes or needed, config)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            network = self._network(self.encoding_.num_nodes)
        self.sources_, self.destinations_ = (torch.from_numpy(i).to(config.device) for i in ids)
        return network

    def _network(self, num_nodes: int) -> Network:
        encoding = self.encoding_
        network = Network(self.config, num_nodes, encoding.laws, encoding.scaling)
        return network.to(self.config.device)

    def _fitted(self) -> Network:
        if self.network_ is None:
            raise NotFittedError("this DGGen has not been fitted; call fit(data) or DGGen.load")
        return self.network_

    def _batch(self, events: EventStream, past: Past | None) -> Batch:
        return self.encoding_.batch(events, past, self.config.device)

    def _excursion(self, events: EventStream, start: Start) -> tuple[Batch, ScoreTable]:
        """Events as tensors, and scores before them that may move on."""
        self._fitted()
        known(start, STARTS, "start")
        past = self.history_.past if start == "history" else None
        batch = self.encoding_.batch(events, past, self.config.device)
        return batch, self.history_.leave(start)[0]

    # -- state -----------------------------------------------------------------------------

    @property
    def num_events_(self) -> int:
        """Number of events in the history."""
        self._fitted()
        return self.history_.num_events

    def observe(self, data: Any) -> Self:
        """Add events to the history; scores and samples go on from them.

        Parameters
        ----------
        data : TemporalData, DataFrame, path or EventStream
            Events at or after the last one of the history.
        """
        self._fitted()
        events, history = EventStream.of(data, sort=False), self.history_
        batch = self._batch(events, history.past)
        past = Past.after(history.past, events)
        history.observe(batch.split(self.config.batch_size), past)
        return self

    def reset(self) -> Self:
        """Forget the history; weights stay."""
        self.history_ = History(self._fitted(), self.sources_, self.destinations_)
        return self

    # -- files -----------------------------------------------------------------------------

    def save(self, folder: str | Path) -> None:
        """Write ``config.json`` and ``weights.pt`` (weights, candidates, history)."""
        from projects.dggen.checkpoint import save

        self._fitted()
        save(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path, config: Any = None, device: str | None = None) -> Self:
        """Read a folder of :meth:`save`; nothing is unpickled but tensors.

        Parameters
        ----------
        folder : str or Path
            The folder.
        config : DGGenConfig or what it is made of, optional
            What the checkpoint is expected to have.
        device : str, optional
            Where to load it, by default where it was trained.

        Raises
        ------
        ConfigError
            Listing every setting, version or tensor that does not match.
        """
        from projects.dggen.checkpoint import load

        return load(cls, Path(folder), config, device)


def _cuda_devices(network: Network) -> list[torch.device]:
    return [network.device] if network.device.type == "cuda" else []
