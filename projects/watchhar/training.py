"""The training recipe of section 2.6, for every network here: one loop, early stop, best state."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from common.errors import known
from projects.watchhar.adam import Adam
from projects.watchhar.augmentation import Augmentation
from projects.watchhar.discrimination import Objective

LOSSES = ("bce", "softmax")
Inputs = tuple[Tensor, ...]


@dataclass(frozen=True)
class Settings:
    """How to train; the defaults are the released ones.

    Attributes
    ----------
    epochs, batch : int
        At most so many passes, in batches of this size.
    learning_rate : float
        Of Adam, divided by ten after ``patience_rate`` epochs without a better validation loss,
        down to ``least_rate``.
    patience : int
        Epochs without a better validation loss before the end.
    loss : {"bce", "softmax"}
        ``bce``: every class is a yes-or-no question of its own (released), though one class is
        read off at the end (trap 6). ``softmax``: one question with many answers.
    class_weights : bool
        Weigh classes by the inverse of their frequency.
    mixup, centre : float
        Training on mixed windows, and the pull of features to their class's centre; see
        :class:`projects.watchhar.discrimination.Objective`. The paper has neither.
    augmentation : Augmentation
        Of the training part.
    """

    epochs: int = 50
    batch: int = 32
    learning_rate: float = 4e-5
    patience: int = 5
    patience_rate: int = 3
    least_rate: float = 1e-6
    loss: str = "bce"
    class_weights: bool = True
    mixup: float = 0.0
    centre: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        known(self.loss, LOSSES, "loss")


@dataclass(frozen=True)
class Part:
    """Inputs of a network and the classes of its windows.

    Attributes
    ----------
    inputs : tuple of Tensor
        What ``forward`` takes, each with n rows.
    labels : Tensor of int64, shape (n,)
        Classes; 0 or 1 for a network with one output.
    """

    inputs: Inputs
    labels: Tensor

    @classmethod
    def of(cls, labels: np.ndarray, *inputs: np.ndarray) -> Part:
        """Make a part from arrays."""
        arrays = (torch.from_numpy(np.ascontiguousarray(x, np.float32)) for x in inputs)
        return cls(tuple(arrays), torch.from_numpy(np.ascontiguousarray(labels, np.int64)))

    def rows(self, chosen: Tensor | slice) -> Part:
        """Return some of the rows."""
        return Part(tuple(x[chosen] for x in self.inputs), self.labels[chosen])


def fit(
    model: nn.Module,
    train: Part,
    validation: Part,
    settings: Settings = Settings(),
    *,
    seed: int = 0,
    device: str = "cpu",
) -> list[float]:
    """Train a network in place and leave it with its best weights, in evaluation mode.

    Parameters
    ----------
    model : nn.Module
        Maps the inputs to logits, shape (B,) for events or (B, classes).
    train, validation : Part
        Of different participants.
    settings : Settings
        See there.
    seed : int
        Of order, dropout and augmentation; the caller's random state stays as it was.
    device : str
        Where to compute.

    Returns
    -------
    list of float
        Validation loss after each epoch.

    Raises
    ------
    ValueError
        If a part is empty, or the loss stops being a number.

    Examples
    --------
    >>> part = Part.of(np.array([0, 1]), np.array([[-1.0], [1.0]]))
    >>> losses = fit(nn.Linear(1, 2), part, part, Settings(epochs=3, learning_rate=0.1))
    >>> losses[2] < losses[0]
    True
    """
    if not len(train.labels) or not len(validation.labels):
        raise ValueError(
            f"{len(train.labels)} windows to train on, {len(validation.labels)} to validate with"
        )
    devices = [torch.cuda.current_device()] if device != "cpu" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        # the layout in which convolutions of few channels are fast on a CPU
        model = model.to(device, memory_format=torch.channels_last)
        return _fit(model, train, validation, settings, seed, device)


def _fit(
    model: nn.Module, train: Part, validation: Part, settings: Settings, seed: int, device: str
) -> list[float]:
    generator = torch.Generator().manual_seed(seed)
    criterion = loss_function(train.labels, settings, device)
    optimiser = Adam(
        model.parameters(),
        settings.learning_rate,
        patience=settings.patience_rate,
        least=settings.least_rate,
    )
    objective = Objective(criterion, mixup=settings.mixup, centre=settings.centre, seed=seed)
    best, waited, losses = copy.deepcopy(model.state_dict()), 0, []
    for _ in range(settings.epochs):
        _epoch(model, train, settings, objective, optimiser, generator, device)
        _settle(model, train, device)
        logits = predict(model, validation.inputs, device=device)
        loss = float(criterion(logits.to(device), validation.labels.to(device)))
        if not np.isfinite(loss):
            raise ValueError(f"validation loss is {loss} after {len(losses) + 1} epochs")
        optimiser.note(loss)
        if loss < min(losses, default=np.inf):
            best, waited = copy.deepcopy(model.state_dict()), 0
        else:
            waited += 1
        losses.append(loss)
        if waited >= settings.patience:
            break
    model.load_state_dict(best)
    model.eval()
    return losses


def _epoch(
    model: nn.Module,
    train: Part,
    settings: Settings,
    objective: Objective,
    optimiser: Adam,
    generator: torch.Generator,
    device: str,
) -> None:
    model.train()
    order = torch.randperm(len(train.labels), generator=generator)
    for rows in order.split(settings.batch):
        if len(rows) == 1 and len(order) > 1:
            continue  # batch normalisation cannot learn from one window
        part = train.rows(rows)
        inputs = settings.augmentation(part.inputs, generator)
        optimiser.zero()
        inputs = [x.to(device) for x in inputs]
        objective(model, inputs, part.labels.to(device)).backward()
        optimiser.step()


@torch.no_grad()
def _settle(model: nn.Module, train: Part, device: str, batch: int = 128) -> None:
    """Give batch normalisation without momentum the statistics of the weights as they are now.

    Running statistics lag behind weights that change fast; a validation loss taken with them says
    stop although the network learns. Y. Wu and J. Johnson, Rethinking "Batch" in BatchNorm, 2021.
    """
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.momentum is None]
    if not layers:
        return
    model.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.train()
    for part in zip(*(x.split(batch) for x in train.inputs), strict=True):
        if len(part[0]) > 1:
            model(*(x.to(device) for x in part))


def loss_function(
    labels: Tensor, settings: Settings, device: str = "cpu"
) -> Callable[[Tensor, Tensor], Tensor]:
    """Loss of logits (B,) or (B, classes) against classes (B,).

    With class weights, class c weighs n / (classes present * n_c), as scikit-learn's "balanced".
    """
    counts = torch.bincount(labels).float()
    balanced = len(labels) / ((counts > 0).sum() * counts.clamp(min=1))
    weights = (balanced if settings.class_weights else torch.ones_like(counts)).to(device)

    def of(logits: Tensor, truth: Tensor) -> Tensor:
        if logits.ndim == 1:
            return functional.binary_cross_entropy_with_logits(
                logits, truth.float(), weight=weights[truth]
            )
        classes = functional.pad(weights, (0, logits.shape[1] - len(weights)), value=1.0)
        if settings.loss == "softmax":
            return functional.cross_entropy(logits, truth, weight=classes)
        one_hot = functional.one_hot(truth, logits.shape[1]).float()
        return functional.binary_cross_entropy_with_logits(logits, one_hot, weight=classes)

    return of


@torch.no_grad()
def predict(
    model: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    *,
    batch: int = 256,
    device: str = "cpu",
) -> Tensor:
    """Outputs of a network in evaluation mode, in batches, on the CPU.

    ``model`` may also be one of its methods, such as ``features``.
    """
    module = getattr(model, "__self__", model)
    module.eval()
    parts = (x.split(batch) for x in inputs)
    batches = zip(*parts, strict=True)
    return torch.cat([model(*(x.to(device) for x in part)).cpu() for part in batches])
