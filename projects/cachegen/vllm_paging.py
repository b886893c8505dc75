"""Keys and values in and out of vLLM's paged caches, in the layouts that it has had.

Slot ``s`` is token ``s % block`` of block ``s // block``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from projects.cachegen.tensors import Geometry


@dataclass(frozen=True)
class Paging:
    """How one layer's cache holds keys and values.

    Attributes
    ----------
    kind : str
        ``"split"``: ``[2, blocks, block, heads, dim]``, FlashAttention before vLLM 0.30;
        ``"joined"``: ``[blocks, heads, block, 2 dim]`` with the key before the value, GPUs in
        vLLM 0.32; ``"packed"``: the same shape, but each head of a block is one run of numbers in
        the order of the processor's instructions.
    order : LongTensor, shape [2, block, dim], optional
        Of ``"packed"``: where in that run each number of K and V stands.
    """

    kind: str
    order: torch.Tensor | None = None


def paging_of(
    cache: torch.Tensor, geometry: Geometry, write: Callable[..., None] | None = None
) -> Paging:
    """Tell the layout of a layer's cache by its shape and device.

    Parameters
    ----------
    cache : Tensor
        As vLLM registers it.
    geometry : Geometry
        Heads and head size of the model.
    write : callable, optional
        ``write(key, value, cache, slots)``, the attention kernel's own writer; needed on a CPU.

    Raises
    ------
    ValueError
        For a layout that is none of :class:`Paging`'s.
    """
    heads, dim = geometry.heads, geometry.head_dim
    shape = tuple(cache.shape)
    if len(shape) == 5 and shape[0] == 2 and shape[3:] == (heads, dim):
        return Paging("split")
    if len(shape) == 4 and (shape[1], shape[3]) == (heads, 2 * dim):
        if cache.device.type != "cpu":
            return Paging("joined")
        if write is not None and cache.is_contiguous():
            return Paging("packed", order_in_block(write, shape[2], geometry, cache.dtype))
    raise ValueError(
        f"cannot read a cache of shape {shape} on {cache.device.type} with {heads} heads of {dim}; "
        f"known are [2, blocks, block, {heads}, {dim}] and [blocks, {heads}, block, {2 * dim}]"
    )


def order_in_block(
    write: Callable[..., None], block: int, geometry: Geometry, dtype: torch.dtype
) -> torch.Tensor:
    """Learn where a kernel puts the numbers of a block, by writing numbered ones.

    vLLM's CPU kernels transpose keys, or interleave pairs of keys and of values, as the
    processor's instructions want them; so the kernel itself is asked.

    Returns
    -------
    LongTensor, shape [2, block, dim]

    Raises
    ------
    ValueError
        If the kernel does not put every number in one place of its own.
    """
    dim, heads = geometry.head_dim, geometry.heads
    total = 2 * block * dim
    number = torch.arange(total).view(2, block, 1, dim).expand(2, block, heads, dim)
    found = torch.zeros(total, dtype=torch.long)
    # In digits, because 16 bits hold small integers only; the last pass shows what stays unwritten.
    for digit in (1, 128, 128 * 128):
        key, value = ((number // digit) % 128 + 1).to(dtype).contiguous()
        cache = torch.zeros(1, heads, block, 2 * dim, dtype=dtype)
        write(key, value, cache, torch.arange(block))
        found += (cache[0, 0].reshape(-1).long() - 1) * digit
    if not torch.equal(found.sort().values, torch.arange(total)):
        raise ValueError("the attention kernel does not keep keys and values as they are")
    return torch.argsort(found).view(2, block, dim)


def gather(cache: torch.Tensor, slots: torch.Tensor, paging: Paging) -> torch.Tensor:
    """Return the keys and values at some slots, [2, tokens, heads, dim], as a copy.

    Parameters
    ----------
    cache : Tensor
        Of one layer.
    slots : LongTensor, shape [tokens]
        On the cache's device.
    paging : Paging
    """
    block, offset = _blocks(cache, slots)
    if paging.kind == "split":
        return cache[:, block, offset]
    if paging.kind == "joined":
        # The indices are apart, so their axis comes first: [tokens, heads, 2 dim].
        return torch.stack(cache[block, :, offset].chunk(2, dim=-1))
    return _runs(cache)[_packed_index(cache, block, offset, paging)]


def scatter(
    cache: torch.Tensor, slots: torch.Tensor, kv: torch.Tensor, paging: Paging
) -> torch.Tensor:
    """Write keys and values [2, tokens, heads, dim] to some slots; returns ``cache``."""
    block, offset = _blocks(cache, slots)
    kv = kv.to(device=cache.device, dtype=cache.dtype)
    if paging.kind == "split":
        cache[:, block, offset] = kv
    elif paging.kind == "joined":
        cache[block, :, offset] = torch.cat([kv[0], kv[1]], dim=-1)
    else:
        _runs(cache)[_packed_index(cache, block, offset, paging)] = kv
    return cache


def slots_of(blocks: Sequence[int], block: int, start: int, end: int) -> torch.Tensor:
    """Slots of the tokens ``start`` to ``end`` of a request.

    Examples
    --------
    >>> slots_of([7, 3], 4, 2, 6).tolist()
    [30, 31, 12, 13]
    """
    tokens = torch.arange(start, end)
    return torch.tensor(blocks, dtype=torch.long)[tokens // block] * block + tokens % block


def _blocks(cache: torch.Tensor, slots: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    size = cache.shape[2]  # tokens of a block, in all layouts
    return slots // size, slots % size


def _runs(cache: torch.Tensor) -> torch.Tensor:
    return cache.view(cache.shape[0], cache.shape[1], -1)


def _packed_index(
    cache: torch.Tensor, block: torch.Tensor, offset: torch.Tensor, paging: Paging
) -> tuple[torch.Tensor, ...]:
    """Indices into [blocks, heads, run] that broadcast to [2, tokens, heads, dim]."""
    heads = torch.arange(cache.shape[1], device=cache.device)
    place = paging.order.to(cache.device)[:, offset]
    return block[None, :, None, None], heads[None, None, :, None], place[:, :, None, :]
