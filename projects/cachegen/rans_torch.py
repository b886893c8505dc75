"""The rANS decoder in plain PyTorch: all lanes step together, on any device.

The same steps as the Triton kernel, one tensor operation each, so the algorithm is tested where
there is no GPU. Words are int16 because PyTorch's support of unsigned types is partial.
"""

from __future__ import annotations

import numpy as np
import torch

from projects.cachegen.rans import LOWEST, PROBABILITY_BITS, TOTAL


def slot_table(frequencies: torch.Tensor) -> torch.Tensor:
    """Symbol of each of the 4,096 slots; uint8 [tables, 4096] from int64 [tables, symbols]."""
    tables, symbols = frequencies.shape
    every = torch.arange(symbols, dtype=torch.uint8, device=frequencies.device).repeat(tables)
    return every.repeat_interleave(frequencies.flatten()).view(tables, TOTAL)


def begin_table(frequencies: torch.Tensor) -> torch.Tensor:
    """First slot of each symbol; int64 [tables, symbols]."""
    return frequencies.cumsum(dim=1) - frequencies


def as_tensor(array: np.ndarray, device: torch.device | str) -> torch.Tensor:
    """Move an array to a device; uint16 keeps its bits as int16, other integers become int64."""
    if array.dtype == np.uint16:
        return torch.from_numpy(array.view(np.int16)).to(device)
    return torch.from_numpy(np.ascontiguousarray(array, np.int64)).to(device)


def decode_lanes(
    words: torch.Tensor,
    starts: torch.Tensor,
    lengths: torch.Tensor,
    rows: torch.Tensor,
    frequencies: torch.Tensor,
    clip: int,
    tokens: int,
) -> tuple[torch.Tensor, int]:
    """Decode lanes of equal length.

    Parameters
    ----------
    words : int16 tensor
        Bits of the words; at least 2 * tokens + 2 follow the start of every lane.
    starts, lengths, rows : int64 tensors, shape (lanes,)
        Place, size and table of each lane.
    frequencies : int64 tensor, shape (tables, symbols)
    clip, tokens : int
        Values of -clip..clip have their own symbol; values of each lane.

    Returns
    -------
    q : int16 tensor, shape (tokens, lanes)
    damaged : int
        Lanes that did not end where and as they should.
    """
    slots, begins = slot_table(frequencies), begin_table(frequencies)
    escape = frequencies.shape[1] - 1

    def read(places: torch.Tensor) -> torch.Tensor:
        return words[places].long() & 0xFFFF

    x = (read(starts) << 16) | read(starts + 1)
    p = starts + 2
    q = torch.empty((tokens, len(starts)), dtype=torch.int16, device=words.device)
    for t in range(tokens):
        slot = x & (TOTAL - 1)
        s = slots[rows, slot].long()
        x = frequencies[rows, s] * (x >> PROBABILITY_BITS) + slot - begins[rows, s]
        short = x < LOWEST
        x = torch.where(short, (x << 16) | read(p), x)
        p = p + short
        escaped = s == escape
        q[t] = torch.where(escaped, words[p], (s - clip).to(torch.int16))
        p = p + escaped
    damaged = (x != LOWEST) | (p != starts + lengths)
    return q, int(damaged.sum())
