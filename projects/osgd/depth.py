"""Depth nesting: every stage puts a new layer after each layer there is, and doubles the depth.

Figure 3 of the paper. Old layers never read new ones, so what earlier stages computed stays valid;
new layers read the old layer before them and the new layer before that, added or concatenated.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from common.errors import did_you_mean
from projects.osgd.anytime import AnytimeModule, Cache, check_image
from projects.osgd.layers import Head, branch_unit, conv_norm

AGGREGATES = ("sum", "concat")


class Branch(nn.Module):
    """The layers of one stage, section by section, and how its state enters the next section.

    Parameters
    ----------
    stage : int
        Whose layers.
    channels : sequence of int
        Channels of each section.
    count : int
        Layers in each section.
    aggregate : {"sum", "concat"}
        How the states of all stages so far become the input of a layer.
    """

    def __init__(self, stage: int, channels: Sequence[int], count: int, aggregate: str) -> None:
        super().__init__()
        silent = stage > 0
        self.sections = nn.ModuleList(
            nn.ModuleList(self._unit(stage, c, aggregate, silent) for _ in range(count))
            for c in channels
        )
        # A later stage's state is carried over by a 1 x 1 convolution alone: zero stays zero.
        self.enters = nn.ModuleList(
            nn.Conv2d(c, wider, 1, 2, bias=False) if silent else conv_norm(c, wider, 2)
            for c, wider in itertools.pairwise(channels)
        )

    @staticmethod
    def _unit(stage: int, c: int, aggregate: str, silent: bool) -> nn.Sequential:
        unit = branch_unit(c, c, silent=silent)
        if aggregate == "concat" and stage:
            return nn.Sequential(nn.Conv2d((stage + 1) * c, c, 1, bias=False), *unit)
        return unit


class DepthNestedCNN(AnytimeModule):
    """Interlaced depth nesting.

    Let S_t(p) be the states of stages 0 to t nearest at or before place p, added (or concatenated).
    Stage s adds, after every place p, h <- h + F(S_{s-1}(p) + h), where h is its own state. As the
    sum is all that a later stage reads, the cache is one tensor for each place.

    The scale of each new layer starts at 0: before training all stages see what stage 0 sees.

    Parameters
    ----------
    in_channels : int
        Channels of an image.
    channels : sequence of int
        Channels of the sections; each but the first halves the resolution.
    depth : int
        Layers D of a section in stage 0; stage s has D 2^s.
    num_stages : int
        Number of answers N.
    num_classes : int
        Outputs of every head.
    stem_stride : int
        Down-sampling of the first convolution.
    aggregate : {"sum", "concat"}
        The second puts a 1 x 1 projection before each new layer.

    Raises
    ------
    ValueError
        If there are no stages, sections or layers, or ``aggregate`` is unknown; in a call, if an
        image is smaller than the down-sampling.

    Examples
    --------
    >>> model = DepthNestedCNN(channels=(4, 8)).eval()
    >>> [tuple(logits.shape) for logits in model(torch.zeros(2, 3, 32, 32))]
    [(2, 10), (2, 10), (2, 10), (2, 10)]
    """

    def __init__(
        self,
        in_channels: int = 3,
        channels: Sequence[int] = (8, 16, 32),
        depth: int = 1,
        num_stages: int = 4,
        num_classes: int = 10,
        *,
        stem_stride: int = 2,
        aggregate: str = "sum",
    ) -> None:
        super().__init__()
        check_depth(channels, depth, num_stages, stem_stride)
        if aggregate not in AGGREGATES:
            raise ValueError(
                f"unknown aggregate {aggregate!r}{did_you_mean(aggregate, AGGREGATES)}"
            )
        self.num_stages, self.in_channels, self.aggregate = num_stages, in_channels, aggregate
        self.reduction = stem_stride * 2 ** (len(channels) - 1)
        self.stem = conv_norm(in_channels, channels[0], stem_stride)
        # D layers in stage 0, and as many new ones as there are in every stage after it
        counts = [depth, *(depth * 2**earlier for earlier in range(num_stages - 1))]
        self.branches = nn.ModuleList(
            Branch(stage, channels, count, aggregate) for stage, count in enumerate(counts)
        )
        share = (lambda stage: stage + 1) if aggregate == "concat" else (lambda stage: 1)
        self.heads = nn.ModuleList(
            Head(share(stage) * channels[-1], num_classes) for stage in range(num_stages)
        )

    def step(self, stage: int, x: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """See :meth:`AnytimeModule.step`; the cache holds S_s(p) for every place p."""
        stage = self.check_stage(stage)
        check_image(x, self.in_channels, self.reduction)
        branch, kept = self.branches[stage], {}
        state = self.stem(x) if stage == 0 else None
        for section, units in enumerate(branch.sections):
            if section:
                state = branch.enters[section - 1](state)
            if stage == 0:
                sums, state = _first(units, state)
            else:
                places = [cache[f"section{section}.{place}"] for place in range(len(units))]
                sums, state = self._interlaced(units, places, state)
            kept |= {f"section{section}.{place}": value for place, value in enumerate(sums)}
        return self.heads[stage](sums[-1]), kept

    def _interlaced(
        self, units: nn.ModuleList, places: list[Tensor], state: Tensor | None
    ) -> tuple[list[Tensor], Tensor]:
        sums: list[Tensor] = []
        for unit, place in zip(units, places, strict=True):
            if state is None:  # the first section: this stage has computed nothing yet
                state = torch.zeros_like(place[:, : unit[-1].num_features])
            before = self._joined(place, state)
            state = state + unit(before)
            sums += [before, self._joined(place, state)]
        return sums, state

    def _joined(self, older: Tensor, own: Tensor) -> Tensor:
        return older + own if self.aggregate == "sum" else torch.cat([older, own], 1)

    def introduced(self, stage: int) -> Iterator[nn.Module]:
        """See :meth:`AnytimeModule.introduced`."""
        if stage == 0:
            yield self.stem
        yield self.branches[stage]
        yield self.heads[stage]


def check_depth(channels: Sequence[int], depth: int, num_stages: int, stem_stride: int) -> None:
    """Raise ValueError unless a network of this shape has layers and stages."""
    if num_stages < 1:
        raise ValueError(f"num_stages is {num_stages}; an anytime network has at least one stage")
    if depth < 1 or stem_stride < 1:
        raise ValueError(f"depth {depth} and stem_stride {stem_stride} must be at least 1")
    if not channels or min(channels) < 1:
        raise ValueError(f"channels {list(channels)} must name at least one section, each positive")


def _first(units: nn.ModuleList, state: Tensor) -> tuple[list[Tensor], Tensor]:
    sums = []
    for unit in units:
        state = state + unit(state)
        sums.append(state)
    return sums, state
