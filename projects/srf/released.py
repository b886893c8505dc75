"""The transform as its authors released it: two sketches, fixed sizes, shared by all graphs.

Kept for comparison; :class:`~projects.srf.transform.AddSketchedFeatures` is the one to use.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from common.errors import known

VARIANTS = ("A", "B")
_LARGEST = {"A": 5000, "B": 4000}
_VARIANCE = 0.001


class AddReleasedFeatures(BaseTransform):
    """Add the features of the released code under their released names.

    Variant A (CSL, oversmoothing, trees) sketches with I + 1000 G, variant B (Reddit, molecules)
    with I + G / sqrt(4000), whatever the size of the graph; the paper's is I + G / sqrt(N). One G
    is drawn in advance and shared by all graphs.

    Parameters
    ----------
    dim : int
        Total width; every sketch has ``dim // num_sketches`` columns, so a width that
        ``num_sketches`` does not divide shrinks.
    num_sketches : int
        Order k.
    variant : {"A", "B"}
        Which of the two.
    seed : int
        442 in the release.
    largest : int, optional
        Nodes of the largest graph, 5000 for A and 4000 for B in the release. It fixes the memory
        (k largest^2 floats) and, for B, the scale.

    Attributes
    ----------
    The transform adds ``rbf_feats``, ``laplace_feats``, ``linear_feats`` and
    ``laplace_feats_no_sketch`` to the data, each of shape (N, dim).

    Raises
    ------
    ValueError
        For a graph with more nodes than ``largest``.
    """

    def __init__(
        self,
        dim: int = 16,
        num_sketches: int = 1,
        variant: str = "A",
        seed: int = 442,
        largest: int | None = None,
    ) -> None:
        self.variant = known(variant, VARIANTS, "variant")
        self.dim, self.num_sketches, self.seed = dim, num_sketches, seed
        self.largest = largest or _LARGEST[variant]
        self.scale = 1 / _VARIANCE if variant == "A" else 1 / math.sqrt(self.largest)
        generator, width = torch.Generator().manual_seed(seed), dim // num_sketches
        normal = torch.distributions.Cauchy(0.0, 1.0)
        self.draws = []
        for _ in range(num_sketches):
            g = torch.randn(self.largest, self.largest, generator=generator)
            linear = torch.randn(self.largest, width, generator=generator) / math.sqrt(width)
            rbf = torch.randn(width, self.largest, generator=generator)
            phases = 2 * math.pi * torch.rand(2, width, generator=generator)
            uniform = torch.rand(width, self.largest, generator=generator)
            self.draws.append((g, linear, rbf, normal.icdf(uniform.clamp(1e-7, 1 - 1e-7)), phases))

    def forward(self, data: Data) -> Data:
        """Add the four attributes."""
        x = torch.ones(data.num_nodes, 4) if data.x is None else data.x.float()
        if len(x) > self.largest or x.shape[1] > self.largest:
            raise ValueError(
                f"{len(x)} nodes with {x.shape[1]} features, but the matrices are drawn for "
                f"{self.largest}; pass largest="
            )
        parts = [self._features(x, *draw) for draw in self.draws]
        names = ("rbf_feats", "laplace_feats", "linear_feats", "laplace_feats_no_sketch")
        for name, columns in zip(names, zip(*parts, strict=True), strict=True):
            data[name] = torch.cat(columns, dim=1)
        return data

    def _features(
        self, x: Tensor, g: Tensor, linear: Tensor, rbf: Tensor, cauchy: Tensor, phases: Tensor
    ) -> tuple[Tensor, ...]:
        n, f = x.shape
        factor = math.sqrt(2 / len(rbf))
        phi_rbf = factor * torch.cos(x @ rbf[:, :f].T + phases[0])
        phi_laplace = factor * torch.cos(x @ cauchy[:, :f].T + phases[1])

        def sketched(phi: Tensor) -> Tensor:
            return phi + self.scale * (g[:n, :n] @ phi)

        return sketched(phi_rbf), sketched(phi_laplace), sketched(x @ linear[:f]), phi_laplace
