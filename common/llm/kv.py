"""KV caches as plain tensors: taken out of a model, put back, continued.

A cache of one sequence is a tensor of shape ``[layers, 2, tokens, kv_heads, head_dim]``; index 0 of
the second axis holds keys after rotary embedding, index 1 values, as they are in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from transformers import DynamicCache

from common.llm.loading import Model

Tokens = Sequence[int] | np.ndarray | torch.Tensor


def prefill(model: Model, tokens: Tokens, past: Any = None) -> torch.Tensor:
    """Compute the KV cache of tokens.

    Parameters
    ----------
    model : Model
        Loaded model.
    tokens : sequence of int, shape (tokens,)
        The text, or its next part.
    past : array or tensor, optional
        Cache of what comes before them.

    Returns
    -------
    Tensor, shape (layers, 2, tokens, kv_heads, head_dim)
        Cache of ``tokens`` alone, in the model's dtype and on its device.

    Raises
    ------
    ValueError
        For no tokens, tokens outside the vocabulary, or a past of another shape.
    """
    ids = _ids(model, tokens)
    cache = DynamicCache() if past is None else to_cache(past, model)
    before = cache.get_seq_length()
    with torch.inference_mode():
        # The base model: the output layer is of no use here.
        model.network.model(ids, past_key_values=cache, use_cache=True)
    return from_cache(cache)[:, :, before:].clone()


def from_cache(cache: DynamicCache) -> torch.Tensor:
    """Return a cache of one sequence as a tensor ``[layers, 2, tokens, kv_heads, head_dim]``.

    Raises
    ------
    ValueError
        For an empty cache, or one of several sequences.
    """
    if not cache.layers or any(layer.keys is None for layer in cache.layers):
        raise ValueError("the cache is empty; run the model with it first")
    layers = [torch.stack([layer.keys, layer.values]) for layer in cache.layers]
    if any(layer.shape[1] != 1 for layer in layers):
        raise ValueError(f"the cache holds {layers[0].shape[1]} sequences; take one at a time")
    return torch.stack([layer[:, 0] for layer in layers]).transpose(2, 3)


def to_cache(kv: Any, model: Model) -> DynamicCache:
    """Put a cache into transformers' form; the tensor given is not changed by later use.

    Parameters
    ----------
    kv : array or tensor, shape (layers, 2, tokens, kv_heads, head_dim)
        Any floating-point type; it is cast to the model's.
    model : Model
        The model that it belongs to.

    Raises
    ------
    ValueError
        If the shape is not the model's; names both.
    """
    network = model.network
    tensor = torch.as_tensor(kv).to(device=network.device, dtype=network.dtype)
    wanted = (model.layers, 2, model.kv_heads, model.head_dim)
    found = tuple(tensor.shape[:2] + tensor.shape[3:])
    if tensor.ndim != 5 or found != wanted:
        raise ValueError(
            f"KV of shape {tuple(tensor.shape)} does not fit the model, which has (layers, 2, "
            f"tokens, kv_heads, head_dim) = ({model.layers}, 2, any, {model.kv_heads}, "
            f"{model.head_dim})"
        )
    heads_first = tensor.transpose(2, 3)[:, :, None]
    return DynamicCache([(layer[0], layer[1]) for layer in heads_first])


def continuation_logits(
    model: Model, kv: Any, tokens: Tokens, *, position: int | None = None
) -> torch.Tensor:
    """Return the logits after each of ``tokens``, which follow the cached ones.

    Parameters
    ----------
    model : Model
        Loaded model.
    kv : array or tensor, shape (layers, 2, cached, kv_heads, head_dim)
        Cache of the context.
    tokens : sequence of int, shape (tokens,)
        What follows it.
    position : int, optional
        Place of the first of ``tokens`` in the text, for a cache that lacks some of it; by default
        right behind the cached ones.

    Returns
    -------
    Tensor of float32, shape (tokens, vocabulary)
        Row ``i`` predicts token ``i + 1``.
    """
    ids = _ids(model, tokens)
    with torch.inference_mode():
        cache = to_cache(kv, model)
        begin = cache.get_seq_length() if position is None else position
        places = torch.arange(begin, begin + ids.shape[1], device=ids.device)[None]
        output = model.network(ids, past_key_values=cache, position_ids=places, use_cache=True)
        return output.logits[0].float()


def continuation_loss(model: Model, kv: Any, tokens: Tokens) -> float:
    """Return the mean loss (nats per token) on ``tokens[1:]``, given the cache and ``tokens[0]``.

    The first token has no prediction: that would need the context's last logits, which a cache
    does not hold.

    Raises
    ------
    ValueError
        For fewer than two tokens.
    """
    ids = _ids(model, tokens)[0]
    if len(ids) < 2:
        raise ValueError("a continuation loss needs at least two tokens: the first is not scored")
    logits = continuation_logits(model, kv, ids)
    return float(functional.cross_entropy(logits[:-1], ids[1:]))


def greedy(model: Model, kv: Any, tokens: Tokens, n: int) -> list[int]:
    """Continue with the most likely token ``n`` times; stops after an end-of-document token.

    Parameters
    ----------
    model : Model
        Loaded model.
    kv : array or tensor, shape (layers, 2, cached, kv_heads, head_dim)
        Cache of the context.
    tokens : sequence of int, shape (tokens,)
        The rest of the prompt, at least one token.
    n : int
        Number of tokens at most.

    Returns
    -------
    list of int
        The new tokens.
    """
    if n < 1:
        raise ValueError(f"n={n}: at least one token has to be made")
    ends = model.network.generation_config.eos_token_id
    stops = {ends} if isinstance(ends, int) else set(ends or ())
    made: list[int] = []
    ids = _ids(model, tokens)
    with torch.inference_mode():
        cache = to_cache(kv, model)
        while len(made) < n and not stops.intersection(made[-1:]):
            output = model.network(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            made.append(int(output.logits[0, -1].argmax()))
            ids = ids.new_tensor([made[-1:]])
    return made


def _ids(model: Model, tokens: Tokens) -> torch.Tensor:
    """Tokens as the model takes them, shape (1, tokens)."""
    ids = torch.as_tensor(tokens, device=model.network.device)
    size = model.network.config.vocab_size
    if ids.ndim != 1 or not len(ids):
        raise ValueError(f"tokens of shape {tuple(ids.shape)}; give one sequence, not empty")
    if ids.is_floating_point():
        raise ValueError(f"tokens of type {ids.dtype}; give whole numbers")
    ids = ids.long()
    if int(ids.min()) < 0 or int(ids.max()) >= size:
        raise ValueError(
            f"tokens from {int(ids.min())} to {int(ids.max())} for a vocabulary of {size}"
        )
    return ids[None]
