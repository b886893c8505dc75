"""What a model says of cached tokens: the attention that they get, keys before rotation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from common.llm.loading import Model


def attention_received(model: Model, tokens: Any) -> np.ndarray:
    """Attention that each token gets from all later ones, which H2O keeps tokens by.

    Parameters
    ----------
    model : Model
        Loaded model.
    tokens : sequence of int, shape (tokens,)
        The context.

    Returns
    -------
    ndarray of float64, shape (tokens,)
        Summed over layers, heads and queries (H2O, arXiv 2306.14048, section 4); the sum over all
        tokens is layers x heads x tokens.
    """
    network = model.network
    total = torch.zeros(len(tokens), dtype=torch.float64, device=network.device)

    def add(_module: Any, _inputs: Any, outputs: Any) -> None:
        total.add_(outputs[1][0].double().sum(dim=(0, 1)))

    before = network.config._attn_implementation
    network.set_attn_implementation("eager")  # the only one that gives its weights away
    hooks = [layer.self_attn.register_forward_hook(add) for layer in network.model.layers]
    try:
        with torch.inference_mode():
            ids = torch.as_tensor(np.asarray(tokens), dtype=torch.long, device=network.device)
            network.model(ids[None], use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
        network.set_attn_implementation(before)
    return total.cpu().numpy()


def unrotated_keys(model: Model, kv: torch.Tensor) -> torch.Tensor:
    """Undo the rotary embedding of a context's keys.

    Parameters
    ----------
    model : Model
        The model that made the cache.
    kv : Tensor, shape (layers, 2, tokens, kv_heads, head_dim)
        Cache of a context from its first token on.

    Returns
    -------
    Tensor, shape (layers, tokens, kv_heads, head_dim)
        Keys as they come out of their projection.
    """
    keys = kv[:, 0]
    positions = torch.arange(keys.shape[1], device=keys.device)[None]
    cos, sin = model.network.model.rotary_emb(keys, positions)
    cos, sin = cos[0, :, None].to(keys), sin[0, :, None].to(keys)
    half = keys.shape[-1] // 2
    turned = torch.cat([-keys[..., half:], keys[..., :half]], dim=-1)
    # A rotation's inverse has the same cosines and the opposite sines; some variants scale both.
    return (keys * cos - turned * sin) / (cos**2 + sin**2)
