"""What the paper compares against, each an optimiser that takes one loss per task.

Gradient methods and learned loss weights come from torchjd, a well-kept library of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from common.errors import did_you_mean, require
from projects.osgd.gradients import GradientMatrix
from projects.osgd.optimizer import OSGD, PerTaskOptimizer
from projects.osgd.weighting import AdaLoss, GradNorm
from projects.osgd.wrapper import Losses, LossesOptimizer, evaluated


class SummedLoss(LossesOptimizer):
    """One backward pass of the sum of the losses, or of what a scalariser makes of them.

    Parameters
    ----------
    base : Optimizer
        Takes the step.
    tasks : int or sequence of str
        How many losses a step takes, or their names.
    scalarizer : Module, optional
        Maps losses of shape (N,) to a scalar, such as those of ``torchjd.scalarization``. Its
        parameters are learned along, without weight decay.
    skip_nonfinite : bool
        See :class:`projects.osgd.wrapper.LossesOptimizer`.

    Examples
    --------
    >>> w = nn.Parameter(torch.zeros(2))
    >>> _ = SummedLoss(torch.optim.SGD([w], lr=1.0), 2).step([w[0], -3 * w[0] + w[1]])
    >>> w.tolist()
    [2.0, -1.0]
    """

    def __init__(
        self,
        base: torch.optim.Optimizer,
        tasks: int | Sequence[str],
        scalarizer: nn.Module | None = None,
        *,
        skip_nonfinite: bool = False,
    ) -> None:
        super().__init__(base, tasks, skip_nonfinite=skip_nonfinite)
        self.scalarizer = scalarizer
        if scalarizer is not None and (learned := list(scalarizer.named_parameters())):
            named = "param_names" in self.param_groups[0]
            params = learned if named else [parameter for _, parameter in learned]
            self.add_param_group({"params": params, "weight_decay": 0.0})

    def backward(self, losses: Losses) -> bool:
        """Add the gradients of the sum to ``.grad``; False if the losses are not finite."""
        if not self.check_losses(losses):
            return False
        if self.scalarizer is None:
            total = sum(losses)
        else:
            total = self.scalarizer(torch.stack(tuple(losses)))
        total.backward()
        return True

    def step(self, losses: Losses | Callable[[], Losses] | None = None) -> Losses | None:
        """Make one step; see :meth:`projects.osgd.optimizer.PerTaskOptimizer.step`."""
        if losses is not None:
            losses = evaluated(losses)
            if not self.backward(losses):
                return losses
        self.base.step()
        return losses


class Aggregated(PerTaskOptimizer):
    """Gradients combined by an aggregator of torchjd, over the parameters that tasks share.

    Parameters
    ----------
    base : Optimizer
        Takes the step.
    tasks : int or sequence of str
        How many losses a step takes, or their names.
    aggregator : callable
        Maps the gradients (N, P) to a direction (P,).
    **options
        See :class:`projects.osgd.optimizer.PerTaskOptimizer`.
    """

    def __init__(
        self,
        base: torch.optim.Optimizer,
        tasks: int | Sequence[str],
        aggregator: Callable[[Tensor], Tensor],
        **options: Any,
    ) -> None:
        super().__init__(base, tasks, **options)
        self.aggregator = aggregator

    def direct(self, matrix: GradientMatrix) -> None:
        """See :meth:`projects.osgd.optimizer.PerTaskOptimizer.direct`."""
        shared = matrix.shared()
        if shared.shape[1]:
            matrix.set_shared(self.aggregator(shared))


def _summed(base: torch.optim.Optimizer, tasks: int, make: Callable[[int], nn.Module]) -> Any:
    return SummedLoss(base, tasks, make(tasks))


def _torchjd(
    base: torch.optim.Optimizer, tasks: int, name: str, takes_tasks: bool = False, **options: Any
) -> Any:
    make = getattr(require("torchjd.aggregation", "osgd"), name)
    return Aggregated(
        base, tasks, make(n_tasks=tasks, **options) if takes_tasks else make(**options)
    )


def _uncertainty(tasks: int) -> nn.Module:
    return require("torchjd.scalarization", "osgd").UW(tasks)


METHODS: dict[str, Callable[[torch.optim.Optimizer, int], LossesOptimizer]] = {
    "joint": SummedLoss,
    "adaloss": partial(_summed, make=AdaLoss),
    "uncertainty": partial(_summed, make=_uncertainty),
    "gradnorm": GradNorm,
    "pcgrad": partial(_torchjd, name="PCGrad"),
    "mgda": partial(_torchjd, name="MGDA"),
    "cagrad": partial(_torchjd, name="CAGrad", c=0.5),
    "upgrad": partial(_torchjd, name="UPGrad"),
    "nash-mtl": partial(_torchjd, name="NashMTL", takes_tasks=True),
    "graddrop": partial(_torchjd, name="GradDrop"),
    "aligned-mtl": partial(_torchjd, name="AlignedMTL"),
    "osgd": OSGD,
    "osgd layer": partial(OSGD, per="layer"),
    "osgd global": partial(OSGD, per="global"),
    "osgd normalised": partial(OSGD, normalize=True),
    "osgd unit": partial(OSGD, normalize="unit"),
    "osgd reversed": partial(OSGD, order="reversed"),
}


def optimizer(name: str, base: torch.optim.Optimizer, tasks: int) -> LossesOptimizer:
    """Return a method by name around a base optimiser.

    Raises
    ------
    ValueError
        If there is no such method.

    Examples
    --------
    >>> base = torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=0.1)
    >>> type(optimizer("pcgrad", base, 3)).__name__
    'Aggregated'
    """
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}{did_you_mean(name, METHODS)}")
    return METHODS[name](base, tasks)
