"""DGGen: fit a stream, score events, predict links, sample new streams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from common.errors import known
from common.graphs.events import EventStream
from projects.dggen.config import DGGenConfig, NotFittedError
from projects.dggen.encoding import Batch, Encoding, Past
from projects.dggen.history import STARTS, History, Start
from projects.dggen.network import Network
from projects.dggen.sampling import Clock, Condition, Rounding, generate, with_new_nodes
from projects.dggen.training import check_memory, mean_loss, train

if TYPE_CHECKING:
    import pandas as pd


class DGGen:
    """Generative model of a continuous-time dynamic graph: p(src) p(dst | src) p(dt, msg | ends).

    Parameters
    ----------
    config : DGGenConfig, mapping or path of a YAML file, optional
        Settings; see :class:`DGGenConfig`.
    **changes
        Settings that differ from it.

    Attributes
    ----------
    network_ : Network
        Encoder and decoder.
    sources_, destinations_ : LongTensor
        Sorted ids that the two softmaxes run over.
    losses_ : list of dict
        Metrics of every epoch.
    num_self_loops_ : int
        Training events with src = dst, dropped ones included.
    num_events_ : int
        Events of the history, the stream that the model goes on from.

    Notes
    -----
    The state is explicit. After :meth:`fit` the history holds the training events (then the
    validation events); :meth:`log_prob` and :meth:`sample` start from it or from nothing and leave
    it as it was; :meth:`observe` adds to it. An event is always scored before it is shown.

    References
    ----------
    R. Hosseini, F. Simini, V. Vishwanath, H. Hoffmann, A Deep Probabilistic Framework for
    Continuous Time Dynamic Graph Generation, AAAI 2025, arXiv 2412.15582.

    Examples
    --------
    >>> stream = EventStream.of({"src": [0, 1] * 20, "dst": [2, 3] * 20, "t": range(40)})
    >>> model = DGGen(embedding_dim=8, memory_dim=8, time_dim=8, epochs=2, batch_size=10)
    >>> model = model.fit(stream[:30], progress=False)
    >>> list(model.log_prob(stream[30:]).columns)
    ['src', 'dst', 'time', 'features', 'total']
    >>> len(model.sample(5, seed=0))
    5
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
    ) -> DGGen:
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
        DGGen
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

    # -- state -----------------------------------------------------------------------------

    @property
    def num_events_(self) -> int:
        """Number of events in the history."""
        self._fitted()
        return self.history_.num_events

    def observe(self, data: Any) -> DGGen:
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

    def reset(self) -> DGGen:
        """Forget the history; weights stay."""
        self.history_ = History(self._fitted(), self.sources_, self.destinations_)
        return self

    # -- scores ----------------------------------------------------------------------------

    def log_prob(
        self, data: Any, start: Start = "history", batch_size: int | None = None
    ) -> pd.DataFrame:
        """Return the log likelihood of every event given the events before its batch.

        Parameters
        ----------
        data : TemporalData, DataFrame, path or EventStream
            Events; with ``start="history"`` they follow the history.
        start : {"history", "empty"}
            State before the first event.
        batch_size : int, optional
            Events that are scored from one state, ``config.batch_size`` by default; 1 is exact.

        Returns
        -------
        DataFrame
            One row per event: ``src`` log p(src), ``dst`` log p(dst | src), ``time`` log density
            of dt (per unit of t), ``features`` log density of the features (raw units), and their
            sum ``total``. Ids outside ``sources_`` and ``destinations_`` have minus infinity.

        Raises
        ------
        NotFittedError
            Before :meth:`fit`.
        ValueError
            For another number of features, unknown levels, ids without room in the table.
        """
        import pandas as pd

        self._fitted()
        events = EventStream.of(data, sort=False)
        known(start, STARTS, "start")
        batch = self._batch(events, self.history_.past if start == "history" else None)
        table, _ = self.history_.leave(start)
        rows = []
        for part in batch.split(batch_size or self.config.batch_size):
            log_p_src, log_p_dst = table.log_p_links(part.src, part.dst)
            columns = table.log_p_columns(part)
            rows.append(torch.cat([log_p_src[:, None], log_p_dst[:, None], columns], dim=1))
            table.advance(part)
        width = 2 + len(self.encoding_.laws)
        terms = torch.cat(rows).double().cpu().numpy() if rows else np.empty((0, width))
        # Densities of raw values: those of the seen values over the scale.
        terms[:, 2:] -= np.log(self.encoding_.scaling.scale)
        frame = pd.DataFrame(terms[:, :3], columns=["src", "dst", "time"])
        frame["features"] = terms[:, 3:].sum(axis=1)
        frame["total"] = frame.sum(axis=1)
        return frame

    def anomaly_scores(self, data: Any, start: Start = "history") -> np.ndarray:
        """Return the surprise -log p(event) of every event, shape (E,); higher is stranger."""
        return -self.log_prob(data, start)["total"].to_numpy()

    def impute(
        self,
        data: Any,
        missing: np.ndarray,
        start: Start = "history",
        draws: int = 64,
        seed: int = 0,
    ) -> EventStream:
        """Return the events with missing features filled in.

        Parameters
        ----------
        data : TemporalData, DataFrame, path or EventStream
            Events, with any legal value where one is missing.
        missing : array of bool, shape (E, F)
            True where a feature is missing.
        start : {"history", "empty"}
            State before the first event.
        draws, seed : int
            Weighted draws per event, and their seed; see :mod:`projects.dggen.imputation`.

        Returns
        -------
        EventStream
            Posterior means of continuous features, most probable levels of categorical ones.

        Raises
        ------
        ValueError
            If ``missing`` has another shape than the features.
        """
        from projects.dggen.imputation import impute_stream

        self._fitted()
        events, missing = EventStream.of(data, sort=False), np.asarray(missing, dtype=bool)
        if missing.shape != events.msg.shape:
            raise ValueError(f"missing has shape {missing.shape}; msg has {events.msg.shape}")
        known(start, STARTS, "start")
        batch = self._batch(events, self.history_.past if start == "history" else None)
        table, _ = self.history_.leave(start)
        generator = torch.Generator(self.config.device).manual_seed(seed)
        mask = torch.from_numpy(np.pad(missing, ((0, 0), (1, 0)))).to(self.config.device)
        filled = impute_stream(table, batch, mask, draws, generator, self.config.batch_size)
        msg = self.encoding_.scaling.raw(filled.cpu().numpy())[:, 1:]
        return replace(events, msg=np.where(missing, msg, events.msg))

    def predict_link(self, src: Any, dst: Any, t: Any = None) -> np.ndarray:
        """Score links after the history: log p(src) + log p(dst | src), the DGB protocol's score.

        Parameters
        ----------
        src, dst : array of int, shape (B,)
            Ids; those outside the candidate sets get minus infinity.
        t : optional
            Accepted for the call shape of link predictors; the paper's score has no time term.

        Returns
        -------
        ndarray, shape (B,)
        """
        self._fitted()
        ends = [np.atleast_1d(np.asarray(end, dtype=np.int64)) for end in (src, dst)]
        if any(end.size and end.max() >= self.network_.num_nodes for end in ends):
            raise ValueError(f"ids must be below num_nodes={self.network_.num_nodes}")
        table = self.history_.table()
        tensors = [torch.from_numpy(end).to(self.config.device) for end in ends]
        log_p_src, log_p_dst = table.log_p_links(*tensors)
        return (log_p_src + log_p_dst).cpu().numpy()

    # -- new streams -----------------------------------------------------------------------

    def sample(
        self,
        num_events: int,
        seed: int = 0,
        warm_start: Start = "history",
        start_time: float | None = None,
        src: int | Sequence[int] | None = None,
        dst: int | Sequence[int] | None = None,
        time_range: tuple[float, float] | None = None,
        num_new_nodes: int | tuple[int, int] = 0,
        batch_size: int = 10,
        rounding: Rounding = "stochastic",
    ) -> EventStream:
        """Generate a stream.

        Parameters
        ----------
        num_events : int
            Number of events; at most so many with ``time_range``.
        seed : int
            Of all draws.
        warm_start : {"history", "empty"}
            Go on after the history, or start from an empty graph (as released).
        start_time : float, optional
            Time that the first span is added to; by default the last one of the history, or 0.
        src, dst : int or sequence of int, optional
            Condition on these ends: events follow p(src, dst | src and dst allowed).
        time_range : tuple of float, optional
            Start here and end before an event would pass the second time.
        num_new_nodes : int or (int, int)
            Ids beyond the table that training never saw, as sources and as destinations; a single
            number are new sources, and destinations too unless the graph is bipartite.
        batch_size : int
            Events drawn from one state: the paper's 10; 1 is exact and slower.
        rounding : {"stochastic", "floor", "none"}
            floor(dt + U), floor(dt) as released, or no rounding; in units of the resolution.

        Returns
        -------
        EventStream

        Raises
        ------
        NotFittedError
            Before :meth:`fit`.
        ValueError
            For ``num_events`` or ``batch_size`` below 1, ends that are no candidates, or a time
            range that is empty.
        """
        self._fitted()
        if num_events < 1 or batch_size < 1:
            raise ValueError(f"{num_events=} and {batch_size=} must be at least 1")
        known(rounding, ("stochastic", "floor", "none"), "rounding")
        if time_range is not None and time_range[1] < time_range[0]:
            raise ValueError(f"time_range={time_range} ends before it begins")
        table, past = self.history_.leave(warm_start)
        if start_time is None:
            start_time = time_range[0] if time_range else (past.last if past else 0.0)
        clock = Clock(
            float(start_time),
            past.origin if past else float(start_time),
            self.config.resolution,
            rounding,
            time_range[1] if time_range else None,
        )
        table = with_new_nodes(table, num_new_nodes, self.bipartite_, self._network)
        table.refresh = self.config.refresh
        drawn = generate(
            table,
            self.encoding_.scaling,
            num_events,
            clock=clock,
            batch_size=batch_size,
            seed=seed,
            condition=Condition.of(table, src, dst),
        )
        return EventStream(**drawn, name="dggen", columns=self.encoding_.names)

    # -- files -----------------------------------------------------------------------------

    def save(self, folder: str | Path) -> None:
        """Write ``config.json`` and ``weights.pt`` (weights, candidates, history)."""
        from projects.dggen.checkpoint import save

        self._fitted()
        save(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path, config: Any = None, device: str | None = None) -> DGGen:
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
