"""The experiments of the paper, one plain function each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from projects.watchhar.baselines import baseline
from projects.watchhar.data import generate
from projects.watchhar.method import method

if TYPE_CHECKING:
    from common.run import Run


def example(run: Run) -> None:
    """Compare the method with the baseline."""
    run.synthetic("generated", "uniform values")
    for item in run.cells(range(run.params["items"])):
        x = generate(run.rng(item), 100)
        for variant, function in (("method", method), ("baseline", baseline)):
            score = function(x).mean()
            run.observe({"score": score}, variant=variant, dataset="generated", item=str(item))
