"""Width-nested networks at inference: normalisation folded away, activations written in place.

One buffer per layer holds all channels. A stage writes its stripe behind those of earlier stages,
so that the next layer reads the first C_s channels without a copy.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from projects.osgd.width import StripedLayer, WidthNested


class Incremental:
    """Run a width-nested network stage after stage with as little overhead as eager mode allows.

    Parameters
    ----------
    model : WidthNestedMLP or WidthNestedCNN
        Copied, in evaluation mode; only ReLU networks with batch or no normalisation are folded.
    input_shape : sequence of int
        Shape of the inputs, with the batch: the buffers are made for it.

    Raises
    ------
    ValueError
        If the network has another activation or normalisation.

    Examples
    --------
    >>> from projects.osgd.width import WidthNestedCNN
    >>> model, x = WidthNestedCNN(widths=(4, 8)).eval(), torch.randn(1, 3, 32, 32)
    >>> fast = list(Incremental(model, x.shape).stages(x))
    >>> torch.allclose(fast[1], model(x)[1], atol=1e-5)
    True
    """

    def __init__(self, model: WidthNested, input_shape: Sequence[int]) -> None:
        self.model = folded(model)
        self.ends = model.widths
        self.buffers: list[Tensor] = []
        x = torch.zeros(*input_shape, dtype=next(self.model.parameters()).dtype)
        with torch.no_grad():
            _, cache = self.model.step(0, x, {})
        for value in cache.values():
            self.buffers.append(value.new_empty(len(value), self.ends[-1], *value.shape[2:]))

    @torch.no_grad()
    def stages(self, x: Tensor) -> Iterator[Tensor]:
        """Yield the logits of stage after stage; the buffers belong to the latest call."""
        for stage in range(len(self.ends)):
            yield self.model.heads[stage](self._features(stage, x))

    @torch.no_grad()
    def last(self, x: Tensor) -> Tensor:
        """Return the last stage's logits alone; no other head is computed."""
        for stage in range(len(self.ends)):
            features = self._features(stage, x)
        return self.model.heads[-1](features)

    def _features(self, stage: int, x: Tensor) -> Tensor:
        stop = self.ends[stage]
        start = self.ends[stage - 1] if stage else 0
        below = x
        for layer, buffer in zip(self.model.layers, self.buffers, strict=True):
            made = layer.blocks[stage](below)
            if layer.residual:
                made += below[:, start:]
            torch.clamp_min(made, 0, out=buffer[:, start:stop])
            below = buffer[:, :stop]
        return below.mean((2, 3)) if below.dim() == 4 else below


def folded(model: WidthNested) -> WidthNested:
    """Return a copy in evaluation mode whose batch normalisation is part of the weights."""
    model = copy.deepcopy(model).eval().requires_grad_(False)
    for layer in model.layers:
        _fold(layer)
    return model


def _fold(layer: StripedLayer) -> None:
    if not isinstance(layer.activation, nn.ReLU):
        raise ValueError(f"activation {layer.activation}; only ReLU is run in place")
    for stage, (block, norm) in enumerate(zip(layer.blocks, layer.norms, strict=True)):
        if isinstance(norm, nn.Identity):
            continue
        if not isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d)):
            raise ValueError(f"{type(norm).__name__} depends on the input and cannot be folded")
        fuse = fuse_conv_bn_eval if isinstance(block, nn.Conv2d) else fuse_linear_bn_eval
        layer.blocks[stage] = fuse(block, norm)
        layer.norms[stage] = nn.Identity()
