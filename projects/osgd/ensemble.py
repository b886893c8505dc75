"""Independent networks run one after the other (figure 1 of the paper): nothing is shared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from projects.osgd.anytime import AnytimeModule, Cache


class Ensemble(AnytimeModule):
    """Networks of growing size; each stage runs one more from the input.

    Parameters
    ----------
    members : sequence of AnytimeModule
        The networks, the smallest first; of each the last answer counts.
    average : bool
        Answer with the mean of the log-probabilities so far instead of the last network's logits.

    Raises
    ------
    ValueError
        If there is no member.

    Examples
    --------
    >>> import torch
    >>> from projects.osgd.width import WidthNestedCNN
    >>> model = Ensemble([WidthNestedCNN(widths=(width,)) for width in (4, 8)]).eval()
    >>> [tuple(logits.shape) for logits in model(torch.zeros(2, 3, 32, 32))]
    [(2, 10), (2, 10)]
    """

    def __init__(self, members: Sequence[AnytimeModule], *, average: bool = False) -> None:
        super().__init__()
        if not members:
            raise ValueError("an ensemble needs at least one member")
        self.members = nn.ModuleList(members)
        self.num_stages = len(members)
        self.average = average

    def step(self, stage: int, x: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """See :meth:`AnytimeModule.step`; nothing is cached but the sum that is averaged."""
        logits = self.members[self.check_stage(stage)](x)[-1]
        if not self.average:
            return logits, {}
        total = logits.log_softmax(1)
        if stage:
            total = cache["total"] + total
        return total / (stage + 1), {"total": total}

    def introduced(self, stage: int) -> Iterator[nn.Module]:
        """See :meth:`AnytimeModule.introduced`."""
        yield self.members[stage]
