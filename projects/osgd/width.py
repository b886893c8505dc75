"""Width nesting: every layer is cut into stripes of channels, and no stripe reads a later one.

Section 3 of the paper. Stripe s of a layer is one block of weights, from the first C_s channels of
the layer below to the C_s - C_{s-1} channels that stage s adds. The block lower-triangular matrix
of a whole layer is thus stored without its zeros.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from common.errors import did_you_mean
from projects.osgd.anytime import AnytimeModule, Cache, check_image, check_widths

NORMS = ("batch", "group", "none")
# Returns the weights from some channels to others: a Linear or a Conv2d.
Block = Callable[[int, int], nn.Module]


class StripedLayer(nn.Module):
    """One layer: weights, normalisation and activation, a block for each stripe.

    Parameters
    ----------
    block : callable
        Makes the weights of a stripe from numbers of channels.
    below : sequence of int
        Channels that each stripe reads.
    widths : sequence of int
        Cumulative widths C_s of this layer.
    norm : callable
        Makes the normalisation of a number of channels.
    activation : Module
        Applied last.
    residual : bool
        Add the stripe's own channels of the layer below before the activation.
    """

    def __init__(
        self,
        block: Block,
        below: Sequence[int],
        widths: Sequence[int],
        norm: Callable[[int], nn.Module],
        activation: nn.Module,
        residual: bool = False,
    ) -> None:
        super().__init__()
        new = [wide - narrow for narrow, wide in zip((0, *widths), widths, strict=False)]
        self.blocks = nn.ModuleList(block(c, n) for c, n in zip(below, new, strict=True))
        self.norms = nn.ModuleList(norm(n) for n in new)
        self.activation = activation
        self.residual = residual
        self.new = new

    def forward(self, stage: int, below: Tensor) -> Tensor:
        """Return the channels that a stage adds.

        ``below`` holds the first C_s channels of the layer below, (batch, C_s, ...).
        """
        made = self.norms[stage](self.blocks[stage](below))
        if self.residual:
            made = made + below[:, -self.new[stage] :]
        return self.activation(made)


class WidthNested(AnytimeModule):
    """What the nested multi-layer perceptron and the nested convolutional network share."""

    def __init__(
        self, layers: Sequence[StripedLayer], widths: Sequence[int], num_classes: int
    ) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.num_classes = num_classes
        self.num_stages = len(self.widths)
        self.layers = nn.ModuleList(layers)
        self.heads = nn.ModuleList(nn.Linear(width, num_classes) for width in self.widths)

    def check(self, x: Tensor) -> None:
        """Raise ValueError if the input has another shape than the network expects."""
        raise NotImplementedError

    def step(self, stage: int, x: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """See :meth:`AnytimeModule.step`; the cache holds the channels so far of every layer."""
        stage = self.check_stage(stage)
        self.check(x)
        below, kept = x, {}
        for place, layer in enumerate(self.layers):
            made, name = layer(stage, below), f"layer{place}"
            below = kept[name] = torch.cat([cache[name], made], 1) if stage else made
        return self.heads[stage](_pooled(below)), kept

    def introduced(self, stage: int) -> Iterator[nn.Module]:
        """See :meth:`AnytimeModule.introduced`."""
        for layer in self.layers:
            yield layer.blocks[stage]
            yield layer.norms[stage]
        yield self.heads[stage]


class WidthNestedMLP(WidthNested):
    """Multi-layer perceptron with nested hidden layers.

    Parameters
    ----------
    in_features : int
        Size of an input vector; every stripe of the first layer reads all of it.
    widths : sequence of int
        Cumulative widths C_1 < ... < C_N of every hidden layer. Use at least 4 units in the first
        stage: two units and ReLU collapse to one class.
    depth : int
        Hidden layers.
    num_classes : int
        Outputs of every head.
    norm : {"batch", "group", "none"}
        Normalisation of every stripe.
    group_size : int
        Channels in one group of ``norm="group"``.
    negative_slope : float
        Of the leaky ReLU; 0 is ReLU.

    Raises
    ------
    ValueError
        If widths do not increase, are not divisible by ``group_size``, or an option is unknown.

    Examples
    --------
    >>> model = WidthNestedMLP(64, widths=(8, 16, 32, 64)).eval()
    >>> [tuple(logits.shape) for logits in model(torch.zeros(2, 64))]
    [(2, 10), (2, 10), (2, 10), (2, 10)]
    """

    def __init__(
        self,
        in_features: int,
        widths: Sequence[int] = (8, 16, 32, 64),
        depth: int = 3,
        num_classes: int = 10,
        *,
        norm: str = "batch",
        group_size: int = 4,
        negative_slope: float = 0.0,
    ) -> None:
        widths = check_widths(widths, group_size if norm == "group" else 1)
        if depth < 1:
            raise ValueError(f"depth is {depth}; a network needs at least one hidden layer")
        make_norm = _norm(norm, nn.BatchNorm1d, group_size)
        inputs = [(in_features,) * len(widths), *[widths] * (depth - 1)]
        layers = [
            StripedLayer(_linear(norm), below, widths, make_norm, activation(negative_slope))
            for below in inputs
        ]
        super().__init__(layers, widths, num_classes)
        self.in_features = in_features

    def check(self, x: Tensor) -> None:
        """See :meth:`WidthNested.check`."""
        if x.dim() != 2 or x.shape[1] != self.in_features:
            raise ValueError(
                f"input of shape {tuple(x.shape)}; expected (batch, {self.in_features})"
            )


class WidthNestedCNN(WidthNested):
    """Convolutional network with nested channels and identity skips.

    Layers are 3 x 3 convolutions; those of stride 1 after the first add the channels that they
    read. The default answers 32 x 32 images with 4.3 million multiply-accumulates.

    Parameters
    ----------
    in_channels : int
        Channels of an image; every stripe of the first layer reads all of them.
    widths : sequence of int
        Cumulative widths C_1 < ... < C_N of every layer.
    strides : sequence of int
        One layer each.
    num_classes : int
        Outputs of every head.
    norm, group_size, negative_slope
        As in :class:`WidthNestedMLP`.

    Raises
    ------
    ValueError
        If widths do not increase, are not divisible by ``group_size``, or an option is unknown;
        in a call, if an image is smaller than the product of the strides.

    Examples
    --------
    >>> model = WidthNestedCNN(widths=(4, 8)).eval()
    >>> [tuple(logits.shape) for logits in model(torch.zeros(2, 3, 32, 32))]
    [(2, 10), (2, 10)]
    """

    def __init__(
        self,
        in_channels: int = 3,
        widths: Sequence[int] = (8, 16, 32, 64),
        strides: Sequence[int] = (2, 2, 1, 2, 1),
        num_classes: int = 10,
        *,
        norm: str = "batch",
        group_size: int = 4,
        negative_slope: float = 0.0,
    ) -> None:
        widths = check_widths(widths, group_size if norm == "group" else 1)
        if not strides or min(strides) < 1:
            raise ValueError(f"strides {list(strides)} must name at least one layer, each >= 1")
        make_norm = _norm(norm, nn.BatchNorm2d, group_size)
        layers = []
        for place, stride in enumerate(strides):
            below = widths if place else (in_channels,) * len(widths)
            skip = place > 0 and stride == 1
            slope = activation(negative_slope)
            layers.append(StripedLayer(_conv(stride, norm), below, widths, make_norm, slope, skip))
        super().__init__(layers, widths, num_classes)
        self.in_channels = in_channels
        self.reduction = math.prod(strides)

    def check(self, x: Tensor) -> None:
        """See :meth:`WidthNested.check`."""
        check_image(x, self.in_channels, self.reduction)


def activation(negative_slope: float) -> nn.Module:
    """Return a leaky ReLU, or ReLU for slope 0."""
    return nn.LeakyReLU(negative_slope) if negative_slope else nn.ReLU()


def _linear(norm: str) -> Block:
    return lambda inputs, outputs: nn.Linear(inputs, outputs, bias=norm == "none")


def _conv(stride: int, norm: str) -> Block:
    return lambda inputs, outputs: nn.Conv2d(
        inputs, outputs, 3, stride, padding=1, bias=norm == "none"
    )


def _norm(kind: str, batch: type[nn.Module], group_size: int) -> Callable[[int], nn.Module]:
    if kind not in NORMS:
        raise ValueError(f"unknown norm {kind!r}{did_you_mean(kind, NORMS)}")
    if kind == "batch":
        return batch
    if kind == "group":
        return lambda channels: nn.GroupNorm(channels // group_size, channels)
    return lambda channels: nn.Identity()


def _pooled(x: Tensor) -> Tensor:
    return x.mean((2, 3)) if x.dim() == 4 else x
