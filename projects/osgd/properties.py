"""How far the optimiser is from what its definition guarantees, on random gradients."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from projects.osgd.optimizer import OSGD
from projects.osgd.projection import gram_matrix, orthogonal_coefficients, orthogonalize


def deviations(rng: np.random.Generator, tasks: int = 4, size: int = 500) -> dict[str, float]:
    """Relative deviation from each property, for float32 gradients with a part in common.

    Returns
    -------
    dict
        ``one task``: a step with one task against the base optimiser's (0: bit for bit);
        ``orthogonal``: largest cosine of two projected gradients; ``first task``: <d, g_1>
        against ||g_1||^2; ``parallel``: what tasks parallel to the first add; ``already
        orthogonal``: d against the sum; ``alone``: the gradient of a parameter that one task
        reaches; ``rescaled``: later parts when the first loss is scaled.
    """
    common = rng.normal(size=size)
    g = torch.from_numpy((rng.normal(size=(tasks, size)) + common).astype(np.float32))
    exact = g.double().numpy()
    v = _residuals(g)
    cosines = v @ v.T / np.outer(*[np.linalg.norm(v, axis=1)] * 2)
    d = orthogonalize(g).double().numpy()
    first = exact[0] @ exact[0]
    parallel = g[:1] * torch.linspace(1, 3, tasks)[:, None]
    apart = torch.from_numpy(np.linalg.qr(exact.T)[0].T.astype(np.float32).copy())
    scaled = g.clone()
    scaled[0] *= float(rng.uniform(0.01, 100))
    return {
        "one task": _one_task(g[0]),
        "orthogonal": float(np.abs(cosines - np.eye(tasks)).max()),
        "first task": abs(float(d @ exact[0]) / first - 1),
        "parallel": _relative(orthogonalize(parallel), parallel[0]),
        "already orthogonal": _relative(orthogonalize(apart), apart.sum(0)),
        "alone": _alone(g),
        "rescaled": float(np.linalg.norm(_residuals(scaled)[1:] - v[1:]) / np.linalg.norm(v[1:])),
    }


def _residuals(g: torch.Tensor) -> np.ndarray:
    return orthogonal_coefficients(gram_matrix(g).numpy()) @ g.double().numpy()


def _relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def _one_task(gradient: torch.Tensor) -> float:
    """Largest difference after three steps with momentum and weight decay."""
    ends = []
    for ours in (False, True):
        w = nn.Parameter(torch.ones_like(gradient))
        base = torch.optim.SGD([w], lr=0.1, momentum=0.9, weight_decay=1e-3)
        descent = OSGD(base, 1)
        for _ in range(3):
            base.zero_grad()
            loss = (gradient * w**2).sum()
            if ours:
                descent.step([loss])
            else:
                loss.backward()
                base.step()
        ends.append(w.detach())
    return float((ends[0] - ends[1]).abs().max())


def _alone(g: torch.Tensor) -> float:
    """Deviation of the gradient of a parameter of the last task, beside a shared one."""
    shared, own = nn.Parameter(torch.zeros(g.shape[1])), nn.Parameter(torch.zeros(g.shape[1]))
    descent = OSGD(torch.optim.SGD([shared, own], lr=0.1), len(g), per="global")
    losses = [row @ shared for row in g]
    losses[-1] = losses[-1] + g[-1] @ own
    descent.backward(losses)
    descent.project()
    return _relative(own.grad, g[-1])
