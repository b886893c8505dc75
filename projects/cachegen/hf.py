"""Caches of Hugging Face models in and out of the container."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import require
from projects.cachegen.codecs import codec as codec_by_name
from projects.cachegen.container import CHUNK_TOKENS, Container, encode_context
from projects.cachegen.interface import Codec
from projects.cachegen.profile import Profile

if TYPE_CHECKING:
    from transformers import Cache


def kv_of(cache: Cache) -> Any:
    """Return a cache of one sequence as a tensor [layers, 2, tokens, heads, head_dim].

    Parameters
    ----------
    cache : transformers.Cache
        As models return it in ``past_key_values``; keys are those after RoPE.

    Raises
    ------
    ValueError
        If it holds several sequences, or layers without plain keys and values (a sliding window,
        a state space).
    """
    require("transformers", "llm")
    from common.llm.kv import from_cache

    shapes = set()
    for number, layer in enumerate(cache.layers):
        keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
        if keys is None or values is None or keys.dim() != 4:
            raise ValueError(f"layer {number} ({type(layer).__name__}) holds no keys and values")
        shapes |= {tuple(keys.shape), tuple(values.shape)}
    if len(shapes) > 1:
        raise ValueError(
            f"layers have different shapes {sorted(shapes)}; only equal ones can be stacked"
        )
    return from_cache(cache)


def cache_of(kv: np.ndarray | Any, *, dtype: Any = None, device: str = "cpu") -> Cache:
    """Return a ``DynamicCache`` of one sequence with these keys and values.

    Parameters
    ----------
    kv : ndarray or Tensor, shape [layers, 2, tokens, heads, head_dim]
        Decoded cache.
    dtype : torch.dtype, optional
        Of the model; by default that of ``kv``.
    device : str
        Of the model.
    """
    require("transformers", "llm")
    import torch
    from transformers import DynamicCache

    tensor = torch.as_tensor(kv).to(device=device, dtype=dtype)
    cache = DynamicCache()
    for number, (keys, values) in enumerate(tensor):
        cache.update(keys.transpose(0, 1)[None], values.transpose(0, 1)[None], number)
    return cache


def compress(
    cache: Cache,
    codec: Codec | str = "uniform8",
    *,
    levels: tuple[str, ...] | None = None,
    profile: Profile | None = None,
    chunk_tokens: int = CHUNK_TOKENS,
    fingerprint: str = "",
) -> bytes:
    """Encode a cache as a self-describing stream.

    Parameters
    ----------
    cache : transformers.Cache
        Of one sequence.
    codec : Codec or str
        See :func:`projects.cachegen.codecs.codec`.
    levels, profile, chunk_tokens, fingerprint
        As in :func:`projects.cachegen.container.encode_context`.
    """
    coder = codec_by_name(codec) if isinstance(codec, str) else codec
    return encode_context(
        kv_of(cache),
        coder,
        levels=levels,
        chunk_tokens=chunk_tokens,
        fingerprint=fingerprint,
        profile=profile,
    )


def decompress(
    data: bytes,
    *,
    level: str | None = None,
    profile: Profile | None = None,
    fingerprint: str | None = None,
    dtype: Any = None,
    device: str = "cpu",
) -> Cache:
    """Decode a stream to a cache that ``model.generate(past_key_values=...)`` goes on from.

    Raises
    ------
    CorruptStreamError, IncompatibleStreamError, IncompatibleProfileError
        If the bytes are damaged, or of another model or profile; no cache is made of them.
    """
    stream = Container(data)
    stream.header.require(fingerprint=fingerprint)
    return cache_of(stream.decode(level, profile=profile), dtype=dtype, device=device)
