"""A network that answers early and improves: what every architecture of this paper can do.

Stages are counted from 0, the earliest answer, to ``num_stages - 1``, the best.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

Cache = dict[str, Tensor]


@dataclass(frozen=True)
class StageCost:
    """What one stage costs for one input once the stages before it have run.

    Attributes
    ----------
    stage : int
        Its number, from 0.
    macs : int
        Multiply-accumulates of its matrix products and convolutions.
    params : int
        Parameters that no earlier stage uses.
    cumulative_macs, cumulative_params : int
        Sums over this stage and all before it.
    cached : int
        Numbers kept for the stages after it.
    """

    stage: int
    macs: int
    params: int
    cumulative_macs: int
    cumulative_params: int
    cached: int


class AnytimeModule(nn.Module):
    """Base of networks with several outputs, each computed from what the ones before left behind.

    A subclass sets :attr:`num_stages` and defines :meth:`step` and :meth:`introduced`.

    Attributes
    ----------
    num_stages : int
        Number of outputs N.
    """

    num_stages: int

    def step(self, stage: int, x: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """Compute one stage from the input and the cache of the stage before.

        Parameters
        ----------
        stage : int
            Its number, from 0.
        x : Tensor
            Input, batch first.
        cache : dict of str to Tensor
            What :meth:`step` returned for ``stage - 1``; empty for stage 0. Left unchanged.

        Returns
        -------
        tuple
            Logits (batch, classes), and the cache for the next stage. Names and shapes depend on
            the stage alone, so each stage can be a graph of its own.
        """
        raise NotImplementedError

    def introduced(self, stage: int) -> Iterable[nn.Module]:
        """Modules that a stage uses and no earlier stage does."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the logits of all stages, the earliest first."""
        return list(self.stages(x))

    def stages(self, x: Tensor) -> Iterator[Tensor]:
        """Yield the logits of stage after stage; nothing is computed before it is asked for.

        Leave the loop when time is up: later stages then cost nothing.

        Examples
        --------
        >>> from projects.osgd.width import WidthNestedMLP
        >>> model = WidthNestedMLP(64, widths=(4, 8, 16)).eval()
        >>> for stage, logits in enumerate(model.stages(torch.zeros(1, 64))):
        ...     if stage == 1:  # the deadline
        ...         break
        >>> logits.shape
        torch.Size([1, 10])
        """
        cache: Cache = {}
        for stage in range(self.num_stages):
            logits, cache = self.step(stage, x, cache)
            yield logits

    def parameters_of(self, stage: int) -> list[nn.Parameter]:
        """Return the parameters that a stage introduces.

        The output of a stage depends on these and on those of earlier stages, whose heads excepted.

        Raises
        ------
        IndexError
            If there is no such stage.
        """
        stage = self.check_stage(stage)
        return [parameter for module in self.introduced(stage) for parameter in module.parameters()]

    def check_stage(self, stage: int) -> int:
        """Return a stage's number, or raise IndexError with the numbers that exist."""
        if not 0 <= stage < self.num_stages:
            raise IndexError(
                f"stage {stage} does not exist; this network has {self.num_stages} stages, "
                f"numbered 0 to {self.num_stages - 1}"
            )
        return stage

    def stage_costs(self, input_shape: Sequence[int]) -> list[StageCost]:
        """Count what every stage adds, for one input.

        Parameters
        ----------
        input_shape : sequence of int
            Shape of one input, without the batch.

        Examples
        --------
        A layer of stripes 4 and 8 wide on 64 inputs, and two heads:

        >>> from projects.osgd.width import WidthNestedMLP
        >>> model = WidthNestedMLP(64, widths=(4, 8), depth=1)
        >>> [cost.macs for cost in model.stage_costs((64,))] == [64 * 4 + 4 * 10, 64 * 4 + 8 * 10]
        True
        """
        # On the meta device nothing is computed, and this module's own modes stay as they are.
        shadow = copy.deepcopy(self).to("meta").eval()
        x = torch.zeros(1, *input_shape, device="meta")
        costs: list[StageCost] = []
        cache: Cache = {}
        macs = params = 0
        for stage in range(self.num_stages):
            with torch.no_grad(), _Counter() as counter:
                _, cache = shadow.step(stage, x, cache)
            own_macs = counter.flops // 2
            own_params = sum(parameter.numel() for parameter in self.parameters_of(stage))
            macs, params = macs + own_macs, params + own_params
            cached = sum(value.numel() for value in cache.values())
            costs.append(StageCost(stage, own_macs, own_params, macs, params, cached))
        return costs


class _Counter(TorchDispatchMode):
    """Count operations by torch's own formulas; its counter also tracks modules, and is slow."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if formula := flop_registry.get(func.overloadpacket):
            self.flops += formula(*args, **kwargs, out_val=out)
        return out


def check_widths(widths: Sequence[int], group_size: int = 1) -> tuple[int, ...]:
    """Return cumulative widths, or raise ValueError if they do not nest.

    Examples
    --------
    >>> check_widths([8, 16])
    (8, 16)
    """
    found = tuple(int(width) for width in widths)
    if not found or found[0] < 1 or any(b <= a for a, b in itertools.pairwise(found)):
        raise ValueError(
            f"widths {list(widths)} must be positive and strictly increasing, such as 8, 16, 32"
        )
    if group_size < 1 or any(width % group_size for width in found):
        raise ValueError(f"widths {list(widths)} must be divisible by the group size {group_size}")
    return found


def check_image(x: Tensor, channels: int, reduction: int) -> None:
    """Raise ValueError unless ``x`` is a batch of images that survives the down-sampling.

    Parameters
    ----------
    x : Tensor
        Expected shape (batch, channels, height, width).
    channels : int
        Input channels of the network.
    reduction : int
        Product of its strides.
    """
    if x.dim() != 4 or x.shape[1] != channels:
        raise ValueError(
            f"input of shape {tuple(x.shape)}; expected (batch, {channels}, height, width)"
        )
    if min(x.shape[2:]) < reduction:
        raise ValueError(
            f"input of {x.shape[2]} x {x.shape[3]} pixels is smaller than the down-sampling; "
            f"the strides need at least {reduction} x {reduction}"
        )
