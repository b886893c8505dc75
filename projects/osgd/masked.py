"""The same width-nested network as dense layers under a mask: what the stripes are measured by."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from projects.osgd.width import StripedLayer, WidthNested


class MaskedLayer(nn.Module):
    """Dense weights whose entries from later to earlier stripes are, and stay, zero.

    The mask is multiplied in the forward pass, so these entries get no gradient, and momentum and
    weight decay leave a zero where it is.
    """

    def __init__(self, layer: StripedLayer) -> None:
        super().__init__()
        first = layer.blocks[0]
        rows, inputs = sum(layer.new), max(block.weight.shape[1] for block in layer.blocks)
        shape = (rows, inputs, *first.weight.shape[2:])
        weight, mask = first.weight.new_zeros(shape), first.weight.new_zeros(shape)
        for block, (start, stop) in zip(layer.blocks, _rows(layer), strict=True):
            read = block.weight.shape[1]
            weight[start:stop, :read] = block.weight.detach()
            mask[start:stop, :read] = 1
        self.weight = nn.Parameter(weight)
        self.register_buffer("mask", mask)
        biases = [block.bias for block in layer.blocks]
        self.bias = None if biases[0] is None else nn.Parameter(torch.cat(biases).detach())
        self.norm = _joined(layer.norms)
        self.stride = getattr(first, "stride", None)
        self.activation, self.residual = layer.activation, layer.residual

    def forward(self, x: Tensor) -> Tensor:
        """Return all channels, (batch, C_N, ...)."""
        weight = self.weight * self.mask
        if self.stride is None:
            made = self.norm(F.linear(x, weight, self.bias))
        else:
            made = self.norm(F.conv2d(x, weight, self.bias, self.stride, padding=1))
        return self.activation(made + x if self.residual else made)


class MaskedWidthNested(nn.Module):
    """A width-nested network as dense masked layers; same logits, parameters of its own.

    Parameters
    ----------
    model : WidthNestedMLP or WidthNestedCNN
        Whose weights are copied.

    Examples
    --------
    >>> from projects.osgd.width import WidthNestedMLP
    >>> model = WidthNestedMLP(64).eval()
    >>> masked, x = MaskedWidthNested(model).eval(), torch.randn(2, 64)
    >>> torch.allclose(model(x)[3], masked(x)[3], atol=1e-5)
    True
    """

    def __init__(self, model: WidthNested) -> None:
        super().__init__()
        self.num_stages, self.widths = model.num_stages, model.widths
        self.layers = nn.Sequential(*map(MaskedLayer, model.layers))
        self.heads = copy.deepcopy(model.heads)
        self.train(model.training)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the logits of all stages, the earliest first."""
        features = self.layers(x)
        pooled = features.mean((2, 3)) if features.dim() == 4 else features
        return [head(pooled[:, :c]) for head, c in zip(self.heads, self.widths, strict=True)]


def _rows(layer: StripedLayer) -> list[tuple[int, int]]:
    ends = [sum(layer.new[: stage + 1]) for stage in range(len(layer.new))]
    return list(zip([0, *ends[:-1]], ends, strict=True))


def _joined(norms: nn.ModuleList) -> nn.Module:
    """Return one normalisation of all channels that equals those of the stripes side by side."""
    first = norms[0]
    if isinstance(first, nn.Identity):
        return nn.Identity()
    channels = sum(len(norm.weight) for norm in norms)
    if isinstance(first, nn.GroupNorm):
        made = nn.GroupNorm(sum(norm.num_groups for norm in norms), channels)
    else:
        made = type(first)(channels)
    joined = {
        name: torch.cat([norm.state_dict()[name] for norm in norms]) if value.dim() else value
        for name, value in first.state_dict().items()
    }
    made.load_state_dict(joined)
    return made
