"""Random feature maps phi with E[phi(x).phi(y)] = kappa(x, y) (section 3 of the paper)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from common.errors import known
from common.graphs.projections import keyed_normal_torch, stream

KERNELS = ("linear", "rbf", "laplace", "identity")
Kernel = str | Callable[[Tensor], Tensor]
_WEIGHTS, _PHASES = 0, 1


def feature_map(x: Tensor, width: int, kernel: Kernel, bandwidth: float, state: int) -> Tensor:
    """Map node features to random features.

    Parameters
    ----------
    x : Tensor of floats, shape (N, F)
        Node features.
    width : int
        D, the number of random features. ``identity`` and a callable choose their own.
    kernel : {"linear", "rbf", "laplace", "identity"} or callable
        ``linear``: R x with R ~ N(0, 1/D); ``rbf``: sqrt(2/D) cos(W x / b + u) with W ~ N(0, 1),
        so kappa = exp(-|x-y|^2 / 2 b^2); ``laplace``: the same with Cauchy weights, so
        kappa = exp(-|x-y|_1 / b); ``identity``: x itself; a callable maps (N, F) to (N, D).
    bandwidth : float
        b, of the two shift-invariant kernels.
    state : int
        From :func:`common.graphs.projections.stream`; the weights are a function of it.

    Returns
    -------
    Tensor, shape (N, D)

    Examples
    --------
    >>> from common.graphs.projections import stream
    >>> feature_map(torch.eye(3), 8, "rbf", 1.0, stream(0)).shape
    torch.Size([3, 8])
    """
    if callable(kernel):
        phi = kernel(x)
        if phi.dim() != 2 or len(phi) != len(x):
            raise ValueError(f"the kernel's map gave shape {tuple(phi.shape)} for {len(x)} nodes")
        return phi
    if known(kernel, KERNELS, "kernel") == "identity":
        return x
    columns = torch.arange(x.shape[1], device=x.device)
    weights = keyed_normal_torch(stream(state, _WEIGHTS), columns, 2 * width)
    if kernel == "linear":
        return x @ (weights[:, :width] / math.sqrt(width)).to(x.dtype)
    # The quotient of two standard normals is standard Cauchy.
    drawn = weights[:, :width] / weights[:, width:] if kernel == "laplace" else weights[:, :width]
    phases = _uniform(stream(state, _PHASES), width, x.device)
    angle = x.double() @ drawn / bandwidth + 2 * math.pi * phases
    return (math.sqrt(2 / width) * torch.cos(angle)).to(x.dtype)


def _uniform(state: int, width: int, device: torch.device) -> Tensor:
    """Uniforms on [0, 1): the normal distribution function of keyed normals."""
    zero = torch.zeros(1, dtype=torch.long, device=device)
    return torch.special.ndtr(keyed_normal_torch(state, zero, width)[0])


def median_bandwidth(x: Tensor, most: int = 1000) -> float:
    """Median distance between distinct rows, of at most ``most`` rows spread over the input.

    A constant input has no scale: 1 is returned, with a warning.
    """
    rows = x[torch.linspace(0, len(x) - 1, min(len(x), most), device=x.device).long()].double()
    distances = torch.pdist(rows)
    distances = distances[distances > 0]
    if not len(distances):
        warnings.warn("all nodes have the same features: bandwidth 1 is used", stacklevel=2)
        return 1.0
    return float(distances.median())
