"""Sketched random features as a PyTorch Geometric transform."""

from __future__ import annotations

import hashlib
import itertools
import math
import warnings
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from common.errors import known
from common.graphs.projections import stream
from projects.srf.kernels import KERNELS, Kernel, feature_map, median_bandwidth
from projects.srf.sketches import (
    DENSE_LIMIT,
    SKETCHES,
    fresh_noise,
    gaussian_sketch,
    gram_sketch,
    hadamard_sketch,
)

GRAPH_SEEDS = (None, "index", "content", "fresh")
_MAP, _SKETCH = 0, 1


@functional_transform("add_sketched_features")
class AddSketchedFeatures(BaseTransform):
    r"""Add Z = S(E(X)), random kernel features mixed across all nodes (section 3).

    Parameters
    ----------
    dim : int
        Width of Z, all sketches together; a multiple of ``num_sketches``.
    num_sketches : int
        Order k: independent draws of map and sketch, concatenated.
    kernel : {"rbf", "laplace", "linear", "identity"} or callable
        See :func:`projects.srf.kernels.feature_map`. ``identity`` and a callable give their own
        width per sketch.
    bandwidth : float or "median"
        Of the shift-invariant kernels; ``median`` takes every graph's median distance.
    sketch : {"gaussian", "hadamard", "gram", "none"}
        Additive Gaussian, its structured form, the exact draw in O(N D^2), or no mixing (S_id).
        ``gram`` has no G that graphs could share: it needs a draw of its own per graph.
    noise_scale : float
        Factor of the mixed part; 1 in the paper.
    per_graph_seed : {None, "index", "content", "fresh"}
        Which draw of the sketch a graph gets. None: one G for all, as released. On graphs
        whose nodes are stored in a canonical order it names nodes by their position. ``index``:
        one G per graph, by the order in which graphs pass through this transform (or by
        ``data.graph_index``); ``content``: by a digest of the graph's features and edges, so the
        same graph in the same order always gets the same Z; ``fresh``: a new draw at every call.
        The kernel map is the same for all graphs.
    seed : int
        Of everything drawn.
    attr_name : str or None
        Attribute for Z; None concatenates to ``x``.
    normalize : bool
        Scale each feature of ``x`` to [0, 1] within the graph first.
    one_hot : bool
        Read the columns of an integer ``x`` as categories instead of numbers.
    fill : {"ones"} or None
        What to do without ``x``: constant features, with a warning, or an error.
    overwrite : bool
        Replace an attribute of that name with another shape.

    Raises
    ------
    ValueError
        For a setting that is not allowed; names the allowed ones.

    Examples
    --------
    >>> data = Data(x=torch.eye(4), edge_index=torch.tensor([[0, 1], [1, 2]]))
    >>> AddSketchedFeatures(dim=8, num_sketches=2)(data).srf.shape
    torch.Size([4, 8])
    """

    def __init__(
        self,
        dim: int = 64,
        num_sketches: int = 1,
        kernel: Kernel = "rbf",
        bandwidth: float | str = 1.0,
        sketch: str = "gaussian",
        noise_scale: float = 1.0,
        per_graph_seed: str | None = None,
        seed: int = 442,
        attr_name: str | None = "srf",
        normalize: bool = False,
        one_hot: bool = False,
        fill: str | None = "ones",
        overwrite: bool = False,
    ) -> None:
        if num_sketches < 1 or dim < 1 or dim % num_sketches:
            raise ValueError(
                f"dim={dim} and num_sketches={num_sketches}: both are positive and num_sketches "
                "divides dim"
            )
        if not callable(kernel):
            known(kernel, KERNELS, "kernel")
        known(sketch, SKETCHES, "sketch")
        if per_graph_seed is not None:
            known(per_graph_seed, GRAPH_SEEDS[1:], "per_graph_seed")
        if bandwidth != "median" and not (
            isinstance(bandwidth, int | float) and bandwidth > 0 and math.isfinite(bandwidth)
        ):
            raise ValueError(f"bandwidth={bandwidth!r}: a positive number, or 'median'")
        if sketch == "gram" and per_graph_seed is None:
            raise ValueError(
                "sketch='gram' draws a new G for every graph; use per_graph_seed='index', "
                "'content' or 'fresh', or a sketch that graphs can share: 'gaussian', 'hadamard'"
            )
        if fill not in ("ones", None):
            raise ValueError(f"fill={fill!r}: 'ones' or None")
        self.dim, self.num_sketches, self.seed = dim, num_sketches, seed
        self.kernel, self.bandwidth = kernel, bandwidth
        self.sketch, self.noise_scale, self.per_graph_seed = sketch, noise_scale, per_graph_seed
        self.attr_name, self.normalize, self.one_hot = attr_name, normalize, one_hot
        self.fill, self.overwrite = fill, overwrite
        stream(seed)  # an integer
        self._calls = itertools.count()

    def forward(self, data: Data | HeteroData) -> Data | HeteroData:
        """Add the features to every store that has nodes."""
        for store in data.node_stores:
            self._add(store, data)
        return data

    def features(self, x: Tensor, *, graph_seed: int = 0) -> Tensor:
        """Return Z for one graph's features, shape (N, dim); ``graph_seed`` picks its draw.

        Examples
        --------
        >>> AddSketchedFeatures(dim=6).features(torch.ones(3, 2)).shape
        torch.Size([3, 6])
        """
        bandwidth = median_bandwidth(x) if self.bandwidth == "median" else float(self.bandwidth)
        width = self.dim // self.num_sketches
        parts = []
        for number in range(self.num_sketches):
            map_state = stream(self.seed, _MAP, number)
            phi = feature_map(x, width, self.kernel, bandwidth, map_state)
            parts.append(self._mix(phi, stream(self.seed, _SKETCH, number, graph_seed)))
        return torch.cat(parts, dim=1)

    def _mix(self, phi: Tensor, state: int) -> Tensor:
        if self.sketch == "none":
            return phi
        if self.sketch == "gram":
            noise = fresh_noise(len(phi), phi.shape[1], state, phi.device)
            return gram_sketch(phi, noise, self.noise_scale)
        if self.sketch == "hadamard":
            return hadamard_sketch(phi, state, self.noise_scale)
        if len(phi) > DENSE_LIMIT:
            raise ValueError(
                f"a dense sketch of {len(phi)} nodes takes N^2 draws (limit {DENSE_LIMIT} nodes); "
                "use sketch='gram' (with per_graph_seed) or sketch='hadamard'"
            )
        return gaussian_sketch(phi, state, self.noise_scale)

    def _add(self, store: Any, data: Data | HeteroData) -> None:
        x = self._input(store)
        z = self.features(x, graph_seed=self._graph_seed(data, x))
        if self.attr_name is None:
            store["x"] = torch.cat([store.get("x", x).to(z.dtype), z], dim=1)
            return
        present = store.get(self.attr_name)
        if present is not None and present.shape != z.shape and not self.overwrite:
            raise ValueError(
                f"the data has an attribute {self.attr_name!r} of shape {tuple(present.shape)}, "
                f"the sketch has {tuple(z.shape)}; pass overwrite=True or another attr_name"
            )
        store[self.attr_name] = z

    def _input(self, store: Any) -> Tensor:
        x = store.get("x")
        if x is None:
            kind = f"node type {store._key!r}" if store._key is not None else "the data"
            if self.fill is None or store._key is not None:
                raise ValueError(f"{kind} has no x; give it features, or pass fill='ones'")
            warnings.warn(
                "no x: constant features are used, and SRF degenerates to random node ids",
                stacklevel=4,
            )
            return torch.ones(store.num_nodes, 1)
        return self._dense(x)

    def _dense(self, x: Tensor) -> Tensor:
        if x.is_complex():
            raise TypeError(f"x is {x.dtype}; the kernels are defined on real features")
        if x.layout != torch.strided:
            if x.shape[0] * x.shape[1] > DENSE_LIMIT**2:
                raise ValueError(f"a sparse x of shape {tuple(x.shape)} is too large to densify")
            x = x.to_dense()
        if x.dim() == 1:
            x = x[:, None]
        if self.one_hot and not x.is_floating_point():
            columns = [torch.nn.functional.one_hot(column.long()) for column in x.T]
            x = torch.cat(columns, dim=1)
        x = x if x.is_floating_point() else x.float()
        if bad := int((~torch.isfinite(x)).sum()):
            raise ValueError(f"x holds {bad} values that are NaN or infinite")
        if self.normalize and len(x):
            low, high = x.amin(dim=0), x.amax(dim=0)
            x = (x - low) / (high - low).clamp(min=1e-12)
        return x

    def _graph_seed(self, data: Data | HeteroData, x: Tensor) -> int:
        if self.per_graph_seed is None:
            return 0
        if self.per_graph_seed == "index" and "graph_index" in data:
            return int(data.graph_index)
        if self.per_graph_seed == "content":
            digest = hashlib.sha256(x.detach().cpu().contiguous().numpy().tobytes())
            for store in data.edge_stores:
                digest.update(store.edge_index.cpu().contiguous().numpy().tobytes())
            return int.from_bytes(digest.digest()[:7])
        if self.per_graph_seed == "fresh":
            return int(torch.randint(2**62, ()))
        return next(self._calls)

    def __repr__(self) -> str:
        """Name every setting: a cache of transformed data is valid for these alone."""
        names = (
            *("dim", "num_sketches", "kernel", "bandwidth", "sketch", "noise_scale"),
            *("per_graph_seed", "seed", "attr_name", "normalize", "one_hot", "fill", "overwrite"),
        )
        settings = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{type(self).__name__}({settings})"
