"""Losses that keep classes apart: mixed windows, and a pull of features to their class's centre."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

CENTRE_RATE = 0.5  # of Wen et al.


class Objective:
    """Loss of a batch of windows.

    Parameters
    ----------
    criterion : callable
        Loss of logits against classes.
    mixup : float
        Windows are mixed in pairs by a share drawn from Beta(mixup, mixup), and the loss is that
        of both classes by the same share (H. Zhang et al., mixup, ICLR 2018); 0 mixes nothing.
    centre : float
        Weight of :class:`Centres`; 0 leaves them out. The network then needs ``features`` and
        ``head``.
    seed : int
        Of the pairs and their shares.
    """

    def __init__(
        self,
        criterion: Callable[[Tensor, Tensor], Tensor],
        *,
        mixup: float = 0.0,
        centre: float = 0.0,
        seed: int = 0,
    ) -> None:
        if mixup < 0 or centre < 0:
            raise ValueError(f"mixup={mixup}, centre={centre}; neither may be negative")
        self.criterion, self.mixup, self.centre = criterion, mixup, centre
        self.centres = Centres()
        self._rng = np.random.default_rng(seed)

    def __call__(self, model: nn.Module, inputs: Sequence[Tensor], labels: Tensor) -> Tensor:
        """Run the network on windows and return their loss, a scalar."""
        if self.mixup:
            share = self._rng.beta(self.mixup, self.mixup)
            order = torch.from_numpy(self._rng.permutation(len(labels))).to(labels.device)
            inputs = [share * x + (1 - share) * x[order] for x in inputs]
        features = model.features(*inputs) if self.centre else None
        logits = model(*inputs) if features is None else model.head(features)

        def loss(truth: Tensor) -> Tensor:
            found = self.criterion(logits, truth)
            return (
                found if features is None else found + self.centre * self.centres(features, truth)
            )

        if not self.mixup:
            return loss(labels)
        return share * loss(labels) + (1 - share) * loss(labels[order])


class Centres:
    """Half the mean squared distance of features to the centre of their class.

    Y. Wen et al., A Discriminative Feature Learning Approach for Deep Face Recognition, ECCV 2016,
    equations 2 to 4. Centres begin at zero and follow the features by themselves.

    Examples
    --------
    >>> centres = Centres()
    >>> float(centres(torch.tensor([[2.0, 0.0]]), torch.tensor([1])))
    2.0
    >>> centres.of(torch.tensor([1])).tolist()  # half of the way that one window can take it
    [[0.5, 0.0]]
    """

    def __init__(self) -> None:
        self._centres = torch.zeros(0, 0)

    def of(self, labels: Tensor) -> Tensor:
        """Centres of classes (n,), shape (n, size)."""
        return self._centres[labels]

    def __call__(self, features: Tensor, labels: Tensor) -> Tensor:
        """Loss of features (B, size) of classes (B,); the centres move afterwards."""
        more = int(labels.max()) + 1 - len(self._centres)
        if more > 0:
            begun = [self._centres] if len(self._centres) else []
            self._centres = torch.cat([*begun, features.new_zeros(more, features.shape[1])])
        away = features - self.of(labels)
        with torch.no_grad():
            counts = torch.bincount(labels, minlength=len(self._centres))
            moves = torch.zeros_like(self._centres).index_add_(0, labels, away)
            self._centres = self._centres + CENTRE_RATE * moves / (1 + counts[:, None])
        return away.square().sum(dim=1).mean() / 2
