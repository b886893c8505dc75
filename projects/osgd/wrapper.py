"""What all optimisers of several losses share: a base optimiser inside, and checked losses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Losses = Sequence[Tensor]
_EXTRA = "tasks"


class LossesOptimizer(torch.optim.Optimizer):
    """Base of optimisers whose ``step`` takes one loss per task.

    It shares parameter groups and state with the optimiser that it wraps, so learning-rate
    schedulers, ``zero_grad`` and checkpoints work as with any other.

    Parameters
    ----------
    base : Optimizer
        Any optimiser; its weight decay and momentum act on the combined gradient.
    tasks : int or sequence of str
        How many losses a step takes, or their names.
    skip_nonfinite : bool
        Leave out a step with a loss that is NaN or infinite, instead of an error.

    Raises
    ------
    ValueError
        If there is no task, or a name stands twice.
    """

    def __init__(
        self,
        base: torch.optim.Optimizer,
        tasks: int | Sequence[str],
        *,
        skip_nonfinite: bool = False,
    ) -> None:
        if not isinstance(base, torch.optim.Optimizer):
            raise TypeError(
                f"base is a {type(base).__name__}; pass a torch optimiser, such as "
                "torch.optim.SGD(model.parameters(), lr=0.1)"
            )
        self.tasks = _names(tasks)
        self.skip_nonfinite = skip_nonfinite
        super().__init__(base.param_groups, base.defaults)
        self.base = base
        self._share()

    def _share(self) -> None:
        self.param_groups, self.state = self.base.param_groups, self.base.state

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters, to the base optimiser too."""
        if "base" in self.__dict__:
            self.base.add_param_group(param_group)
        else:  # while the groups of the base are taken over
            super().add_param_group(param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters."""
        self.base.zero_grad(set_to_none=set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """State of the base optimiser, and the names of the tasks."""
        return {**self.base.state_dict(), _EXTRA: list(self.tasks)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state, or that of a plain base optimiser.

        Raises
        ------
        ValueError
            If it is of another number of tasks.
        """
        saved = state_dict.get(_EXTRA)
        if saved is not None and len(saved) != len(self.tasks):
            raise ValueError(
                f"this state is of {len(saved)} tasks ({', '.join(saved)}), the optimiser has "
                f"{len(self.tasks)}; make it with tasks={len(saved)}"
            )
        self.base.load_state_dict({k: v for k, v in state_dict.items() if k != _EXTRA})
        self._share()

    def trained(self) -> list[Tensor]:
        """The parameters that take gradients, in the order of the groups."""
        return [p for group in self.param_groups for p in group["params"] if p.requires_grad]

    def check_losses(self, losses: Losses) -> bool:
        """Whether these losses can be differentiated; False if the step is to be left out.

        Raises
        ------
        ValueError
            Naming the task whose loss is missing, no scalar, without a graph or not finite.
        """
        losses = list(losses)
        if len(losses) != len(self.tasks):
            raise ValueError(
                f"{len(losses)} losses for {len(self.tasks)} tasks ({', '.join(self.tasks)}); "
                "pass one loss per task"
            )
        devices = {parameter.device for parameter in self.trained()}
        for place, loss in enumerate(losses):
            _check_loss(f"loss of task {place} ({self.tasks[place]})", loss, devices)
        values = torch.stack([loss.detach() for loss in losses]).tolist()
        wrong = [place for place, value in enumerate(values) if not math.isfinite(value)]
        if wrong and not self.skip_nonfinite:
            raise ValueError(
                f"loss of task {wrong[0]} ({self.tasks[wrong[0]]}) is {values[wrong[0]]}; "
                "lower the learning rate, or pass skip_nonfinite=True to leave such steps out"
            )
        return not wrong


def evaluated(losses: Losses | Callable[[], Losses]) -> Losses:
    """Return the losses, or what a closure gives for them."""
    if not callable(losses):
        return losses
    with torch.enable_grad():
        return losses()


def _check_loss(what: str, loss: Tensor, devices: set[torch.device]) -> None:
    if not isinstance(loss, Tensor) or loss.dim() != 0:
        shape = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise ValueError(f"{what} is no scalar tensor but {shape}; reduce it, as by .mean()")
    if loss.is_complex():
        raise ValueError(f"{what} is complex ({loss.dtype}); losses are real")
    if loss.grad_fn is None:
        raise ValueError(
            f"{what} has no grad_fn: it does not depend on a parameter, or was computed under "
            "torch.no_grad() or detached"
        )
    if loss.device not in devices:
        raise ValueError(
            f"{what} is on {loss.device}, the parameters are on "
            f"{', '.join(sorted(map(str, devices)))}; move it"
        )


def _names(tasks: int | Sequence[str]) -> tuple[str, ...]:
    names = [f"task {k}" for k in range(tasks)] if isinstance(tasks, int) else list(tasks)
    if not names:
        raise ValueError(f"tasks={tasks!r}: an optimiser needs at least one loss")
    if len(set(names)) < len(names):
        raise ValueError(f"tasks={names!r}: a name stands twice")
    return tuple(names)
