"""The gradient of every task: how it is computed, and one flat matrix that holds it.

A nested network built of stripes computes each task's gradient over its own sub-blocks alone,
because the output of a stage does not depend on what later stages add.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from projects.osgd.projection import gram_matrix

BACKWARDS = ("naive", "batched")
Rows = list[list[Tensor | None]]


def task_gradients(
    losses: Sequence[Tensor],
    parameters: Sequence[Tensor],
    method: str = "naive",
    *,
    retain_graph: bool = False,
) -> Rows:
    """Gradient of every loss with respect to every parameter, None where it does not depend on it.

    Parameters
    ----------
    losses : sequence of Tensor
        Scalars of one graph, one per task.
    parameters : sequence of Tensor
        Leaves.
    method : {"naive", "batched"}
        One backward pass per task, or one for all of them under ``torch.vmap``.
    retain_graph : bool
        Keep the graph for another pass.

    Examples
    --------
    >>> w, head = torch.tensor(2.0, requires_grad=True), torch.tensor(3.0, requires_grad=True)
    >>> task_gradients([w * w, w * head], [w, head])
    [[tensor(4.), None], [tensor(3.), tensor(2.)]]
    """
    try:
        if method == "batched":
            return _batched(losses, parameters, retain_graph)
        last = len(losses) - 1
        return [
            list(
                torch.autograd.grad(
                    loss, parameters, retain_graph=retain_graph or task < last, allow_unused=True
                )
            )
            for task, loss in enumerate(losses)
        ]
    except RuntimeError as error:
        if "a second time" not in str(error):
            raise
        raise RuntimeError(
            "the graph of these losses has been freed by an earlier backward pass; compute them "
            "anew, or give that pass retain_graph=True"
        ) from error


def _batched(losses: Sequence[Tensor], parameters: Sequence[Tensor], retain_graph: bool) -> Rows:
    stacked = torch.stack(tuple(losses))
    found = torch.autograd.grad(
        stacked,
        parameters,
        torch.eye(len(losses), dtype=stacked.dtype, device=stacked.device),
        is_grads_batched=True,
        retain_graph=retain_graph,
        allow_unused=True,
    )
    reached = [reachable(loss) for loss in losses]
    return [
        [
            None if gradient is None or id(parameter) not in reached[task] else gradient[task]
            for parameter, gradient in zip(parameters, found, strict=True)
        ]
        for task in range(len(losses))
    ]


def reachable(loss: Tensor) -> set[int]:
    """Identities of the leaves that a loss depends on."""
    seen, leaves, waiting = set(), set(), [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            leaves.add(id(node.variable))
        waiting.extend(function for function, _ in node.next_functions)
    return leaves


@dataclass(frozen=True)
class Batch:
    """Spaces of equal length that lie side by side in a bucket.

    Attributes
    ----------
    spaces : list of int
        Their numbers.
    gradients : Tensor, shape (spaces, tasks, length)
        View of the bucket's matrix.
    direction : Tensor, shape (spaces, 1, length)
        View of the bucket's direction.
    """

    spaces: list[int]
    gradients: Tensor
    direction: Tensor


class Bucket:
    """Gradients of the parameters that the same tasks reach, one flat row per task.

    Parameters
    ----------
    tasks : sequence of int
        Tasks that reach these parameters; their gradients are the rows.
    members : sequence of (int, Tensor, int)
        Place, parameter and number of the space of each.
    dtype : torch.dtype
        Of the rows.
    """

    def __init__(
        self, tasks: Sequence[int], members: Sequence[tuple[int, Tensor, int]], dtype: torch.dtype
    ) -> None:
        lengths = Counter[int]()
        for _, parameter, space in members:
            lengths[space] += parameter.numel()
        # Spaces of one length side by side, so that they are handled as one batch.
        members = sorted(members, key=lambda member: (lengths[member[2]], member[2]))
        self.tasks = list(tasks)
        self.places = [place for place, _, _ in members]
        self.parameters = [parameter for _, parameter, _ in members]
        size, device = lengths.total(), self.parameters[0].device
        self.matrix = torch.zeros(len(self.tasks), size, dtype=dtype, device=device)
        # The direction of a single task is its gradient.
        self.direction = torch.empty_like(self.matrix[0]) if len(tasks) > 1 else self.matrix[0]
        self.rows = [self._views(row) for row in self.matrix]
        self.directions = self._views(self.direction)
        self.batches, start = [], 0
        numbers = dict.fromkeys(space for _, _, space in members)
        for length, group in groupby(numbers, key=lengths.__getitem__):
            spaces = list(group)
            shape, columns = (len(spaces), length), slice(start, start + len(spaces) * length)
            gradients = self.matrix[:, columns].unflatten(1, shape).transpose(0, 1)
            direction = self.direction[columns].view(len(spaces), 1, length)
            self.batches.append(Batch(spaces, gradients, direction))
            start = columns.stop

    def _views(self, flat: Tensor) -> list[Tensor]:
        """The parts of a flat vector in the shapes of the parameters."""
        parts = flat.split([parameter.numel() for parameter in self.parameters])
        return [part.view(p.shape) for part, p in zip(parts, self.parameters, strict=True)]

    def put(self, rows: Rows, *, add: bool) -> None:
        """Take the gradients of all tasks, in place of those held or added to them."""
        function = torch._foreach_add_ if add else torch._foreach_copy_
        for views, task in zip(self.rows, self.tasks, strict=True):
            function(views, [rows[task][place] for place in self.places])

    def combine(self, weights: Tensor) -> None:
        """Write the direction for weights (spaces, N) of all spaces and tasks."""
        if len(self.tasks) > 1:
            for batch in self.batches:
                chosen = weights[batch.spaces][:, None, self.tasks]
                torch.bmm(chosen, batch.gradients, out=batch.direction)
            return
        for batch in self.batches:
            alphas = weights[batch.spaces][:, None, self.tasks]
            if (alphas != 1).any():
                batch.direction.mul_(alphas)


class GradientMatrix:
    """Gradients of N tasks with respect to all parameters, kept from step to step.

    Parameters
    ----------
    parameters : sequence of Tensor
        All on one device.
    spaces : sequence of hashable
        The vector space of each parameter; gradients are orthogonal within a space.
    reached : sequence of sequence of int
        Tasks that reach each parameter. Those that none reaches are left out.
    tasks : int
        Number of tasks N.

    Notes
    -----
    Rows are float32 at least: products of float16 numbers overflow.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        spaces: Sequence[Hashable],
        reached: Sequence[Sequence[int]],
        tasks: int,
    ) -> None:
        self.reached = [tuple(found) for found in reached]
        self.tasks = tasks
        numbers: dict[Hashable, int] = {}
        groups: dict[tuple, list[tuple[int, Tensor, int]]] = {}
        for place, (parameter, found) in enumerate(zip(parameters, self.reached, strict=True)):
            if not found:
                continue
            # What one task alone reaches has nobody to be orthogonal to: a space of its own.
            space = spaces[place] if len(found) > 1 else ("alone", place)
            number = numbers.setdefault(space, len(numbers))
            dtype = torch.promote_types(parameter.dtype, torch.float32)
            groups.setdefault((found, dtype), []).append((place, parameter, number))
        self.num_spaces = len(numbers)
        self.buckets = [Bucket(found, members, dtype) for (found, dtype), members in groups.items()]

    def put(self, rows: Rows, *, add: bool) -> None:
        """Take the gradients of all tasks, in place of those held or added to them."""
        for bucket in self.buckets:
            bucket.put(rows, add=add)

    def matrices(self) -> list[Tensor]:
        """The flat matrices, for hooks that work in place."""
        return [bucket.matrix for bucket in self.buckets]

    def grams(self) -> np.ndarray:
        """Gram matrix of every space, shape (spaces, N, N); zero for a space of one task."""
        grams = np.zeros((self.num_spaces, self.tasks, self.tasks))
        for bucket in self.buckets:
            if len(bucket.tasks) == 1:
                continue
            among = np.ix_(bucket.tasks, bucket.tasks)
            for batch in bucket.batches:
                found = gram_matrix(batch.gradients).cpu().numpy()
                for space, gram in zip(batch.spaces, found, strict=True):
                    grams[space][among] += gram
        return grams

    def shared(self) -> Tensor:
        """Gradients of the parameters that several tasks reach, shape (N, P); zero where not."""
        among = [bucket for bucket in self.buckets if len(bucket.tasks) > 1]
        if not among:
            return self.buckets[0].matrix.new_zeros(self.tasks, 0)
        whole = []
        for bucket in among:
            rows = bucket.matrix.new_zeros(self.tasks, bucket.matrix.shape[1])
            rows[bucket.tasks] = bucket.matrix
            whole.append(rows)
        return torch.cat(whole, 1)

    def set_shared(self, direction: Tensor) -> None:
        """Write the direction of the parameters that several tasks reach, shape (P,)."""
        start = 0
        for bucket in self.buckets:
            if len(bucket.tasks) > 1:
                stop = start + len(bucket.direction)
                bucket.direction.copy_(direction[start:stop])
                start = stop

    def combine(self, weights: np.ndarray) -> None:
        """Write the direction of every parameter for weights (spaces, N)."""
        for bucket in self.buckets:
            matrix = bucket.matrix
            bucket.combine(torch.as_tensor(weights, dtype=matrix.dtype, device=matrix.device))

    def write(self) -> None:
        """Make the directions the ``.grad`` of the parameters."""
        for bucket in self.buckets:
            for parameter, view in zip(bucket.parameters, bucket.directions, strict=True):
                parameter.grad = view.to(parameter.dtype)


def pairwise_cosines(matrix: GradientMatrix) -> np.ndarray:
    """Cosine of every two tasks over the parameters that both reach, shape (N, N)."""
    inner = np.zeros((matrix.tasks, matrix.tasks))
    squares = np.zeros_like(
        inner
    )  # of the row's task, over what it has in common with the column's
    for bucket in matrix.buckets:
        among = np.ix_(bucket.tasks, bucket.tasks)
        gram = gram_matrix(bucket.matrix).cpu().numpy()
        inner[among] += gram
        squares[among] += np.diagonal(gram)[:, None]
    return inner / np.maximum(np.sqrt(squares * squares.T), 1e-30)


def average_over_ranks(matrices: Iterable[Tensor]) -> None:
    """Replace matrices by their means over all ranks of ``torch.distributed``."""
    import torch.distributed as distributed

    ranks = distributed.get_world_size()
    for matrix in matrices:
        distributed.all_reduce(matrix)
        matrix /= ranks


Average = Callable[[Iterable[Tensor]], None]
