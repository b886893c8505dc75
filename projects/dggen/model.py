"""DGGen: score events, predict links, fill in features, sample new streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from common.errors import known
from common.graphs.events import EventStream
from projects.dggen.history import Start
from projects.dggen.imputation import impute_stream
from projects.dggen.sampling import Clock, Condition, Rounding, generate, with_new_nodes
from projects.dggen.stream_model import StreamModel

if TYPE_CHECKING:
    import pandas as pd


class DGGen(StreamModel):
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

        batch, table = self._excursion(EventStream.of(data, sort=False), start)
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
        self._fitted()
        events, missing = EventStream.of(data, sort=False), np.asarray(missing, dtype=bool)
        if missing.shape != events.msg.shape:
            raise ValueError(f"missing has shape {missing.shape}; msg has {events.msg.shape}")
        batch, table = self._excursion(events, start)
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
