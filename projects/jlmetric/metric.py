"""The score through the interfaces of its field: a torchmetrics metric, an OGB-style evaluator."""

from __future__ import annotations

from typing import Any

from common.errors import require
from common.graphs.events import EventStream
from projects.jlmetric.fingerprint import Settings
from projects.jlmetric.histories import read
from projects.jlmetric.scores import (
    Against,
    comparable,
    compare,
    known_normalisation,
    known_score,
    limits_for,
)

torch = require("torch", "graph")

try:
    from torchmetrics import Metric

    WITH_TORCHMETRICS = True
except ImportError:
    Metric = torch.nn.Module
    WITH_TORCHMETRICS = False


class JLMetric(Metric):
    """JL-Metric of generated graphs against a reference, with update, compute and reset.

    Every ``update`` with a generated graph is one score; ``compute`` returns their mean (over
    samples of a generator, and over processes). The reference may be given once. It needs
    ``torchmetrics`` for states that are shared among processes and works without.

    Parameters
    ----------
    node_dim, graph_dim : int
        n and o.
    seed : int
        Of the maps; the global random states are neither used nor changed.
    score : str
        ``frobenius``, ``rows`` or ``columns``.
    align : str
        ``id``, ``first_seen``, ``activity`` or ``sinkhorn``.
    normalise : str
        ``own`` or ``reference``.
    partner : bool
        Whether entries of histories say who the other end is.
    projection : str
        ``gaussian`` or ``hadamard``.
    strict : bool
        Refuse events out of order instead of sorting them with a warning.
    reset_reference : bool
        Whether ``reset`` forgets the reference too.
    **kwargs
        For ``torchmetrics.Metric``, such as ``sync_on_compute``.

    Examples
    --------
    >>> metric = JLMetric(node_dim=20, graph_dim=20)
    >>> events = {"src": [0, 0, 2], "dst": [1, 2, 1], "t": [0, 4, 9]}
    >>> metric.update(reference=events, generated=events)
    >>> round(float(metric.compute()), 6)
    1.0
    """

    is_differentiable = False
    full_state_update = False
    higher_is_better = True

    def __init__(
        self,
        node_dim: int = 100,
        graph_dim: int = 100,
        seed: int = 42,
        score: str = "frobenius",
        align: str = "id",
        *,
        normalise: str = "own",
        partner: bool = False,
        projection: str = "gaussian",
        strict: bool = False,
        reset_reference: bool = True,
        **kwargs: Any,
    ) -> None:
        settings = Settings(node_dim, graph_dim, seed, align, partner, projection)
        known_score(score)
        known_normalisation(normalise)
        super().__init__(**kwargs)
        self.settings, self.score, self.normalise = settings, score, normalise
        self.strict, self.reset_reference = strict, reset_reference
        self._reference: EventStream | None = None
        self._against: Against | None = None
        for name in ("total", "count"):
            zero = torch.zeros((), dtype=torch.float64)
            if WITH_TORCHMETRICS:
                self.add_state(name, default=zero, dist_reduce_fx="sum")
            else:
                self.register_buffer(name, zero)
        if WITH_TORCHMETRICS:
            # float64 also in a model that is cast to half precision: differences can be 1e-5
            self.set_dtype(torch.float64)

    def update(self, *, reference: Any = None, generated: Any = None) -> None:
        """Set the reference, score a generated graph against it, or both.

        Parameters
        ----------
        reference : EventStream, TemporalData, DataFrame, mapping or path, optional
            Replaces the reference; the one of the last call by default.
        generated : the same kinds, optional
            One sample of the generator; adds one score.

        Raises
        ------
        ValueError
            If neither is given or there is no reference yet; see also ``compare``.
        """
        if reference is None and generated is None:
            raise ValueError("nothing to update with: pass reference=, generated= or both")
        if reference is not None:
            self._reference = read(reference, what="the reference graph", sort=not self.strict)
            self._against = None
        if generated is None:
            return
        if self._reference is None:
            raise ValueError("no reference yet: call update(reference=..., generated=...) first")
        generated = read(generated, what="the generated graph", sort=not self.strict)
        comparable(self._reference, generated, self.settings.align)
        if self._against is None:
            limits = limits_for(self._reference, self.normalise)
            self._against = Against(self._reference, self.settings, score=self.score, limits=limits)
        self.total += self._against(generated)
        self.count += 1

    def compute(self) -> Any:
        """Return the mean score of all updates, a float64 tensor of no dimensions.

        Raises
        ------
        RuntimeError
            If no generated graph has been scored.
        """
        if float(self.count) == 0:
            raise RuntimeError("nothing to compute: call update(generated=...) first")
        return self.total / self.count

    def reset(self) -> None:
        """Forget the scores and, with ``reset_reference``, the reference."""
        if WITH_TORCHMETRICS:
            super().reset()
        else:
            self.total.zero_()
            self.count.zero_()
        if self.reset_reference:
            self._reference = self._against = None


class JLEvaluator:
    """The score with the call shape of the released package (and of OGB's evaluators).

    The defaults are the released definitions: mean cosine of the columns, rows of W2 by first
    appearance, every graph scaled by its own limits. The random numbers are not the released ones,
    so scores agree in distribution over seeds only.

    Parameters
    ----------
    node_dim, graph_dim, seed
        As in ``compare``.
    score, align, normalise : str
        As in ``compare``; ``score="frobenius", align="id"`` is the recommended reading.

    Examples
    --------
    >>> events = {"src": [0, 0, 2], "dst": [1, 2, 1], "t": [0, 4, 9]}
    >>> result = JLEvaluator().eval({"reference": events, "generated": events})
    >>> {name: round(value, 6) for name, value in result.items()}
    {'JL-Metric': 1.0}
    """

    expected_input_format = (
        "a dict with keys 'reference' and 'generated': torch_geometric.data.TemporalData "
        "(src, dst, t, msg), a frame with columns src, dst, t, msg_*, or the path of a CSV file"
    )
    expected_output_format = "{'JL-Metric': float}, at most 1, higher is better"

    def __init__(
        self,
        node_dim: int = 100,
        graph_dim: int = 100,
        seed: int = 42,
        *,
        score: str = "columns",
        align: str = "first_seen",
        normalise: str = "own",
    ) -> None:
        Settings(node_dim, graph_dim, seed, align)
        known_score(score)
        known_normalisation(normalise)
        self._options = {
            "node_dim": node_dim,
            "graph_dim": graph_dim,
            "seed": seed,
            "score": score,
            "align": align,
            "normalise": normalise,
        }

    def eval(self, input_dict: dict[str, Any]) -> dict[str, float]:
        """Return ``{"JL-Metric": score}`` of ``{"reference": ..., "generated": ...}``.

        Raises
        ------
        ValueError
            If a key is missing; see also ``compare``.
        """
        if missing := [key for key in ("reference", "generated") if key not in input_dict]:
            raise ValueError(
                f"no {' and no '.join(missing)} among {sorted(input_dict)}; expected "
                f"{self.expected_input_format}"
            )
        reference, generated = input_dict["reference"], input_dict["generated"]
        return {"JL-Metric": compare(reference, generated, **self._options)}
