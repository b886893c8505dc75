"""What is injected: the node features z of every variant, for a whole set of graphs at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from common.errors import known
from common.graphs.projections import stream
from projects.srf.graph_sets import GraphSet
from projects.srf.kernels import feature_map
from projects.srf.sketches import fresh_noise, gaussian_sketch, gram_sketch, hadamard_sketch

VARIANTS = (
    *("plain", "s_id", "shared", "released", "per-graph", "resampled"),
    *("random", "rni", "rwpe", "lappe"),
)
_MAP, _SKETCH = 0, 1
# Above this size one shared dense G is drawn for every graph anew: take the structured one.
DENSE_NODES = 300
# Scale of G in the released code for CSL and the trees: I + 1000 G instead of I + G / sqrt(N).
RELEASED_SCALE = 1000.0


@dataclass(frozen=True)
class Injection:
    """Node features of a set, fixed or drawn anew for every epoch.

    Attributes
    ----------
    width : int
        Columns; 0 for none.
    draw : callable
        Maps a number of the draw to a tensor of shape (N, width).
    resampled : bool
        Whether every epoch takes a draw of its own.
    """

    width: int
    draw: Callable[[int], Tensor]
    resampled: bool = False


def injection(
    graphs: GraphSet,
    variant: str,
    *,
    width: int = 64,
    sketches: int = 8,
    kernel: str = "laplace",
    seed: int = 442,
    one_hot: bool = False,
) -> Injection:
    """Return what a variant injects.

    Parameters
    ----------
    graphs : GraphSet
        The set.
    variant : str
        ``plain``: nothing. ``s_id``: the kernel map without a sketch. ``shared``: one G for all
        graphs, as released, at the paper's scale. ``released``: the same at the scale of the
        released code. ``per-graph``: a fresh G for each graph, drawn once. ``resampled``: a
        fresh G for each graph and epoch. ``random``, ``rni``: uniform numbers, drawn once or for
        each epoch. ``rwpe``, ``lappe``: PyG's encodings.
    width, sketches : int
        Columns in all and order k.
    kernel : str
        Of the map.
    seed : int
        Of everything drawn.
    one_hot : bool
        Read the columns of an integer ``x`` as categories; the release takes them as numbers.
    """
    known(variant, VARIANTS, "variant")
    if variant == "plain":
        return Injection(0, lambda number: torch.empty(len(graphs.x), 0))
    if variant in ("rwpe", "lappe"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # of the signs of the eigenvectors
            encoded = _encoding(graphs, variant, min(width, 16))
        return Injection(encoded.shape[1], lambda number: encoded)
    if variant in ("random", "rni"):
        return _drawn(width, lambda number: _uniform(graphs, width, seed, number), variant == "rni")
    if width % sketches:
        raise ValueError(f"width={width}: {sketches} sketches of one width cannot make it up")
    maps = _maps(graphs, width // sketches, sketches, kernel, seed, one_hot)
    if variant == "s_id":
        fixed = torch.cat(maps, dim=1)
        return Injection(width, lambda number: fixed)
    if variant in ("shared", "released"):
        strong = variant == "released"
        parts = [_shared(graphs, phi, seed, k, strong=strong) for k, phi in enumerate(maps)]
        mixed = torch.cat(parts, dim=1)
        return Injection(width, lambda number: mixed)

    def fresh(number: int) -> Tensor:
        return torch.cat(
            [_fresh(graphs, phi, seed, k, number) for k, phi in enumerate(maps)], dim=1
        )

    return _drawn(width, fresh, variant == "resampled")


def _drawn(width: int, draw: Callable[[int], Tensor], resampled: bool) -> Injection:
    return Injection(width, draw if resampled else lambda number: draw(0), resampled)


def _maps(
    graphs: GraphSet, width: int, sketches: int, kernel: str, seed: int, one_hot: bool
) -> list[Tensor]:
    x = graphs.x
    if one_hot and not x.is_floating_point():
        x = torch.cat([torch.nn.functional.one_hot(column) for column in x.T], dim=1)
    states = [stream(seed, _MAP, number) for number in range(sketches)]
    return [feature_map(x.float(), width, kernel, 1.0, state) for state in states]


def _shared(
    graphs: GraphSet, phi: Tensor, seed: int, number: int, *, strong: bool = False
) -> Tensor:
    """One G for all graphs, dense or, for large graphs, structured."""
    state, parts = stream(seed, _SKETCH, number), phi.split(graphs.nodes.tolist())
    sizes = set(graphs.nodes.tolist())
    sketch = gaussian_sketch if max(sizes) <= DENSE_NODES else hadamard_sketch

    def mix(part: Tensor) -> Tensor:
        return sketch(part, state, RELEASED_SCALE * len(part) ** 0.5 if strong else 1.0)

    if len(sizes) == 1:  # graphs side by side: one product with the same G
        mixed = mix(torch.cat(parts, dim=1))
        return torch.cat(mixed.split(phi.shape[1], dim=1))
    return torch.cat([mix(part) for part in parts])


def _fresh(graphs: GraphSet, phi: Tensor, seed: int, sketch: int, number: int) -> Tensor:
    """A G of its own for every graph: exact in distribution, without any G."""
    graph = torch.repeat_interleave(torch.arange(len(graphs)), graphs.nodes)
    noise = fresh_noise(len(phi), phi.shape[1], stream(seed, _SKETCH, sketch, number), phi.device)
    return gram_sketch(phi, noise, graph=graph)


def _uniform(graphs: GraphSet, width: int, seed: int, number: int) -> Tensor:
    generator = torch.Generator().manual_seed(stream(seed, number) % 2**63)
    return torch.rand(len(graphs.x), width, generator=generator)


def _encoding(graphs: GraphSet, variant: str, width: int) -> Tensor:
    """PyG's random-walk or Laplacian encoding of every graph; graphs too small get zeros."""
    from torch_geometric.transforms import AddLaplacianEigenvectorPE, AddRandomWalkPE

    if variant == "rwpe":
        transform = AddRandomWalkPE(width, attr_name="pe")
        return torch.cat([transform(graph).pe for graph in graphs.graphs()])
    parts = []
    for graph in graphs.graphs():
        room = min(width, graph.num_nodes - 2)
        part = torch.zeros(graph.num_nodes, width)
        if room > 0:
            transform = AddLaplacianEigenvectorPE(room, attr_name="pe", is_undirected=True)
            part[:, :room] = transform(graph).pe
        parts.append(part)
    return torch.cat(parts)
