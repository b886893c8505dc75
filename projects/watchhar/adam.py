"""Adam and its schedule, without the classes of ``torch.optim``.

Those import PyTorch's compiler when the first one is made, which takes longer than many a training
here. The update is PyTorch's own all the same, by its functional form.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torch.optim.adam import adam

BETAS, EPS = (0.9, 0.999), 1e-8
BETTER = 1e-4  # part by which a loss has to fall to count as better


class Adam:
    """D. Kingma and J. Ba, Adam, ICLR 2015, with a rate that falls when the loss no longer does.

    Parameters
    ----------
    parameters : iterable of Tensor
        Those that need no gradient stay as they are.
    rate : float
        Learning rate.
    patience : int
        Epochs without a better loss after which the rate is divided by ten.
    least : float
        Down to which.

    Examples
    --------
    >>> weight = torch.ones(1, requires_grad=True)
    >>> optimiser = Adam([weight], rate=0.1)
    >>> weight.sum().backward()
    >>> optimiser.step()
    >>> round(weight.item(), 6)
    0.9
    """

    def __init__(
        self, parameters: Iterable[Tensor], rate: float, *, patience: int = 3, least: float = 1e-6
    ) -> None:
        self.parameters = [p for p in parameters if p.requires_grad]
        self.rate, self.patience, self.least = rate, patience, least
        self._means, self._squares = ([torch.zeros_like(p) for p in self.parameters] for _ in "ab")
        self._steps = [torch.zeros((), device=p.device) for p in self.parameters]
        self._best, self._waited = np.inf, 0

    def zero(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Change every parameter that has a gradient."""
        states = zip(self.parameters, self._means, self._squares, self._steps, strict=True)
        used = [(p, p.grad, *state) for p, *state in states if p.grad is not None]
        parameters, gradients, means, squares, steps = map(list, zip(*used, strict=True))
        adam(
            parameters,
            gradients,
            means,
            squares,
            [],
            steps,
            fused=True,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=self.rate,
            weight_decay=0.0,
            eps=EPS,
            maximize=False,
        )

    def note(self, loss: float) -> None:
        """Take the loss of an epoch, as ``ReduceLROnPlateau`` does with a factor of a tenth."""
        if loss < self._best * (1 - BETTER):
            self._best, self._waited = loss, 0
        else:
            self._waited += 1
        if self._waited > self.patience:
            self.rate, self._waited = max(self.rate / 10, self.least), 0
