"""The hot paths beside their peers: projection, and one training step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.bench import Benchmark
from projects.osgd.projection import orthogonalize


def benchmarks() -> list[Benchmark]:
    """Projection beside torchjd's PCGrad and UPGrad; an OSGD step beside a joint one."""
    from torchjd.aggregation import PCGrad, UPGrad

    found = []
    for length in (100_000, 4_000_000):
        gradients = torch.randn(4, length, generator=torch.Generator().manual_seed(0))
        sizes = {"tasks": 4, "parameters": length}
        for name, peer in (("PCGrad", PCGrad()), ("UPGrad", UPGrad())):
            ours, theirs = partial(orthogonalize, gradients), partial(peer, gradients)
            agreement = partial(_descent, gradients)
            found.append(Benchmark("projection", ours, theirs, f"torchjd {name}", sizes, agreement))
    return [*found, *(_step(images) for images in (16, 64))]


def _descent(gradients: Tensor, ours: Tensor, peer: Tensor) -> dict[str, float]:
    """Inner product with the first gradient over its square: 1 for OSGD by definition."""
    first = gradients[0].double()
    square = float(first @ first)
    return {
        "first task, ours": float(ours.double() @ first) / square,
        "first task, peer": float(peer.double() @ first) / square,
    }


def _step(images: int) -> Benchmark:
    """One step of four stages beside the joint step; the peer does less, so it is faster."""
    from projects.osgd.baselines import SummedLoss
    from projects.osgd.optimizer import OSGD
    from projects.osgd.speed import make_step
    from projects.osgd.width import WidthNestedCNN

    x, y = torch.randn(images, 3, 32, 32), torch.randint(10, (images,))

    def of(make: Callable[..., object]) -> tuple[Callable[[], None], nn.Module]:
        torch.manual_seed(0)
        model = WidthNestedCNN()
        base = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        return make_step(model, make(base, model.num_stages), x, y), model

    (ours, model), (joint, other) = of(OSGD), of(SummedLoss)

    def losses(_ours: None, _peer: None) -> dict[str, float]:
        with torch.no_grad():
            last = [float(F.cross_entropy(found(x)[-1], y)) for found in (model, other)]
        return {"last loss, ours": last[0], "last loss, peer": last[1]}

    sizes = {"stages": 4, "images": images, "network": "WidthNestedCNN"}
    return Benchmark("training step", ours, joint, "joint step (does less)", sizes, losses)
