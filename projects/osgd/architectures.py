"""The five topologies at comparable cost (figures 1 to 3 of the paper), with four stages each."""

from __future__ import annotations

from collections.abc import Callable

from projects.osgd.anytime import AnytimeModule
from projects.osgd.both import NestedBothCNN
from projects.osgd.cascade import CascadeCNN
from projects.osgd.depth import DepthNestedCNN
from projects.osgd.ensemble import Ensemble
from projects.osgd.width import WidthNestedCNN


def _ensemble() -> Ensemble:
    return Ensemble([WidthNestedCNN(widths=(width,)) for width in (18, 18, 24, 34)])


# Cumulative costs are near 0.65, 1.1, 2.0 and 3.8 million multiply-accumulates for 32 x 32 images.
ARCHITECTURES: dict[str, Callable[[], AnytimeModule]] = {
    "cascade": lambda: CascadeCNN(3, (16, 24, 48, 64), (2, 2, 2, 1), (1, 1, 2, 2)),
    "depth nested": lambda: DepthNestedCNN(3, (8, 16, 32)),
    "width nested": lambda: WidthNestedCNN(3, (20, 28, 42, 60)),
    "both nested": lambda: NestedBothCNN(3, (6, 7, 8, 9)),
    "ensemble": _ensemble,
}
