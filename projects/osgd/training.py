"""Training of anytime networks: one recipe for every method, tuned on a validation split."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.errors import did_you_mean
from projects.osgd.anytime import AnytimeModule
from projects.osgd.baselines import optimizer
from projects.osgd.data import Split, augment

SCHEDULES = ("cosine", "steps", "constant")
Make = Callable[[], nn.Module]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; the same for all methods but for the learning rate.

    Attributes
    ----------
    epochs, batch : int
        Passes over the data, and images a step.
    lr, momentum, weight_decay : float
        Of stochastic gradient descent.
    schedule : {"cosine", "steps", "constant"}
        Learning rate over the steps; ``steps`` divides it by 10 at a half and at three quarters.
    augment : bool
        Shift and flip images.
    distill : float
        Share of each earlier stage's loss that is the divergence from the last stage's answer.
    temperature : float
        Of the distilled answers.
    device : str
        Where to train.
    bfloat16 : bool
        Run the forward pass under autocast.
    """

    epochs: int = 20
    batch: int = 64
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    schedule: str = "cosine"
    augment: bool = False
    distill: float = 0.0
    temperature: float = 2.0
    device: str = "cpu"
    bfloat16: bool = False

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise ValueError(
                f"unknown schedule {self.schedule!r}{did_you_mean(self.schedule, SCHEDULES)}"
            )
        if self.epochs < 1 or self.batch < 2:
            raise ValueError(f"{self.epochs} epochs of batches of {self.batch}: at least 1 and 2")
        if not 0 <= self.distill <= 1:
            raise ValueError(f"distill={self.distill}: a share between 0 and 1")

    def rate(self, progress: float) -> float:
        """Share of the learning rate after a share of the steps.

        Examples
        --------
        >>> Recipe().rate(0.5), Recipe(schedule="steps").rate(0.6)
        (0.5, 0.1)
        """
        if self.schedule == "cosine":
            return round(0.5 * (1 + math.cos(math.pi * progress)), 12)
        return 0.1 ** ((progress >= 0.5) + (progress >= 0.75)) if self.schedule == "steps" else 1.0


def stage_losses(logits: Sequence[Tensor], y: Tensor, recipe: Recipe) -> list[Tensor]:
    """Cross-entropy of every stage, mixed with the divergence from the last stage's answer."""
    losses = [F.cross_entropy(found, y) for found in logits]
    if not recipe.distill:
        return losses
    heat = recipe.temperature
    teacher = F.log_softmax(logits[-1].detach() / heat, 1)
    for stage, found in enumerate(logits[:-1]):
        student = F.log_softmax(found / heat, 1)
        apart = F.kl_div(student, teacher, reduction="batchmean", log_target=True) * heat**2
        losses[stage] = torch.lerp(losses[stage], apart, recipe.distill)
    return losses


