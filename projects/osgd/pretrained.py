"""Small networks trained within a minute: an anytime one by OSGD, and traditional ones beside it.

One image takes ONNX Runtime well under a millisecond. A scheduler that needs longer decisions sends
requests of many images: 64 of them took 1.0, 2.5, 5.1 and 11.3 ms up to the four stages of the
default network, and 0.6, 1.5 and 6.2 ms in the traditional ones, on one core of a server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from projects.osgd.anytime import AnytimeModule
from projects.osgd.data import Split
from projects.osgd.export import export_stages
from projects.osgd.training import Recipe, errors, train
from projects.osgd.width import WidthNestedCNN

WIDTHS = (8, 16, 32, 64)
STRIDES = (2, 2, 2, 1)


@dataclass(frozen=True)
class Candidate:
    """A trained network that a scheduler can choose.

    Attributes
    ----------
    name : str
        Such as ``anytime-64`` or ``traditional-16``: the kind, and the final width.
    model : AnytimeModule
        In evaluation mode; a traditional network has one stage.
    accuracies : tuple of float
        Of every stage on the validation images, which training never saw, in [0, 1].
    input_shape : tuple of int
        Of one image.
    """

    name: str
    model: AnytimeModule
    accuracies: tuple[float, ...]
    input_shape: tuple[int, ...]

    @property
    def anytime(self) -> bool:
        """Whether it answers more than once."""
        return self.model.num_stages > 1

    def export(self, folder: Path) -> Path:
        """Write its ONNX graphs into ``folder/name`` and return the manifest for ``OnnxStages``."""
        return export_stages(self.model, Path(folder) / self.name, self.input_shape)


def candidates(
    split: Split,
    *,
    widths: Sequence[int] = WIDTHS,
    strides: Sequence[int] = STRIDES,
    alone: Sequence[int] = (8, 24, 56),
    recipe: Recipe | None = None,
    seed: int = 0,
) -> list[Candidate]:
    """Train a width-nested network by OSGD, and networks of one stage each.

    Parameters
    ----------
    split : Split
        Images (n, 3, height, width); the test part is not touched.
    widths, strides : sequence of int
        Cumulative widths of the anytime network, and the strides of the layers of all.
    alone : sequence of int
        Widths of the traditional networks.
    recipe : Recipe, optional
        By default two epochs, which take about half a minute on one core for 9,000 images.
    seed : int
        Of weights and batches.

    Returns
    -------
    list of Candidate
        The anytime network first, then the traditional ones in the order of ``alone``.

    Examples
    --------
    >>> import numpy as np
    >>> from projects.osgd.data import Split
    >>> x, y = np.zeros((8, 3, 16, 16), "f4"), np.arange(8)
    >>> split = Split(x, y, x, y, x, y, "nothing")
    >>> short = Recipe(epochs=1, batch=4)
    >>> [c.name for c in candidates(split, widths=(4, 8), alone=(4,), recipe=short)]
    ['anytime-8', 'traditional-4']
    """
    recipe = recipe or Recipe(epochs=2, batch=64, lr=0.1, weight_decay=5e-4)
    shape = split.train_x.shape[1:]

    def trained(kind: str, widths: Sequence[int], method: str) -> Candidate:
        def make() -> WidthNestedCNN:
            return WidthNestedCNN(shape[0], widths, strides, split.num_classes)

        model = train(make, split, method, recipe, seed).cpu().eval()
        accuracies = tuple(float(1 - error) for error in errors(model, split.val_x, split.val_y))
        return Candidate(f"{kind}-{widths[-1]}", model, accuracies, tuple(shape))

    return [
        trained("anytime", widths, "osgd"),
        *(trained("traditional", (width,), "joint") for width in alone),
    ]
