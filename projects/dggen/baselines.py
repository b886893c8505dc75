"""What DG-Gen is set beside: generators of one call shape, and link predictors of one interface."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from common.errors import known
from common.graphs.events import EventStream
from common.graphs.generators import GENERATORS
from projects.dggen.counts import CountModel
from projects.dggen.edgebank import EdgeBank
from projects.dggen.link_prediction import LinkScorer
from projects.dggen.model import DGGen

Sample = Callable[[int, np.random.Generator, float], EventStream]
LEARNED = ("activity_driven", "tigger")
NAMES = (*GENERATORS, *LEARNED)


def generator(
    name: str, train: EventStream, *, seed: int = 0, tigger: dict[str, Any] | None = None
) -> Sample:
    """Return ``sample(num_events, rng, start_time)`` of a generator fitted to training events.

    Parameters
    ----------
    name : str
        Among :data:`NAMES`.
    train : EventStream
        Training events.
    seed : int
        Of TIGGER's training.
    tigger : dict, optional
        Settings of :class:`projects.dggen.tigger.Tigger`.

    Raises
    ------
    ConfigError
        For an unknown name.

    Examples
    --------
    >>> train = EventStream.of({"src": [0, 1], "dst": [2, 3], "t": [0, 10]})
    >>> len(generator("bootstrap", train)(5, np.random.default_rng(0), 10.0))
    5
    """
    if known(name, NAMES, "generator") in GENERATORS:
        return lambda num, rng, start: GENERATORS[name](train, num, rng, start)
    if name == "activity_driven":
        from projects.dggen.activity import ActivityDriven

        return ActivityDriven().fit(train).sample
    from projects.dggen.tigger import Tigger

    return Tigger(seed=seed, **(tigger or {})).fit(train).sample


class DGGenLinks:
    """DG-Gen as a link predictor, log p(src) + log p(dst | src); moves the model's history on."""

    def __init__(self, model: DGGen) -> None:
        self._model = model

    def scores(self, src: np.ndarray, dst: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Return scores, shape (B,)."""
        return self._model.predict_link(src, dst, t)

    def observe(self, events: EventStream) -> None:
        """Add events to the history."""
        self._model.observe(events)


class EdgeBankLinks:
    """EdgeBank asked at the time of the events."""

    def __init__(self, window: float | None = None) -> None:
        self._bank = EdgeBank(window)

    def scores(self, src: np.ndarray, dst: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Return scores, shape (B,)."""
        return self._bank.score(src, dst, t)

    def observe(self, events: EventStream) -> None:
        """Remember events."""
        self._bank.update(events.src, events.dst, events.t)


class TGNLinks:
    """TGN trained for link prediction (the recipe of PyTorch Geometric's ``examples/tgn.py``).

    Parameters
    ----------
    train : EventStream
        Training events; the state is that after them.
    num_nodes : int
        Size of the table of nodes.
    device : str
        ``cpu`` or ``cuda``.
    **settings
        Of :func:`common.graphs.links.train_tgn`.
    """

    def __init__(
        self, train: EventStream, num_nodes: int, device: str = "cpu", **settings: Any
    ) -> None:
        from common.graphs.links import train_tgn

        self._origin, self._device = train.t[0], device
        self._tgn, self._predictor = train_tgn(
            train.shifted(), num_nodes=num_nodes, device=device, **settings
        )

    def scores(self, src: np.ndarray, dst: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Return logits, shape (B,)."""
        import torch

        from common.graphs.links import link_logits

        ends = (torch.from_numpy(np.asarray(end)).to(self._device) for end in (src, dst))
        with torch.no_grad():
            return link_logits(self._tgn, self._predictor, *ends)[0].cpu().numpy()

    def observe(self, events: EventStream) -> None:
        """Update memory and neighbours."""
        import torch

        from common.graphs.links import event_tensors

        src, dst, t, msg = event_tensors(events, self._device)
        with torch.no_grad():
            self._tgn.update(src, dst, t - self._origin, msg)


def link_scorers(
    model: DGGen,
    counts: CountModel,
    train: EventStream,
    val: EventStream,
    window: float,
    num_nodes: int,
    device: str = "cpu",
    tgn: dict[str, Any] | None = None,
) -> dict[str, LinkScorer]:
    """Return all link predictors, each after the training and validation events.

    Parameters
    ----------
    model : DGGen
        Fitted to ``train`` and ``val``.
    counts : CountModel
        Has counted them.
    train, val : EventStream
        Events before the test.
    window : float
        Memory of the second EdgeBank, the length of the test in time.
    num_nodes : int
        Size of the table of nodes.
    device : str
        Where TGN is trained.
    tgn : dict, optional
        Settings of TGN's training; None leaves TGN out.
    """
    fresh: dict[str, LinkScorer] = {
        "edgebank": EdgeBankLinks(),
        "edgebank-window": EdgeBankLinks(window),
    }
    for bank in fresh.values():
        bank.observe(train)
    if tgn is not None:
        fresh["tgn"] = TGNLinks(train, num_nodes, device, **tgn)
    for scorer in fresh.values():
        scorer.observe(val)
    return {"dggen": DGGenLinks(model), "counts": counts, **fresh}
