"""Networks of one shape trained side by side: one pass for all seeds, as if each were alone.

Small networks spend their time on starting operators. Here a layer of M networks is one batched
product. Each network keeps parameters, statistics and batches of its own, and as every tensor stays
a vector space of its own, orthogonalisation never mixes two of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from projects.osgd.baselines import optimizer
from projects.osgd.data import Split
from projects.osgd.masked import MaskedLayer, MaskedWidthNested
from projects.osgd.optimizer import OSGD
from projects.osgd.training import Alone, Make, Recipe, batches, seeded, stage_losses
from projects.osgd.wrapper import LossesOptimizer

APART = ("joint", "stand-alone", "osgd", "osgd global", "osgd normalised", "osgd reversed")
"""Methods that treat networks in one sum as if each were alone. Weights that follow from losses and
the aggregators of torchjd would see all networks as one."""


class Stacked(nn.Module):
    """Masked perceptrons of one shape, with batch normalisation, as one network.

    Parameters
    ----------
    models : sequence of MaskedWidthNested
        M networks; they stay usable, and are trained through this one.

    Examples
    --------
    >>> from projects.osgd.width import WidthNestedMLP
    >>> models = [MaskedWidthNested(WidthNestedMLP(64, (4, 8))).eval() for _ in range(3)]
    >>> x = torch.randn(3, 5, 64)
    >>> found = Stacked(models).eval()(x)[1]
    >>> torch.allclose(found[2], models[2](x[2])[1], atol=1e-5)
    True
    """

    def __init__(self, models: Sequence[MaskedWidthNested]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        self.num_stages, self.widths = models[0].num_stages, models[0].widths
        # Found once: looking up an attribute of a module takes longer than many an operator.
        self._layers = [_Layer(same) for same in zip(*(m.layers for m in models), strict=True)]
        self._heads = [_Linear(same) for same in zip(*(m.heads for m in models), strict=True)]

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the logits of all stages, each (M, batch, classes), of inputs (M, batch, ...)."""
        for layer in self._layers:
            x = layer(x, self.training)
        pairs = zip(self._heads, self.widths, strict=True)
        return [head(x[..., :width]) for head, width in pairs]


def stackable(method: str, model: nn.Module) -> bool:
    """Whether :func:`train_together` can train networks like this one by this method."""
    alike = model.models if isinstance(model, Alone) else [model]
    return method in APART and all(
        isinstance(each, MaskedWidthNested)
        and all(isinstance(layer.norm, nn.BatchNorm1d) for layer in each.layers)
        for each in alike
    )


def train_together(
    make: Make,
    splits: Sequence[Split],
    method: str,
    recipe: Recipe,
    rates: Sequence[float],
    seeds: Sequence[int],
) -> list[nn.Module]:
    """Train M networks as :func:`projects.osgd.training.train` trains each, all at once.

    Parameters
    ----------
    make : callable
        Returns a :class:`MaskedWidthNested`, or an :class:`Alone` of such.
    splits : sequence of Split
        Data of each network; equally many images in each.
    method : str
        One of :data:`APART`.
    recipe : Recipe
        Everything but the learning rate.
    rates, seeds : sequence of float and int
        Learning rate and seed of each network.

    Raises
    ------
    ValueError
        If the method looks at all networks at once, or they are no masked perceptrons.
    """
    models = [seeded(make, seed) for seed in seeds]
    if not stackable(method, models[0]):
        raise ValueError(
            f"{method!r} on {type(models[0]).__name__} cannot train networks together; allowed are "
            f"{', '.join(APART)} on masked perceptrons with batch normalisation"
        )
    stack = _stacked(models).train()
    groups = [
        {"params": list(model.named_parameters(prefix=str(place))), "lr": rate}
        for place, (model, rate) in enumerate(zip(models, rates, strict=True))
    ]
    options = {"momentum": recipe.momentum, "weight_decay": recipe.weight_decay}
    base = torch.optim.SGD(groups, **options, fused=True)
    descent = _descent(method, base, stack.num_stages)
    x = torch.stack([torch.from_numpy(split.train_x) for split in splits])
    y = torch.stack([torch.from_numpy(split.train_y) for split in splits])
    places = torch.arange(len(models))[:, None]
    for steps in zip(*(batches(x.shape[1], recipe, seed) for seed in seeds), strict=True):
        for group, rate, (share, _) in zip(base.param_groups, rates, steps, strict=True):
            group["lr"] = rate * share
        chosen = torch.stack([images for _, images in steps])
        logits = [found.flatten(0, 1) for found in stack(x[places, chosen])]
        # a mean over all networks, where each one's own mean is wanted
        losses = stage_losses(logits, y[places, chosen].flatten(), recipe)
        descent.zero_grad()
        descent.step([len(models) * loss for loss in losses])
    return models


def _descent(method: str, base: torch.optim.Optimizer, tasks: int) -> LossesOptimizer:
    if method == "osgd global":  # of each network
        return OSGD(base, tasks, per=lambda name: name.partition(".")[0])
    return optimizer("joint" if method == "stand-alone" else method, base, tasks)


def _stacked(models: Sequence[nn.Module]) -> nn.Module:
    if isinstance(models[0], Alone):
        return Alone([Stacked(same) for same in zip(*(m.models for m in models), strict=True)])
    return Stacked(models)


class _Linear:
    """Linear layers of all networks as one batched product."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        self.weights = [layer.weight for layer in layers]
        self.biases = None if layers[0].bias is None else [layer.bias for layer in layers]

    def __call__(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        weight = torch.stack(self.weights)
        weight = (weight if mask is None else weight * mask).mT
        if self.biases is None:
            return torch.bmm(x, weight)
        return torch.baddbmm(torch.stack(self.biases)[:, None], x, weight)


class _Layer:
    """Masked layers of all networks, with one normalisation of all their channels."""

    def __init__(self, layers: Sequence[MaskedLayer]) -> None:
        self.linear, first = _Linear(layers), layers[0]
        self.mask, self.activation, self.residual = first.mask, first.activation, first.residual
        norms = [layer.norm for layer in layers]
        self.scales, self.shifts = [n.weight for n in norms], [n.bias for n in norms]
        self.mean, self.variance = (_shared(norms, f"running_{name}") for name in ("mean", "var"))
        self.options = {"momentum": norms[0].momentum, "eps": norms[0].eps}

    def __call__(self, x: Tensor, training: bool) -> Tensor:
        made = self.linear(x, self.mask)
        networks, batch, width = made.shape
        flat = F.batch_norm(
            made.transpose(0, 1).reshape(batch, networks * width),
            *(self.mean, self.variance, torch.cat(self.scales), torch.cat(self.shifts)),
            training=training,
            **self.options,
        )
        made = flat.view(batch, networks, width).transpose(0, 1)
        return self.activation(made + x if self.residual else made)


def _shared(norms: Sequence[nn.BatchNorm1d], name: str) -> Tensor:
    """Make running statistics views of one vector, which one call then updates; return it."""
    whole = torch.cat([getattr(norm, name) for norm in norms])
    for norm, part in zip(norms, whole.chunk(len(norms)), strict=True):
        setattr(norm, name, part)
    return whole
