"""The fingerprint of a stream: a matrix G = X^T W2 of n x o numbers (brief 2.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from common.graphs.projections import keyed_normal, stream
from projects.jlmetric.alignment import known_alignment, node_keys
from projects.jlmetric.arrays import arrays_on
from projects.jlmetric.histories import Histories, Limits
from projects.jlmetric.projection import MAPS, PARTNER, Gatherer, known_map

PARTNER_WIDTH = 16


@dataclass(frozen=True)
class Settings:
    """What fixes the maps, checked.

    Attributes
    ----------
    node_dim, graph_dim : int
        n and o; at least 1.
    seed : int
        Of both maps.
    align : str
        See :func:`projects.jlmetric.alignment.node_keys`, or ``sinkhorn``.
    partner : bool
        Whether entries say who the other end is.
    projection : str
        ``gaussian`` or ``hadamard``.
    device : str or torch.device
        ``"cpu"`` computes with numpy, everything else with PyTorch.
    """

    node_dim: int = 100
    graph_dim: int = 100
    seed: int = 42
    align: str = "id"
    partner: bool = False
    projection: str = "gaussian"
    device: Any = "cpu"

    def __post_init__(self) -> None:
        for name in ("node_dim", "graph_dim", "seed"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                raise ValueError(f"{name} must be an integer, got {value!r}")
        for name in ("node_dim", "graph_dim"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        known_map(self.projection)
        if known_alignment(self.align) == "sinkhorn" and self.partner:
            raise ValueError(
                "partner=True gives nodes vectors by their key, align='sinkhorn' has no keys: use "
                "align='id', 'first_seen' or 'activity', or partner=False"
            )


class Embedding:
    """The two maps with the settings that they follow from.

    Parameters
    ----------
    settings : Settings
        Checked settings.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.arrays = arrays_on(settings.device)
        self._maps = MAPS[settings.projection](
            settings.node_dim, settings.graph_dim, settings.seed, self.arrays
        )

    def node_vectors(self, histories: Histories) -> Any:
        """Return X = the projected histories, shape (N, n), in the order of ``histories.nodes``."""
        partners = None
        if self.settings.partner:
            partners = partner_vectors(node_keys(histories, self.settings.align), self.settings)
        return self._maps.node_vectors(Gatherer(histories, partners, self.arrays))

    def mix(self, x: Any, keys: np.ndarray) -> np.ndarray:
        """Return G = X^T W2 with the rows of W2 that belong to the keys; numpy, shape (n, o)."""
        return self.arrays.numpy(self._maps.mix(x, keys))

    def fingerprint(self, histories: Histories) -> np.ndarray:
        """Return G of a graph whose nodes have keys."""
        keys = node_keys(histories, self.settings.align)
        return self.mix(self.node_vectors(histories), keys)


def partner_vectors(keys: np.ndarray, settings: Settings) -> np.ndarray:
    """Return a random unit vector of 16 numbers per key, the same for equal keys."""
    vectors = keyed_normal(stream(settings.seed, PARTNER), keys, PARTNER_WIDTH)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def fingerprint(
    events: Any,
    *,
    node_dim: int = 100,
    graph_dim: int = 100,
    seed: int = 42,
    align: str = "id",
    limits: Limits | None = None,
    partner: bool = False,
    projection: str = "gaussian",
    device: Any = "cpu",
) -> np.ndarray:
    """Return the fingerprint of a stream of events.

    A node's history is the row of its events ``[msg', t', role]`` in the order of time, with
    features and time scaled to [0, 1] and role 0 for a source, 1 for a destination. W1 maps it to
    x_v in R^n. G = sum_v x_v w_v^T with the node's row w_v of W2.

    Parameters
    ----------
    events : EventStream, TemporalData, DataFrame, mapping or path of a CSV file
        See :meth:`common.graphs.events.EventStream.of`. Tensors may be on any device.
    node_dim, graph_dim : int
        n and o. The cosine of two fingerprints has a standard deviation of the order of
        1 / sqrt(min(n, o)) over seeds when the graphs differ; see ``calibrate``.
    seed : int
        Fixes both maps. The global random states are neither used nor changed.
    align : str
        ``id``, ``first_seen`` (as released) or ``activity``: what a row of W2 belongs to.
    limits : Limits, optional
        For scaling, such as the reference's; the stream's own by default.
    partner : bool
        Append to every entry a random unit vector of 16 numbers that belongs to the other end, so
        that topology is seen even without features. Not in the paper.
    projection : str
        ``gaussian`` or ``hadamard``.
    device : str or torch.device
        ``"cpu"`` computes with numpy, everything else (``"cuda"``) with PyTorch.

    Returns
    -------
    ndarray of float64, shape (n, o)

    Raises
    ------
    ValueError
        For an empty graph and for settings that are not allowed.

    Notes
    -----
    O(E F n + N n o) work, O(N n) memory and blocks of bounded size; no limit on the length of
    a history.

    Examples
    --------
    >>> events = {"src": [0, 0, 2], "dst": [1, 2, 1], "t": [0, 4, 9]}
    >>> fingerprint(events, node_dim=8, graph_dim=4).shape
    (8, 4)
    """
    settings = Settings(node_dim, graph_dim, seed, align, partner, projection, device)
    return Embedding(settings).fingerprint(Histories.of(events, limits))
