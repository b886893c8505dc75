"""A stand-in KV cache, for the speed of codecs alone: it says nothing about quality."""

from __future__ import annotations

import numpy as np

KEY_CORRELATION = 0.81  # var(x_t - x_{t-1}) / var = 2 (1 - rho) = 1 / 2.6, the paper's 2.4-2.9
VALUE_CORRELATION = 0.3
OUTLIERS, OUTLIER_FACTOR = 0.02, 8.0


def synthetic_kv(
    layers: int = 8, tokens: int = 1500, heads: int = 2, head_dim: int = 128, seed: int = 0
) -> np.ndarray:
    """Draw AR(1) channels over the tokens (brief section 5).

    Keys: channel means from N(0, 1), two in a hundred of them eight times as large, correlation
    0.81 from token to token. Values: no means, no outliers, correlation 0.3. Unit variance.

    Parameters
    ----------
    layers, tokens, heads, head_dim : int
        Of the cache; the default is a fifth of an 8B model's chunk in layers and channels.
    seed : int
        Of the noise. The channel means depend on the shape alone, as they belong to the model.

    Returns
    -------
    ndarray of float16, shape [layers, 2, tokens, heads, head_dim]

    Examples
    --------
    >>> synthetic_kv(2, 10, 1, 4).shape
    (2, 2, 10, 1, 4)
    """
    noise, model = np.random.default_rng(seed), np.random.default_rng(20240804)
    channels = heads * head_dim
    mean = model.normal(size=(layers, channels))
    mean *= np.where(model.random((layers, channels)) < OUTLIERS, OUTLIER_FACTOR, 1.0)
    kv = np.empty((layers, 2, tokens, channels), np.float16)
    for part, rho in enumerate((KEY_CORRELATION, VALUE_CORRELATION)):
        x = noise.standard_normal((layers, channels), np.float32)
        for t in range(tokens):
            if t:
                fresh = noise.standard_normal((layers, channels), np.float32)
                x = np.float32(rho) * x + np.float32(np.sqrt(1 - rho**2)) * fresh
            kv[:, part, t] = x + (mean if part == 0 else 0)
    return kv.reshape(layers, 2, tokens, heads, head_dim)
