"""OSGD for torchjd: the same direction from a Jacobian, or its weights from a Gramian.

torchjd concatenates all parameters, so this is ``per="global"`` of the optimiser.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from common.errors import require
from projects.osgd.projection import Normalize, combination_weights, gram_matrix

aggregation = require("torchjd.aggregation", "osgd")


class OSGDWeighting(aggregation.Weighting):
    """Weights of the tasks' gradients from their Gramian, for torchjd's ``autogram``.

    Parameters
    ----------
    order, normalize, alphas
        See :func:`projects.osgd.projection.combination_weights`.

    Examples
    --------
    >>> OSGDWeighting()(torch.tensor([[1.0, -3.0], [-3.0, 10.0]])).tolist()
    [4.0, 1.0]
    """

    def __init__(
        self,
        order: Sequence[int] | None = None,
        normalize: Normalize = False,
        alphas: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.options = {"order": order, "normalize": normalize, "alphas": alphas}

    def forward(self, gramian: Tensor, /) -> Tensor:
        """Return the weights, shape (N,), of a Gramian (N, N)."""
        weights = combination_weights(gramian.detach().double().cpu().numpy(), **self.options)
        return torch.from_numpy(weights).to(gramian)


class OSGDAggregator(aggregation.WeightedAggregator):
    """Direction of a Jacobian, for torchjd's ``autojac``; its Gram matrix is taken in float64.

    Parameters
    ----------
    order, normalize, alphas
        See :func:`projects.osgd.projection.combination_weights`.

    Examples
    --------
    >>> OSGDAggregator()(torch.tensor([[1.0, 0.0], [-3.0, 1.0]])).tolist()
    [1.0, 1.0]
    """

    def __init__(
        self,
        order: Sequence[int] | None = None,
        normalize: Normalize = False,
        alphas: Sequence[float] | None = None,
    ) -> None:
        super().__init__(OSGDWeighting(order, normalize, alphas) << gram_matrix)

    def forward(self, matrix: Tensor, /) -> Tensor:
        """Return the direction, shape (P,), of a Jacobian (N, P)."""
        return super()._combine(matrix, self.weighting(matrix.detach()).to(matrix.dtype))
