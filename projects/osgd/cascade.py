"""The branched topology: a shared trunk with early exits (figure 2 of the paper, BranchyNet)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from projects.osgd.anytime import AnytimeModule, Cache, check_image
from projects.osgd.depth import check_depth
from projects.osgd.layers import Head, branch_unit, conv_norm


class CascadeCNN(AnytimeModule):
    """Residual trunk whose sections end in an exit each.

    Parameters
    ----------
    in_channels : int
        Channels of an image.
    channels, strides, depths : sequence of int
        For each section: its channels, the down-sampling on entering it, its residual layers.
    num_classes : int
        Outputs of every exit.

    Raises
    ------
    ValueError
        If the three sequences differ in length or hold a number below 1; in a call, if an image is
        smaller than the down-sampling.

    Examples
    --------
    >>> import torch
    >>> model = CascadeCNN().eval()
    >>> [tuple(logits.shape) for logits in model(torch.zeros(2, 3, 32, 32))]
    [(2, 10), (2, 10), (2, 10), (2, 10)]
    """

    def __init__(
        self,
        in_channels: int = 3,
        channels: Sequence[int] = (8, 16, 32, 64),
        strides: Sequence[int] = (2, 2, 2, 1),
        depths: Sequence[int] = (1, 1, 2, 1),
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        if not len(channels) == len(strides) == len(depths):
            raise ValueError(
                f"channels, strides and depths have {len(channels)}, {len(strides)} and "
                f"{len(depths)} entries; each section needs one of each"
            )
        check_depth(channels, min(depths, default=1), len(channels), min(strides, default=1))
        self.num_stages, self.in_channels = len(channels), in_channels
        self.reduction = 1
        for stride in strides:
            self.reduction *= stride
        below = [in_channels, *channels[:-1]]
        self.enters = nn.ModuleList(
            conv_norm(c, wide, stride)
            for c, wide, stride in zip(below, channels, strides, strict=True)
        )
        self.sections = nn.ModuleList(
            nn.ModuleList(branch_unit(c, c, silent=False) for _ in range(depth))
            for c, depth in zip(channels, depths, strict=True)
        )
        self.heads = nn.ModuleList(Head(c, num_classes) for c in channels)

    def step(self, stage: int, x: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """See :meth:`AnytimeModule.step`; the cache holds the trunk's last activation."""
        stage = self.check_stage(stage)
        check_image(x, self.in_channels, self.reduction)
        state = self.enters[stage](cache["trunk"].relu() if stage else x)
        for unit in self.sections[stage]:
            state = state + unit(state)
        return self.heads[stage](state), {"trunk": state}

    def introduced(self, stage: int) -> Iterator[nn.Module]:
        """See :meth:`AnytimeModule.introduced`."""
        yield self.enters[stage]
        yield self.sections[stage]
        yield self.heads[stage]
