"""Width nesting inside depth nesting: every stage widens each layer and puts a new one after it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from projects.osgd.anytime import AnytimeModule, Cache, check_image, check_widths
from projects.osgd.depth import check_depth
from projects.osgd.layers import Head, branch_unit, conv_norm


class Stripes(nn.ModuleDict):
    """One layer that stage ``first`` puts in and every later stage widens.

    Parameters
    ----------
    make : callable
        Returns a block from its numbers of input and output channels.
    first : int
        Stage that the layer is new in.
    below, widths : sequence of int
        Channels that are read, and that there are, in each stage.
    """

    def __init__(
        self,
        make: Callable[[int, int], nn.Module],
        first: int,
        below: Sequence[int],
        widths: Sequence[int],
    ) -> None:
        blocks = {}
        for stage in range(first, len(widths)):
            new = widths[stage] - (widths[stage - 1] if stage > first else 0)
            blocks[str(stage)] = make(below[stage], new)
        super().__init__(blocks)

    def new(self, stage: int, x: Tensor) -> Tensor:
        """Return the channels that a stage adds to this layer."""
        return self[str(stage)](x)


class Level(nn.Module):
    """The layers that one stage puts in, with the stripes that later stages give them."""

    def __init__(self, first: int, sections: Sequence[Sequence[int]], count: int) -> None:
        super().__init__()
        silent = first > 0

        def unit(inputs: int, outputs: int) -> nn.Module:
            return branch_unit(inputs, outputs, silent=silent)

        def enter(inputs: int, outputs: int) -> nn.Module:
            return (
                nn.Conv2d(inputs, outputs, 1, 2, bias=False)
                if silent
                else conv_norm(inputs, outputs, 2)
            )

        self.sections = nn.ModuleList(
            nn.ModuleList(Stripes(unit, first, widths, widths) for _ in range(count))
            for widths in sections
        )
        self.enters = nn.ModuleList(
            Stripes(enter, first, narrow, wide) for narrow, wide in itertools.pairwise(sections)
        )

    def all_stripes(self) -> Iterator[Stripes]:
        """Every layer of this level."""
        yield from self.enters
        for units in self.sections:
            yield from units


class NestedBothCNN(AnytimeModule):
    """Nested in width and depth at once.

    Stage s has D 2^s layers in each section, all of width C_s. Stages 0 to s - 1 are inside it:
    the first C_{s-1} channels of the layers that they know never read anything newer. The states
    of the levels (the layers that one stage put in) are added as in :class:`DepthNestedCNN`.

    Parameters
    ----------
    in_channels : int
        Channels of an image.
    widths : sequence of int
        Cumulative widths C_1 < ... < C_N in the first section; each further section doubles them
        and halves the resolution.
    num_sections : int
        Sections.
    depth : int
        Layers D of a section in stage 0.
    num_classes : int
        Outputs of every head.
    stem_stride : int
        Down-sampling of the first convolution.

    Raises
    ------
    ValueError
        As for the other nested networks.

    Examples
    --------
    >>> model = NestedBothCNN(widths=(4, 6, 8)).eval()
    >>> [tuple(logits.shape) for logits in model(torch.zeros(2, 3, 32, 32))]
    [(2, 10), (2, 10), (2, 10)]
    """

    def __init__(
        self,
        in_channels: int = 3,
        widths: Sequence[int] = (8, 10, 12, 14),
        num_sections: int = 3,
        depth: int = 1,
        num_classes: int = 10,
        *,
        stem_stride: int = 2,
    ) -> None:
        super().__init__()
        self.widths = check_widths(widths)
        sections = [[c * 2**section for c in self.widths] for section in range(num_sections)]
        check_depth([section[0] for section in sections], depth, len(widths), stem_stride)
        self.num_stages, self.in_channels = len(self.widths), in_channels
        self.reduction = stem_stride * 2 ** (num_sections - 1)
        inputs = [in_channels] * self.num_stages
        self.stem = Stripes(lambda c, n: conv_norm(c, n, stem_stride), 0, inputs, self.widths)
        counts = [depth, *(depth * 2**earlier for earlier in range(self.num_stages - 1))]
        self.levels = nn.ModuleList(
            Level(first, sections, count) for first, count in enumerate(counts)
        )
        self.heads = nn.ModuleList(Head(c, num_classes) for c in sections[-1])

    def step(self, stage: int, x: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """See :meth:`AnytimeModule.step`; the cache holds what every layer reads and adds to."""
        stage = self.check_stage(stage)
        check_image(x, self.in_channels, self.reduction)
        walk = _Walk(stage, cache)
        older: list[list[str]] = []
        for first, level in enumerate(self.levels[: stage + 1]):
            state = self.stem.new(stage, x) if first == 0 else None
            places = []
            for section, units in enumerate(level.sections):
                if section:
                    end = walk.whole(f"level{first}.end{section}", first, state)
                    state = level.enters[section - 1].new(stage, end)
                name = f"level{first}.section{section}"
                below = older[section] if first else [""] * len(units)
                found, state = walk.section(name, first, units, below, state)
                places.append(found)
            older = places
        return self.heads[stage](walk.kept[older[-1][-1]]), walk.kept

    def introduced(self, stage: int) -> Iterator[nn.Module]:
        """See :meth:`AnytimeModule.introduced`."""
        for stripes in [self.stem, *(s for level in self.levels for s in level.all_stripes())]:
            if str(stage) in stripes:
                yield stripes[str(stage)]
        yield self.heads[stage]


class _Walk:
    """One pass through all levels at a stage: only new channels are computed.

    Tensors go by name: ``kept[name]`` has all channels, ``added[name]`` those that this stage adds.
    """

    def __init__(self, stage: int, cache: Cache) -> None:
        self.stage, self.cache = stage, cache
        self.kept: Cache = {}
        self.added: Cache = {}

    def whole(self, name: str, first: int, added: Tensor) -> Tensor:
        """Keep and return all channels of a tensor of a level that is new in stage ``first``."""
        self.added[name] = added
        known = self.stage > first
        self.kept[name] = torch.cat([self.cache[name], added], 1) if known else added
        return self.kept[name]

    def section(
        self, name: str, first: int, units: nn.ModuleList, below: list[str], state: Tensor | None
    ) -> tuple[list[str], Tensor]:
        """Return the names of the sums at the places of this level, and the level's last state."""
        places = []
        for number, (unit, place) in enumerate(zip(units, below, strict=True)):
            older = self._older(place, first)
            state = torch.zeros_like(older) if state is None else state
            before, after = f"{name}.{number}.before", f"{name}.{number}.after"
            read = self.whole(before, first, state if older is None else older + state)
            state = state + unit.new(self.stage, read)
            self.whole(after, first, state if older is None else older + state)
            places += [before, after] if first else [after]
        return places, state

    def _older(self, place: str, first: int) -> Tensor | None:
        """What the levels below add up to: all of it where this level has seen nothing before."""
        if not place:
            return None
        return self.added[place] if self.stage > first else self.kept[place]
