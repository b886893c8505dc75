"""Slimmable networks (Yu et al., 2019): one dense network at several widths, recomputed each time.

The neurons of a wider switch feed the narrower one's neurons too, so nothing that a narrow switch
computed is valid in a wide one, and each switch needs batch normalisation of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from projects.osgd.anytime import AnytimeModule, Cache, check_image, check_widths


class SlimmableCNN(AnytimeModule):
    """Slimmable counterpart of :class:`projects.osgd.width.WidthNestedCNN`.

    The convolutions are shared by all switches and belong to stage 0; normalisation and head are a
    switch's own.

    Parameters
    ----------
    in_channels, widths, strides, num_classes
        As for the width-nested network.

    Raises
    ------
    ValueError
        If widths do not increase; in a call, if an image is smaller than the down-sampling.

    Examples
    --------
    >>> import torch
    >>> model = SlimmableCNN(widths=(4, 8)).eval()
    >>> [tuple(logits.shape) for logits in model(torch.zeros(2, 3, 32, 32))]
    [(2, 10), (2, 10)]
    """

    def __init__(
        self,
        in_channels: int = 3,
        widths: Sequence[int] = (8, 16, 32, 64),
        strides: Sequence[int] = (2, 2, 1, 2, 1),
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        self.widths = check_widths(widths)
        self.num_stages, self.in_channels = len(self.widths), in_channels
        self.strides = tuple(strides)
        self.reduction = math.prod(strides)
        widest = self.widths[-1]
        self.convs = nn.ModuleList(
            nn.Conv2d(widest if place else in_channels, widest, 3, padding=1, bias=False)
            for place in range(len(strides))
        )
        self.norms = nn.ModuleList(
            nn.ModuleList(nn.BatchNorm2d(width) for _ in strides) for width in self.widths
        )
        self.heads = nn.ModuleList(nn.Linear(width, num_classes) for width in self.widths)

    def step(self, stage: int, x: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """See :meth:`AnytimeModule.step`; there is nothing to cache."""
        width = self.widths[self.check_stage(stage)]
        check_image(x, self.in_channels, self.reduction)
        layers = zip(self.convs, self.norms[stage], self.strides, strict=True)
        for place, (conv, norm, stride) in enumerate(layers):
            weight = conv.weight[:width, : width if place else None]
            made = norm(F.conv2d(x, weight, stride=stride, padding=1))
            x = (made + x if place and stride == 1 else made).relu()
        return self.heads[stage](x.mean((2, 3))), {}

    def introduced(self, stage: int) -> Iterator[nn.Module]:
        """See :meth:`AnytimeModule.introduced`."""
        if stage == 0:
            yield self.convs
        yield self.norms[stage]
        yield self.heads[stage]
