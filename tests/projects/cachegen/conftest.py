"""Small caches and fitted codecs."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest


def cache_of(
    seed: int = 0,
    tokens: int = 50,
    layers: int = 3,
    heads: int = 2,
    head_dim: int = 8,
    rho: float = 0.0,
    dtype: type = np.float16,
) -> np.ndarray:
    """AR(1) over the tokens with correlation ``rho``, another mean and scale per channel."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(layers, 2, tokens, heads, head_dim))
    for t in range(1, tokens):
        x[:, :, t] = rho * x[:, :, t - 1] + np.sqrt(1 - rho**2) * x[:, :, t]
    shared = np.random.default_rng(99)
    scale = np.exp(shared.normal(0, 0.5, (layers, 2, 1, heads, head_dim)))
    mean = shared.normal(0, 1, (layers, 2, 1, heads, head_dim))
    return (mean + scale * x).astype(dtype)


@pytest.fixture
def make_cache() -> Callable[..., np.ndarray]:
    return cache_of


@pytest.fixture(scope="session")
def fitted() -> Callable[..., tuple]:
    """Return a codec of a name and its profile on 400 tokens of the default shape."""
    from projects.cachegen.codecs import codec

    @cache
    def make(name: str, **options):
        made = codec(name, **options)
        return made, made.fit([cache_of(7, tokens=400)], fingerprint="model")

    return make
