"""Orthogonalised SGD: later tasks move the weights only where earlier tasks do not care.

C. Wan, H. Hoffmann, S. Lu, M. Maire, Orthogonalized SGD and Nested Architectures for Anytime Neural
Networks, ICML 2020. Not to be taken for optimisers that orthogonalise the filters of one gradient
(Orthogonal-Optimisers), a gradient against its weights (OrthoGrad) or a momentum matrix (Muon).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal

import torch

from common.errors import did_you_mean
from projects.osgd.gradients import (
    BACKWARDS,
    Average,
    GradientMatrix,
    Rows,
    average_over_ranks,
    task_gradients,
)
from projects.osgd.projection import NEGLIGIBLE, Normalize, combination_weights
from projects.osgd.wrapper import Losses, LossesOptimizer, evaluated

SPACES = ("tensor", "layer", "global")
Per = Literal["tensor", "layer", "global"] | Callable[[str], Hashable]


class PerTaskOptimizer(LossesOptimizer):
    """Base of optimisers that combine the gradients of all tasks; see :class:`OSGD`.

    A subclass defines :meth:`direct`, and :meth:`space` where it needs more than one.
    """

    def __init__(
        self,
        base: torch.optim.Optimizer,
        tasks: int | Sequence[str],
        *,
        skip_nonfinite: bool = False,
        average: Average | None = None,
        backward: str = "auto",
    ) -> None:
        super().__init__(base, tasks, skip_nonfinite=skip_nonfinite)
        if backward not in (*BACKWARDS, "auto"):
            raise ValueError(
                f"unknown backward {backward!r}{did_you_mean(backward, (*BACKWARDS, 'auto'))}"
            )
        self.average = average
        # One pass per task is the faster one wherever it was measured (experiment step_time): in a
        # network of stripes it skips what a task does not reach.
        self.method = "naive" if backward == "auto" else backward
        self._matrix: GradientMatrix | None = None
        self._pending = self._skipped = self._warned = False

    def direct(self, matrix: GradientMatrix) -> None:
        """Turn the gradients of the tasks into directions: ``matrix.combine(weights)``."""
        raise NotImplementedError

    def spaces(self) -> list[Hashable]:
        """Vector space of each parameter that takes gradients."""
        return ["all"] * len(self.trained())

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters and of all tasks."""
        super().zero_grad(set_to_none)
        self._pending = self._skipped = False

    def backward(self, losses: Losses, *, scaler: Any = None, retain_graph: bool = False) -> None:
        """Add the gradient of every task to those held since the last step.

        Parameters
        ----------
        losses : sequence of Tensor
            One scalar per task, of one graph.
        scaler : GradScaler, optional
            Scales the losses; each task's gradient is unscaled again before projection.
        retain_graph : bool
            Keep the graph for another pass.

        Raises
        ------
        ValueError
            If the losses are not what :meth:`check_losses` asks for, or a gradient is sparse.
        RuntimeError
            If the graph has been freed.
        """
        if not self.check_losses(losses):
            self._skipped = True
            return
        scaled = losses if scaler is None else [scaler.scale(loss) for loss in losses]
        rows = task_gradients(scaled, self.trained(), self.method, retain_graph=retain_graph)
        matrix = self._matrix_for(rows)
        if scaler is not None and (scale := scaler.get_scale()) != 1.0:
            found = [g for row in rows for g in row if g is not None]
            torch._foreach_mul_(found, 1.0 / scale)
        matrix.put(rows, add=self._pending)
        self._pending = True

    def project(self) -> None:
        """Write the direction to ``.grad``; :meth:`step` does it unless it has been done.

        Call it to see or clip the direction before the step.
        """
        if not self._pending:
            return
        self._pending = False
        matrix = self._matrix
        if self.average is not None:
            self.average(matrix.matrices())
        elif torch.distributed.is_available() and torch.distributed.is_initialized():
            average_over_ranks(matrix.matrices())
        self.direct(matrix)
        matrix.write()

    def step(
        self, losses: Losses | Callable[[], Losses] | None = None, *, scaler: Any = None
    ) -> Losses | None:
        """Make one step.

        Parameters
        ----------
        losses : sequence of Tensor or callable, optional
            One scalar per task, or a closure that returns them; None after :meth:`backward`.
        scaler : GradScaler, optional
            The one of mixed precision. A step with an infinite gradient is left out, and
            ``scaler.update()`` remains to be called.

        Returns
        -------
        sequence of Tensor or None
            The losses, those of the closure too.

        Raises
        ------
        RuntimeError
            Without losses and without a :meth:`backward` before.
        """
        if losses is not None:
            losses = evaluated(losses)
            self.backward(losses, scaler=scaler)
        if self._pending:
            self.project()
        elif self._skipped:
            self._skipped = False
            return losses
        elif all(parameter.grad is None for parameter in self.trained()):
            raise RuntimeError("step() without gradients: pass losses, or call backward(losses)")
        self._skipped = False
        if scaler is None:
            self.base.step()
        else:
            # The scaler unscales what it steps with, and so finds and reports infinities.
            found = [p.grad for p in self.trained() if p.grad is not None]
            torch._foreach_mul_(found, scaler.get_scale())
            scaler.step(self.base)
        return losses

    def _matrix_for(self, rows: Rows) -> GradientMatrix:
        """The matrix that holds these gradients; made anew when tasks reach other parameters."""
        tasks = range(len(rows))
        reached = [
            tuple(task for task in tasks if rows[task][place] is not None)
            for place in range(len(rows[0]))
        ]
        held = self._matrix
        if held is not None and reached == held.reached:
            return held
        if self._pending:
            raise ValueError(
                "tasks reach other parameters than in the backward() before it; call step() "
                "between them, or keep the same branches of the network in use"
            )
        self._check_gradients(rows)
        if not self._warned and (untouched := reached.count(())):
            warnings.warn(
                f"{untouched} of {len(reached)} parameters belong to no task and stay as they are",
                stacklevel=4,
            )
            self._warned = True
        self._matrix = GradientMatrix(self.trained(), self.spaces(), reached, len(rows))
        return self._matrix

    def _check_gradients(self, rows: Rows) -> None:
        parameters = self.trained()
        if len(devices := {str(parameter.device) for parameter in parameters}) > 1:
            raise ValueError(
                f"parameters are on {', '.join(sorted(devices))}; a step needs them on one device"
            )
        for place, parameter in enumerate(parameters):
            if parameter.is_complex():
                raise ValueError(f"parameter {place} is complex ({parameter.dtype}); use real ones")
            for task, row in enumerate(rows):
                if row[place] is not None and row[place].layout != torch.strided:
                    raise ValueError(
                        f"task {task} has a sparse gradient for parameter {place}, which is not "
                        "supported; use sparse=False in the embedding"
                    )


