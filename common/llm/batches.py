"""Training rows: text packed without gaps, and recall documents from short to long."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from common.errors import DataError
from common.llm.recall import Recall, lengths
from common.llm.reference import ReferenceSpec

# Rows are a quarter of the context at first, then half of it: attention over short rows is cheap,
# and recall is learnt from short documents.
GROWTH = ((0.35, 4), (0.7, 2), (math.inf, 1))


@dataclass(frozen=True)
class Batch:
    """Rows of one step.

    Attributes
    ----------
    tokens : ndarray of int64, shape (rows * parts, context / parts)
        Recall rows first.
    text, recall : ndarray of bool, of that shape
        Tokens of either kind to be predicted from those before them; never the first of a row.
    """

    tokens: np.ndarray
    text: np.ndarray
    recall: np.ndarray


class Batches:
    """Gives the batch of any step without the ones before it, so that training can resume.

    Parameters
    ----------
    spec : ReferenceSpec
        Shape of the batches, share of the recall task, seed.
    stream : ndarray of int, shape (tokens,)
        The training text, documents one after another; every epoch cuts it into rows anew.
    recall : Recall, optional
        The recall task; None leaves it out.

    Raises
    ------
    DataError
        If the text does not fill two rows.
    """

    def __init__(self, spec: ReferenceSpec, stream: np.ndarray, recall: Recall | None) -> None:
        if len(stream) < 2 * spec.context:
            raise DataError(
                f"{len(stream)} tokens of text do not fill two rows of {spec.context}; give more "
                "text or a shorter context"
            )
        self.spec, self.stream, self.recall = spec, stream, recall
        self._share = spec.recall if recall is not None else 0.0
        self._per_epoch = len(stream) // spec.context - 1  # one less: the cut is shifted
        self._order: tuple[int, np.ndarray] | None = None

    def batch(self, step: int, progress: float) -> Batch:
        """Return the batch of a step.

        Parameters
        ----------
        step : int
            From 0 on.
        progress : float
            Share of the training budget used so far; rows grow with it.
        """
        rows, context = self.spec.rows, self.spec.context
        parts = next(parts for until, parts in GROWTH if progress < until)
        first, after = self.text_rows(step), self.text_rows(step + 1)
        recalled = rows - (after - first)
        tokens = np.empty((rows * parts, context // parts), np.int64)
        text, recall = np.zeros((2, *tokens.shape), bool)
        rng = np.random.default_rng([self.spec.seed, step])
        for i in range(recalled * parts):
            tokens[i], recall[i] = self._recall_row(rng, context // parts, progress)
        whole = [self._text_row(number) for number in range(first, after)]
        tokens[recalled * parts :] = np.reshape(whole, (-1, context // parts))
        text[recalled * parts :, 1:] = True
        return Batch(tokens, text, recall)

    def text_rows(self, steps: int) -> int:
        """Return how many rows of text the first ``steps`` batches hold."""
        rows = steps * self.spec.rows
        return rows - int(rows * self._share)

    def _recall_row(
        self, rng: np.random.Generator, context: int, progress: float
    ) -> tuple[np.ndarray, np.ndarray]:
        assert self.recall is not None
        if progress < self.spec.lists:
            return self.recall.repetition(rng, context)
        possible = [n for n in lengths(context, self.recall.pair) if n <= len(self.recall.keys)]
        return self.recall.row(rng, context, int(rng.choice(possible)))

    def _text_row(self, number: int) -> np.ndarray:
        epoch, place = divmod(number, self._per_epoch)
        if self._order is None or self._order[0] != epoch:
            rng = np.random.default_rng([self.spec.seed, epoch, 1])
            shift = int(rng.integers(self.spec.context))
            starts = shift + self.spec.context * rng.permutation(self._per_epoch)
            self._order = epoch, starts
        start = self._order[1][place]
        return self.stream[start : start + self.spec.context]
