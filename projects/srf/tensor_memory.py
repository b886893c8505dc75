"""Peak of the memory that live tensors hold while a function runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _LiveTensors(TorchDispatchMode):
    """Sees the result of every operation and counts each storage once while it lives."""

    def __init__(self) -> None:
        super().__init__()
        self.live: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor) and leaf.layout == torch.strided:
                storage = leaf.untyped_storage()
                self.live[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self.live = {key: entry for key, entry in self.live.items() if not entry[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self.live.values()))
        return out


def peak_tensor_bytes(work: Callable[[], Any]) -> int:
    """Largest sum of the sizes of all storages made by ``work`` that lived at one time.

    The peak memory of a process hides what fits into memory that the allocator has kept. This
    counts tensors alone: not the scratch space inside an operation, nor arrays of other libraries.

    Examples
    --------
    >>> peak_tensor_bytes(lambda: torch.zeros(1000, dtype=torch.double) + 1)
    16000
    """
    with _LiveTensors() as counter:
        work()
    return counter.peak
