"""The candidates of live mode, with held-out images to answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from projects.alert.runners import AnytimeRunner, Candidate, OnnxRunner, ladder, open_session

if TYPE_CHECKING:
    import numpy as np


class Family(NamedTuple):
    """Networks for one task.

    Attributes
    ----------
    candidates : list of Candidate
        Traditional ones by rising accuracy, then the anytime one.
    images, labels : ndarray
        Held-out inputs (n, ...) and their classes; the candidates' accuracies are taken on others.
    classes : int
        Number of classes, so that a guess is right once in that many times.
    dataset : str
        Name under which the images are declared.
    """

    candidates: list[Candidate]
    images: np.ndarray
    labels: np.ndarray
    classes: int
    dataset: str

    @property
    def traditional(self) -> list[Candidate]:
        """Candidates with one output."""
        return [candidate for candidate in self.candidates if candidate.runner.num_stages == 1]

    @property
    def anytime(self) -> Candidate:
        """The first candidate with several stages."""
        return next(c for c in self.candidates if c.runner.num_stages > 1)


def ridge_family(
    widths: tuple[int, ...] = (4, 16), stages: tuple[int, ...] = (4, 8, 12), seed: int = 0
) -> Family:
    """Build the networks without a training loop, for handwritten digits.

    Half of the held-out images tell the accuracies, the other half are answered live.

    Examples
    --------
    >>> family = ridge_family((2,), (2, 4))
    >>> [candidate.name for candidate in family.candidates]
    ['ridge-2', 'ridge-anytime']
    """
    from projects.alert.ridge_networks import digits, fitted

    data = digits(seed=seed)
    half = len(data.test_y) // 2
    judged = data._replace(test_x=data.test_x[:half], test_y=data.test_y[:half])
    candidates = []
    for width in widths:
        ((graph, accuracy),) = fitted((width,), judged, seed)
        runner = OnnxRunner(open_session(graph))
        candidates.append(Candidate(f"ridge-{width}", (accuracy,), runner))
    built = fitted(stages, judged, seed)
    sessions = [open_session(graph) for graph, _ in built]
    runner = AnytimeRunner(ladder(sessions), len(sessions))
    accuracies = tuple(accuracy for _, accuracy in built)
    candidates.append(Candidate("ridge-anytime", accuracies, runner))
    return Family(candidates, data.test_x[half:], data.test_y[half:], 10, "digits")
