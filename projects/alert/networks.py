"""The candidates of live mode, with held-out images to answer."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from common.errors import known
from common.results import read_json
from projects.alert.recordings import INDEX, NETWORKS
from projects.alert.runners import AnytimeRunner, Candidate, OnnxRunner, ladder, open_session

if TYPE_CHECKING:
    import numpy as np

    from common.run import Run


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


def family_of(run: Run, name: str) -> Family:
    """Return the networks that an experiment asks for.

    Parameters
    ----------
    run : Run
        Asked for the images; it notes where they come from.
    name : {"recorded", "trained", "ridge"}
        The project's own trained networks; others of the same kind, trained now; or those that need
        no training. Without the images, the last.

    Raises
    ------
    ConfigError
        If there is no such family.
    """
    return FAMILIES[known(name, FAMILIES, "family of networks")](run)


def _ridge(run: Run) -> Family:
    run.substitute("digits", "scikit-learn's digits, enlarged to 32 x 32")
    return ridge_family()


def _recorded(run: Run) -> Family:
    """The recorded graphs on test images, or larger digit networks where there are none."""
    index = read_json(run.paper.path("recorded", NETWORKS, INDEX))
    if run.dataset(index["dataset"]) is None:
        run.substitute("digits", "scikit-learn's digits, enlarged to 32 x 32")
        return ridge_family((8, 32), (8, 16, 24))
    from projects.osgd import load_images

    split = load_images(run, index["dataset"])
    run.recorded(f"{NETWORKS}/{INDEX}", name="networks")
    candidates = recorded_candidates(run.paper.path("recorded"))
    return Family(candidates, split.test_x, split.test_y, split.num_classes, split.name)


def recorded_candidates(folder: Path) -> list[Candidate]:
    """Open the networks of a folder of recordings in ONNX Runtime, one thread each.

    Traditional ones by rising accuracy come first, then the anytime one.
    """
    from projects.osgd import OnnxStages

    entries = read_json(folder / NETWORKS / INDEX)["networks"]
    opened = {e["name"]: OnnxStages(folder / NETWORKS / e["name"] / "stages.json") for e in entries}
    return _sorted([_onnx(e["name"], e["accuracies"], opened[e["name"]]) for e in entries])


def _trained(run: Run) -> Family:
    """Networks trained now: ONNX Runtime on the CPU, PyTorch on a GPU."""
    from projects.alert.runners import TorchRunner
    from projects.osgd import OnnxStages, candidates, load_images

    split = load_images(run)
    found = candidates(split)
    if run.target == "gpu":
        made = [Candidate(c.name, c.accuracies, TorchRunner(c.model)) for c in found]
    else:
        with tempfile.TemporaryDirectory() as folder:
            exported = [(c, OnnxStages(c.export(Path(folder)))) for c in found]
        made = [_onnx(c.name, c.accuracies, stages) for c, stages in exported]
    return Family(_sorted(made), split.test_x, split.test_y, split.num_classes, split.name)


def _onnx(name: str, accuracies: Any, stages: Any) -> Candidate:
    return Candidate(name, tuple(accuracies), AnytimeRunner(stages.stages, stages.num_stages))


def _sorted(candidates: list[Candidate]) -> list[Candidate]:
    """Traditional networks by rising accuracy, then the anytime ones."""
    return sorted(candidates, key=lambda c: (c.runner.num_stages > 1, c.accuracies[-1]))


FAMILIES: Mapping[str, Callable[[Any], Family]] = {
    "recorded": _recorded,
    "trained": _trained,
    "ridge": _ridge,
}
