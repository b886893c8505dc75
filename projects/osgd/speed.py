"""Time of one training step: orthogonalised against joint, by layout of the network and method."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from projects.osgd.baselines import SummedLoss
from projects.osgd.gradients import Rows, task_gradients
from projects.osgd.masked import MaskedWidthNested
from projects.osgd.optimizer import OSGD
from projects.osgd.width import WidthNestedCNN, WidthNestedMLP
from projects.osgd.wrapper import LossesOptimizer

if TYPE_CHECKING:
    from common.run import Run

BACKWARDS = ("naive", "batched")
Network = Callable[[int], tuple[nn.Module, Tensor]]


def networks(params: dict[str, Any]) -> dict[str, Network]:
    """Networks and inputs by number of stages."""
    return {
        "convolutional": lambda n: (
            WidthNestedCNN(3, params["channels"][:n]),
            torch.randn(params["images"], 3, 32, 32),
        ),
        "perceptron": lambda n: (
            WidthNestedMLP(256, params["units"][:n]),
            torch.randn(params["vectors"], 256),
        ),
    }


def variants(model: nn.Module, tasks: int) -> Iterator[tuple[dict[str, str], nn.Module, Any]]:
    """Columns, network and optimiser of everything that is timed."""
    layouts = {"stripes": model, "masked": MaskedWidthNested(model)}
    for layout, found in layouts.items():
        base = torch.optim.SGD(found.named_parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
        yield (
            {"variant": "joint", "layout": layout, "backward": "one"},
            found,
            SummedLoss(base, tasks),
        )
        for backward in BACKWARDS:
            columns = {"variant": "osgd", "layout": layout, "backward": backward}
            yield columns, found, OSGD(base, tasks, backward=backward)


def make_step(
    model: nn.Module, descent: LossesOptimizer, x: Tensor, y: Tensor
) -> Callable[[], None]:
    """Return a function that takes one training step."""

    def step() -> None:
        descent.zero_grad()
        descent.step([F.cross_entropy(logits, y) for logits in model(x)])

    return step


def losses_with_gradients(rows: Rows, parameters: Sequence[Tensor]) -> list[Tensor]:
    """Losses L_k(w) = <g_k, w>: gradients of a network once more, without a pass through it.

    Examples
    --------
    >>> w, g = torch.ones(2, requires_grad=True), torch.tensor([3.0, 4.0])
    >>> task_gradients(losses_with_gradients([[g]], [w]), [w])
    [[tensor([3., 4.])]]
    """
    return [
        sum((g * w).sum() for g, w in zip(row, parameters, strict=True) if g is not None)
        for row in rows
    ]


def step_time(run: Run) -> None:
    """Wall time of a step; all variants take turns, so that a busy moment hits them alike."""
    params, name = run.params, "random-inputs"
    run.synthetic(name, "normal inputs and random classes; only the time counts")
    device = "cuda" if run.target == "gpu" else "cpu"
    cells = [(network, n) for network in params["networks"] for n in params["stages"]]
    for network, stages in run.cells(cells):
        torch.manual_seed(0)
        model, x = networks(params)[network](stages)
        model, x = model.to(device), x.to(device)
        y = torch.randint(10, (len(x),), device=device)
        timed = []
        for columns, found, descent in variants(model, stages):
            step, rows = make_step(found, descent, x, y), None
            step()
            if columns["variant"] == "osgd" and columns["backward"] == "naive":
                losses = [F.cross_entropy(logits, y) for logits in found(x)]
                rows = task_gradients(losses, descent.trained())
            timed.append((columns, descent, step, rows))
        for repeat in range(params["repeats"]):
            for columns, descent, step, rows in timed:
                labels = {**columns, "dataset": name, "item": f"{network}, repeat {repeat}"}
                labels |= {"network": network, "stages": stages}
                with run.measure("step", **labels):
                    for _ in range(params["steps"]):
                        step()
                if rows is not None:
                    descent.backward(losses_with_gradients(rows, descent.trained()))
                    with run.measure("projection", **labels):
                        descent.project()
