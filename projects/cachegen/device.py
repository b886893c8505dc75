"""Decoding on a device: the lanes of all planes at once, the result a tensor that stays there."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from common.errors import require
from projects.cachegen import predict, rans_torch
from projects.cachegen.entropy import Lanes, decode_lanes, read_section
from projects.cachegen.errors import CorruptStreamError
from projects.cachegen.interface import EncodedChunk
from projects.cachegen.predict import ANCHOR, PREVIOUS
from projects.cachegen.profile import Profile
from projects.cachegen.stepping import SteppedCodec
from projects.cachegen.tables import Tables

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def checked_device(device: str | torch.device) -> torch.device:
    """Return the device; RuntimeError if it is a GPU that is not there."""
    device = torch.device(device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("no CUDA device is present; pass device='cpu'")
    return device


def decode_on(
    codec: SteppedCodec,
    chunk: EncodedChunk,
    *,
    profile: Profile,
    device: str | torch.device = "cpu",
) -> torch.Tensor:
    """Decode a chunk of the CacheGen family to a tensor on ``device``.

    Parameters
    ----------
    codec, chunk, profile
        As for :meth:`SteppedCodec.decode`.
    device : str or torch.device
        With CUDA the lanes are decoded by the Triton kernel, elsewhere by plain PyTorch.

    Returns
    -------
    Tensor, shape [layers, 2, tokens, heads, head_dim]
        Of the chunk's dtype, bfloat16 included.

    Raises
    ------
    RuntimeError
        If CUDA is asked for and absent.
    CorruptStreamError, IncompatibleStreamError, IncompatibleProfileError
        As :meth:`SteppedCodec.decode`.
    """
    device = checked_device(device)
    task, parts = codec.opened(chunk, profile)
    g, tools, tokens = chunk.geometry, task.tools, chunk.tokens
    out = torch.empty((g.planes, tokens, g.channels), dtype=DTYPES[chunk.dtype], device=device)
    for kind in sorted(set(tools.predictors)):
        planes = [plane for plane, one in enumerate(tools.predictors) if one == kind]
        mean = torch.from_numpy(tools.mean[planes]).to(device)[:, None]
        step = torch.from_numpy(tools.step[planes]).to(device)[:, None]
        n_anchors = predict.anchors(tokens, codec.group) if kind == ANCHOR else 0
        ends = [0] * len(planes)
        if kind == ANCHOR:
            found = [read_section(parts[p], 0, n_anchors, g.channels) for p in planes]
            ends = [end for _, end in found]
            lanes = [lane for lane, _ in found]
            qa = _decode(lanes, planes, tools.anchor_tables, n_anchors, device)
            wide = torch.from_numpy(tools.anchor_step[planes]).to(device)[:, None]
            anchor = mean + qa * wide
        rest = tokens - n_anchors
        lanes = [
            read_section(parts[p], end, rest, g.channels)[0]
            for p, end in zip(planes, ends, strict=True)
        ]
        q = _decode(lanes, planes, tools.tables, rest, device)
        if kind == ANCHOR:
            place = torch.arange(tokens, device=device)
            first = place % codec.group == 0
            x = anchor[:, place // codec.group]
            x[:, ~first] += q * step
        elif kind == PREVIOUS:
            # Sums of integers, exact in float32 below 2^24, so this equals the host's bit by bit.
            x = mean + q.cumsum(dim=1) * step
        else:
            x = mean + q * step
        out[planes] = x.to(out.dtype)
    return out.view(g.layers, 2, tokens, g.heads, g.head_dim)


def _decode(
    lanes: list[Lanes], planes: list[int], tables: Tables, tokens: int, device: torch.device
) -> torch.Tensor:
    """Values of some planes, float32 [planes, tokens, channels]."""
    channels = len(lanes[0].starts)
    sizes = [len(one.words) for one in lanes]
    shifts = np.cumsum([0, *sizes[:-1]])
    raw = np.concatenate([one.raw for one in lanes])
    coded = np.flatnonzero(~raw)
    starts = np.concatenate([one.starts + s for one, s in zip(lanes, shifts, strict=True)])
    lengths = np.concatenate([one.lengths for one in lanes])
    rows = tables.index[planes].reshape(-1)
    words = rans_torch.as_tensor(np.concatenate([one.words for one in lanes]), device)
    arguments = [rans_torch.as_tensor(array[coded], device) for array in (starts, lengths, rows)]
    frequencies = rans_torch.as_tensor(tables.frequencies.astype(np.int64), device)
    q = torch.zeros((tokens, len(raw)), dtype=torch.int16, device=device)
    decoded, damaged = _decoder(device)(words, *arguments, frequencies, tables.clip, tokens)
    if damaged:
        raise CorruptStreamError(f"{damaged} lanes do not end as they should")
    q[:, torch.from_numpy(coded).to(device)] = decoded
    if raw.any():
        _put_raw(q, lanes, planes, tables, channels)
    return q.view(tokens, len(planes), channels).transpose(0, 1).float()


def _put_raw(
    q: torch.Tensor, lanes: list[Lanes], planes: list[int], tables: Tables, channels: int
) -> None:
    """Raw lanes are few; the host unpacks them."""
    for place, (one, plane) in enumerate(zip(lanes, planes, strict=True)):
        columns = np.flatnonzero(one.raw)
        if len(columns):
            only = Lanes(one.words, one.starts[columns], one.lengths[columns], one.kinds[columns])
            values = np.empty((len(q), len(columns)), np.int16)
            decode_lanes(only, values, tables, plane)
            where = torch.from_numpy(columns + place * channels).to(q.device)
            q[:, where] = torch.from_numpy(values).to(q.device)


def _decoder(device: torch.device) -> Any:
    if device.type == "cuda":
        require("triton", "graph")
        from projects.cachegen.rans_triton import decode_lanes as decode_on_gpu

        return decode_on_gpu
    return rans_torch.decode_lanes
