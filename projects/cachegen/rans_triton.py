"""The rANS decoder as a Triton kernel: one lane per thread, the byte format of ``rans.py``."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from projects.cachegen.rans import MAX_SYMBOLS
from projects.cachegen.rans_torch import begin_table, slot_table

BLOCK = 32  # lanes of a program: a warp, whose loads of neighbouring lanes coalesce in the output


@triton.jit
def _kernel(
    words, starts, lengths, rows, slots, info, q, damaged,
    lanes, tokens, clip, escape,
    BLOCK: tl.constexpr, SYMBOLS: tl.constexpr,
):  # fmt: skip
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = lane < lanes
    p = tl.load(starts + lane, mask=inside, other=0)
    end = p + tl.load(lengths + lane, mask=inside, other=0)
    row = tl.load(rows + lane, mask=inside, other=0)
    high = tl.load(words + p, mask=inside, other=0).to(tl.int32) & 0xFFFF
    low = tl.load(words + p + 1, mask=inside, other=0).to(tl.int32) & 0xFFFF
    x = (high.to(tl.uint32) << 16) | low.to(tl.uint32)
    p += 2
    for t in range(tokens):
        slot = (x & 4095).to(tl.int32)
        s = tl.load(slots + row * 4096 + slot, mask=inside, other=0).to(tl.int32)
        entry = tl.load(info + row * SYMBOLS + s, mask=inside, other=0)
        frequency = (entry & 0xFFFF).to(tl.uint32)
        offset = (slot - (entry >> 16)).to(tl.uint32)
        x = frequency * (x >> 12) + offset
        # In 32 bits the shift also drops nothing: a short state is below 2^16.
        short = x < 65536
        word = tl.load(words + p, mask=inside & short, other=0).to(tl.int32) & 0xFFFF
        x = tl.where(short, (x << 16) | word.to(tl.uint32), x)
        p += short.to(tl.int64)
        escaped = s == escape
        raw = tl.load(words + p, mask=inside & escaped, other=0)
        value = tl.where(escaped, raw, (s - clip).to(tl.int16))
        p += escaped.to(tl.int64)
        tl.store(q + t.to(tl.int64) * lanes + lane, value, mask=inside)
    bad = inside & ((x != 65536) | (p != end))
    tl.atomic_add(damaged, tl.sum(bad.to(tl.int32)))


def decode_lanes(
    words: torch.Tensor,
    starts: torch.Tensor,
    lengths: torch.Tensor,
    rows: torch.Tensor,
    frequencies: torch.Tensor,
    clip: int,
    tokens: int,
) -> tuple[torch.Tensor, int]:
    """Decode lanes of equal length on a GPU; as :func:`projects.cachegen.rans_torch.decode_lanes`.

    The tensors lie on one CUDA device. Tables take 4 KB of slots and 1 KB each; with clustered
    tables (``tables=64``) all of them stay in the cache of the GPU.
    """
    lanes, device = len(starts), words.device
    slots = slot_table(frequencies)
    # Frequency in the low half and first slot in the high half of an int32; both are below 4096.
    packed = (frequencies | (begin_table(frequencies) << 16)).to(torch.int32)
    info = torch.zeros((len(frequencies), MAX_SYMBOLS), dtype=torch.int32, device=device)
    info[:, : packed.shape[1]] = packed
    q = torch.empty((tokens, lanes), dtype=torch.int16, device=device)
    damaged = torch.zeros(1, dtype=torch.int32, device=device)
    escape = frequencies.shape[1] - 1
    if lanes and tokens:
        with torch.cuda.device(device):
            _kernel[(triton.cdiv(lanes, BLOCK),)](
                words, starts, lengths, rows, slots, info, q, damaged,
                lanes, tokens, clip, escape, BLOCK=BLOCK, SYMBOLS=MAX_SYMBOLS, num_warps=1,
            )  # fmt: skip
    return q, int(damaged)
