"""What the graph papers share: event streams, keyed random projections, statistics of streams."""

from __future__ import annotations

from common.lazy import defer

# PyG imports both at its start: its datasets bring transformers, and the compiler takes 2 s, which
# PyTorch itself loads when it is asked for.
defer("torch_geometric.datasets", "torch._dynamo")
