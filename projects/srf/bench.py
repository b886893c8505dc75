"""The transform beside PyTorch Geometric's positional encodings, from 1e2 to 1e5 nodes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch_geometric.data import Data
from torch_geometric.transforms import AddLaplacianEigenvectorPE, AddRandomWalkPE, BaseTransform
from torch_geometric.utils import barabasi_albert_graph

from common.bench import Benchmark
from projects.srf.transform import AddSketchedFeatures

WIDTH = 16
# The peers' largest graphs: at 10,000 nodes the powers of the walk matrix take three minutes.
LARGEST = {"AddRandomWalkPE": 1000, "AddLaplacianEigenvectorPE": 100_000}


def sparse_graph(nodes: int, features: int = 8, seed: int = 0) -> Data:
    """Barabasi-Albert graph with 3 edges a node and normal features."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        edges = barabasi_albert_graph(nodes, 3) if nodes <= 10_000 else _random_edges(nodes)
        return Data(x=torch.randn(nodes, features), edge_index=edges, num_nodes=nodes)


def _random_edges(nodes: int) -> torch.Tensor:
    half = torch.randint(nodes, (2, 3 * nodes))
    return torch.cat([half, half.flip(0)], dim=1)


def transforms() -> dict[str, BaseTransform]:
    """Our sketches, all of the same width."""
    return {
        "srf gaussian": AddSketchedFeatures(WIDTH),
        "srf hadamard": AddSketchedFeatures(WIDTH, sketch="hadamard"),
        "srf gram": AddSketchedFeatures(WIDTH, sketch="gram", per_graph_seed="content"),
    }


def peers() -> dict[str, BaseTransform]:
    """The positional encodings, of the same width."""
    return {
        "AddRandomWalkPE": AddRandomWalkPE(WIDTH),
        "AddLaplacianEigenvectorPE": AddLaplacianEigenvectorPE(WIDTH, is_undirected=True),
    }


def benchmarks() -> list[Benchmark]:
    """Gram and structured sketch beside each encoding at every size that it can take."""
    found = []
    for nodes in (100, 1000, 10_000, 100_000):
        data = sparse_graph(nodes)
        sizes = {"nodes": nodes, "edges": data.num_edges, "width": WIDTH}
        rest = {name: peer for name, peer in peers().items() if nodes <= LARGEST[name]}
        for ours in ("srf gram", "srf hadamard"):
            call = partial(transforms()[ours], data)
            for name, peer in rest.items():
                found.append(_pair(ours, call, name, partial(peer, data), sizes))
            if nodes == 100_000:
                other = "srf hadamard" if ours == "srf gram" else "srf gram"
                found.append(_pair(ours, call, other, partial(transforms()[other], data), sizes))
    return found


def _pair(
    ours: str, call: Callable[[], Data], name: str, peer: Callable[[], Data], sizes: dict[str, int]
) -> Benchmark:
    def agreement(first: Data, second: Data) -> dict[str, float]:
        return {"columns ours": _columns(first), "columns peer": _columns(second)}

    return Benchmark(ours, call, peer, name, dict(sizes), agreement)


def _columns(data: Data) -> float:
    added = [key for key in data.keys() if key not in ("x", "edge_index", "num_nodes")]  # noqa: SIM118
    return float(sum(data[key].shape[1] for key in added))