def fit(
    model: nn.Module,
    split: Split,
    method: str,
    recipe: Recipe,
    seed: int = 0,
    on_epoch: Callable[[int], None] | None = None,
) -> None:
    """Train all stages of a network together.

    Parameters
    ----------
    model : Module
        Returns the logits of all stages.
    split : Split
        Its training part is used.
    method : str
        One of :data:`projects.osgd.baselines.METHODS`.
    recipe : Recipe
        Everything else.
    seed : int
        Of the order of the images.
    on_epoch : callable, optional
        Called with the number of epochs done, from 0.
    """
    model.to(recipe.device).train()
    base = torch.optim.SGD(
        model.named_parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    descent = optimizer(method, base, model.num_stages)

    def learn(x: Tensor, y: Tensor) -> None:
        descent.zero_grad()
        with torch.autocast(recipe.device, torch.bfloat16, enabled=recipe.bfloat16):
            logits = model(x)
        descent.step(stage_losses([found.float() for found in logits], y, recipe))

    _run(learn, base, split, recipe, seed, on_epoch)


def fit_greedily(model: AnytimeModule, split: Split, recipe: Recipe, seed: int = 0) -> None:
    """Train stage after stage, each for all epochs, with everything before it frozen."""
    model.to(recipe.device)
    for stage in range(model.num_stages):
        model.eval()
        model.requires_grad_(False)
        for module in model.introduced(stage):
            module.train().requires_grad_(True)
        base = torch.optim.SGD(
            model.parameters_of(stage),
            lr=recipe.lr,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            fused=True,
        )

        def learn(x: Tensor, y: Tensor, stage: int = stage, base: torch.optim.SGD = base) -> None:
            base.zero_grad()
            logits = next(itertools.islice(model.stages(x), stage, None))
            F.cross_entropy(logits, y).backward()
            base.step()

        _run(learn, base, split, recipe, seed)
    model.requires_grad_(True)


def _run(
    learn: Callable[[Tensor, Tensor], None],
    base: torch.optim.Optimizer,
    split: Split,
    recipe: Recipe,
    seed: int,
    on_epoch: Callable[[int], None] | None = None,
) -> None:
    """Take the batches of all epochs through ``learn``, at the scheduled learning rate."""
    x = torch.from_numpy(split.train_x).to(recipe.device)
    y = torch.from_numpy(split.train_y).to(recipe.device)
    moves = torch.Generator(recipe.device).manual_seed(seed)
    torch.manual_seed(seed)  # of methods that draw, such as PCGrad
    for share, chosen in batches(len(x), recipe, seed, on_epoch):
        for group in base.param_groups:
            group["lr"] = recipe.lr * share
        images = x[chosen]
        learn(augment(images, moves) if recipe.augment else images, y[chosen])


def batches(
    count: int, recipe: Recipe, seed: int, on_epoch: Callable[[int], None] | None = None
) -> Iterator[tuple[float, Tensor]]:
    """Yield for every step the share of the learning rate and the numbers of the images.

    Images that do not fill a last batch are left out of the epoch.

    Examples
    --------
    >>> [len(chosen) for _, chosen in batches(10, Recipe(epochs=2, batch=4), seed=0)]
    [4, 4, 4, 4]
    """
    shuffle = torch.Generator().manual_seed(seed)
    steps = max(1, count // recipe.batch)
    for epoch in range(recipe.epochs):
        if on_epoch:
            on_epoch(epoch)
        order = torch.randperm(count, generator=shuffle).to(recipe.device)
        for number in range(steps):
            share = recipe.rate((epoch + number / steps) / recipe.epochs)
            yield share, order[number * recipe.batch : (number + 1) * recipe.batch]
    if on_epoch:
        on_epoch(recipe.epochs)


@torch.no_grad()
def errors(model: nn.Module, x: np.ndarray, y: np.ndarray, batch: int = 1000) -> np.ndarray:
    """Share of wrong answers of every stage, shape (N,)."""
    model.eval()
    device = next(model.parameters()).device
    wrong = np.zeros(model.num_stages)
    for start in range(0, len(x), batch):
        part = slice(start, start + batch)
        truth = torch.from_numpy(y[part]).to(device)
        for stage, logits in enumerate(model(torch.from_numpy(x[part]).to(device))):
            wrong[stage] += float((logits.argmax(1) != truth).sum())
    return wrong / len(x)


def train(make: Make, split: Split, method: str, recipe: Recipe, seed: int) -> nn.Module:
    """Make a network from a seed and train it by a method, or ``greedy``, or ``stand-alone``."""
    model = seeded(make, seed)
    if method == "greedy":
        fit_greedily(model, split, recipe, seed)
    else:
        # Networks that share nothing: the gradient of the sum is each one's own.
        fit(model, split, "joint" if method == "stand-alone" else method, recipe, seed)
    return model


class Alone(nn.Module):
    """Separate networks of one stage each, shown as one network of several stages."""

    def __init__(self, models: Sequence[nn.Module]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        self.num_stages = len(self.models)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the logits of all networks."""
        return [model(x)[-1] for model in self.models]


def tuned(
    learn: Callable[[float, int], np.ndarray], rates: Sequence[float], seeds: Sequence[int]
) -> tuple[float, dict[float, float]]:
    """Learning rate with the smallest mean error over stages and seeds.

    Parameters
    ----------
    learn : callable
        Maps a learning rate and a seed to the validation errors of the stages.
    rates : sequence of float
        Grid; a mean that is not finite loses.
    seeds : sequence of int
        Not those that are reported.

    Returns
    -------
    tuple
        The learning rate, and the mean error of each.

    Examples
    --------
    >>> tuned(lambda rate, seed: np.array([abs(rate - 0.1) + seed]), [0.01, 0.1, 1.0], [0, 1])[0]
    0.1
    """
    means = {rate: float(np.mean([learn(rate, seed) for seed in seeds])) for rate in rates}
    finite = {rate: mean for rate, mean in means.items() if math.isfinite(mean)} or means
    return min(finite, key=finite.__getitem__), means


def gradient_cosines(model: nn.Module, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Cosines of the stages' gradients over the parameters that both reach, shape (N, N).

    The network's mode is kept, and its running statistics are not touched.
    """
    from projects.osgd.gradients import GradientMatrix, pairwise_cosines, task_gradients

    training = model.training
    model.eval()
    losses = [F.cross_entropy(found, torch.from_numpy(y)) for found in model(torch.from_numpy(x))]
    parameters = list(model.parameters())
    rows = task_gradients(losses, parameters)
    reached = [
        tuple(task for task, row in enumerate(rows) if row[place] is not None)
        for place in range(len(parameters))
    ]
    matrix = GradientMatrix(parameters, ["all"] * len(parameters), reached, len(losses))
    matrix.put(rows, add=False)
    model.train(training)
    return pairwise_cosines(matrix)


def seeded(make: Make, seed: int) -> nn.Module:
    """Make a network whose first weights follow from a seed."""
    torch.manual_seed(seed)
    return make()