class OrthogonalizedMultiTaskSGD(PerTaskOptimizer):
    """Orthogonalised SGD (OSGD) around any base optimiser.

    In order of priority, the gradient of each task is projected off those of the tasks before it;
    the sum goes to the base optimiser. To first order the tasks that come first learn as if alone.

    Parameters
    ----------
    base : Optimizer
        Takes the step: ``torch.optim.SGD`` with momentum in the paper. An adaptive optimiser
        rescales coordinates, after which the *update* is orthogonal no more.
    tasks : int or sequence of str
        How many losses a step takes, or their names.
    order : {"given", "reversed"} or sequence of int or str
        Tasks from the highest priority to the lowest. In the paper the earliest output comes
        first.
    per : {"tensor", "layer", "global"} or callable
        What counts as one vector: every weight tensor, every layer, or all parameters that at
        least two tasks share. Layers need names: make the base optimiser from
        ``model.named_parameters()``. A callable maps a parameter's name to its space.
    normalize : bool or "unit"
        True stretches every projected gradient to the length it had, ``"unit"`` to a common one.
    alphas : sequence of float, optional
        Weights of the tasks, applied after projection.
    tolerance : float
        A projected gradient shorter than this share of the original has no direction.
    skip_nonfinite : bool
        Leave out a step with a loss that is NaN or infinite, instead of an error.
    average : callable, optional
        Averages matrices over ranks in place, before projection, which is not linear. By default
        an all-reduce whenever ``torch.distributed`` is initialised.
    backward : {"auto", "naive", "batched"}
        See :func:`projects.osgd.gradients.task_gradients`.

    Raises
    ------
    ValueError
        If an option is unknown, the order is no permutation of the tasks, or layers have no names.

    References
    ----------
    C. Wan et al., ICML 2020, https://arxiv.org/abs/2008.06635.

    Examples
    --------
    >>> w = torch.nn.Parameter(torch.zeros(2))
    >>> opt = OSGD(torch.optim.SGD([w], lr=1.0), tasks=2)
    >>> first, second = w[0], -3 * w[0] + w[1]
    >>> _ = opt.step([first, second])  # the second task may not undo the first
    >>> w.tolist()
    [-1.0, -1.0]
    """

    def __init__(
        self,
        base: torch.optim.Optimizer,
        tasks: int | Sequence[str],
        *,
        order: Literal["given", "reversed"] | Sequence[int | str] = "given",
        per: Per = "tensor",
        normalize: Normalize = False,
        alphas: Sequence[float] | None = None,
        tolerance: float = NEGLIGIBLE,
        skip_nonfinite: bool = False,
        average: Average | None = None,
        backward: str = "auto",
    ) -> None:
        super().__init__(
            base, tasks, skip_nonfinite=skip_nonfinite, average=average, backward=backward
        )
        if not callable(per) and per not in SPACES:
            raise ValueError(f"unknown per {per!r}{did_you_mean(str(per), SPACES)}")
        if normalize not in (False, True, "unit"):
            raise ValueError(f"normalize={normalize!r}; allowed: False, True, 'unit'")
        if alphas is not None and (
            len(alphas) != len(self.tasks) or not all(map(math.isfinite, alphas))
        ):
            raise ValueError(f"alphas={alphas!r}: one finite number for each of {self.tasks}")
        self.order = _order(order, self.tasks)
        self.per = per
        self.options = {"normalize": normalize, "alphas": alphas, "tolerance": tolerance}
        self.spaces()

    def direct(self, matrix: GradientMatrix) -> None:
        """See :meth:`PerTaskOptimizer.direct`."""
        matrix.combine(combination_weights(matrix.grams(), order=self.order, **self.options))

    def spaces(self) -> list[Hashable]:
        """See :meth:`PerTaskOptimizer.spaces`."""
        trained = self.trained()
        if self.per == "tensor":
            return list(range(len(trained)))
        if self.per == "global":
            return ["all"] * len(trained)
        names = [
            name
            for group in self.param_groups
            for name, p in zip(group.get("param_names", ()), group["params"], strict=False)
            if p.requires_grad
        ]
        if len(names) < len(trained):
            raise ValueError(
                f"per={self.per!r} needs the parameters' names; make the base optimiser from "
                "model.named_parameters()"
            )
        return [self.per(name) if callable(self.per) else name.rpartition(".")[0] for name in names]


OSGD = OrthogonalizedMultiTaskSGD


def _order(order: str | Sequence[int | str], tasks: tuple[str, ...]) -> list[int]:
    """Numbers of the tasks, the highest priority first."""
    places = list(range(len(tasks)))
    if isinstance(order, str):
        if order not in ("given", "reversed"):
            raise ValueError(f"unknown order {order!r}{did_you_mean(order, ('given', 'reversed'))}")
        return places if order == "given" else places[::-1]
    found = [tasks.index(task) if task in tasks else task for task in order]
    if len(found) != len(places) or set(found) != set(places):
        raise ValueError(
            f"order {list(order)!r} must name each task once: numbers 0 to {len(tasks) - 1}, or "
            f"{', '.join(tasks)}"
        )
    return found
