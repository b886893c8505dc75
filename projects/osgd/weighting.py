"""Weights of the losses that follow from the losses themselves, and from gradient norms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from projects.osgd.gradients import GradientMatrix
from projects.osgd.optimizer import PerTaskOptimizer
from projects.osgd.wrapper import Losses


class AdaLoss(nn.Module):
    """Weights inversely proportional to the running mean of each loss; they add up to N.

    H. Hu et al., Learning Anytime Predictions in Neural Networks via Adaptive Loss Balancing,
    AAAI 2019, section 3.

    Parameters
    ----------
    tasks : int
        Number of losses N.
    decay : float
        Of the running mean, which starts at the first losses.

    Examples
    --------
    >>> float(AdaLoss(2)(torch.tensor([3.0, 1.0])))  # weights 1/2 and 3/2
    3.0
    """

    def __init__(self, tasks: int, decay: float = 0.99) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay={decay}: a share of at least 0 and below 1")
        self.decay = decay
        self.register_buffer("means", torch.full((tasks,), float("nan")))

    def forward(self, values: Tensor) -> Tensor:
        """Return the weighted sum of losses of shape (N,)."""
        now = values.detach().to(self.means)
        started = ~torch.isnan(self.means)
        self.means = torch.where(started, self.means.lerp(now, 1 - self.decay), now)
        inverse = 1 / self.means.clamp_min(1e-12)
        weights = len(inverse) * inverse / inverse.sum()
        return (weights.to(values) * values).sum()


class GradNorm(PerTaskOptimizer):
    """Weights that bring the tasks' gradient norms to a common, progress-dependent size.

    Z. Chen et al., GradNorm: Gradient Normalization for Adaptive Loss Balancing in Deep Multitask
    Networks, ICML 2018, algorithm 1. Norms are over all parameters that several tasks share.

    Parameters
    ----------
    base : Optimizer
        Takes the step.
    tasks : int or sequence of str
        How many losses a step takes, or their names.
    asymmetry : float
        The paper's alpha: how strongly slow tasks are favoured.
    rate : float
        Learning rate of the weights.
    **options
        See :class:`projects.osgd.optimizer.PerTaskOptimizer`.
    """

    def __init__(
        self,
        base: torch.optim.Optimizer,
        tasks: int | Sequence[str],
        *,
        asymmetry: float = 1.5,
        rate: float = 0.025,
        **options: Any,
    ) -> None:
        super().__init__(base, tasks, **options)
        self.asymmetry, self.rate = asymmetry, rate
        self.weights = np.ones(len(self.tasks))
        self.first: np.ndarray | None = None
        self._losses = self.weights

    def backward(self, losses: Losses, **options: Any) -> None:
        """See :meth:`PerTaskOptimizer.backward`."""
        super().backward(losses, **options)
        self._losses = np.array([float(loss.detach()) for loss in losses])

    def direct(self, matrix: GradientMatrix) -> None:
        """Combine the gradients with the weights, then move the weights."""
        matrix.combine(np.tile(self.weights, (matrix.num_spaces, 1)))
        squares = np.diagonal(matrix.grams(), axis1=1, axis2=2).sum(0)
        self.weights = self.moved(np.sqrt(squares))

    def moved(self, norms: np.ndarray) -> np.ndarray:
        """Weights after one step on sum_k |w_k ||g_k|| - mean * r_k^alpha|, for norms ||g_k||."""
        self.first = self._losses if self.first is None else self.first
        progress = self._losses / np.maximum(self.first, 1e-12)
        inverse_rate = progress / max(progress.mean(), 1e-12)
        weighted = self.weights * norms
        target = weighted.mean() * inverse_rate**self.asymmetry
        weights = self.weights - self.rate * np.sign(weighted - target) * norms
        weights = np.maximum(weights, 1e-3)
        return len(weights) * weights / weights.sum()
