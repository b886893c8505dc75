"""Heavy-hitter dropping before coding (H2O, arXiv 2306.14048), composable with any codec."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from projects.cachegen.errors import CorruptStreamError
from projects.cachegen.interface import Codec, EncodedChunk, Task
from projects.cachegen.profile import Profile
from projects.cachegen.tensors import as_planes, stacked

_KEPT = struct.Struct("<I")


def key_norm_scores(kv: Any) -> np.ndarray:
    """Stand-in for attention scores: minus the mean norm of the keys, shape (tokens,).

    A small key norm goes with much attention received (Devoto et al., arXiv 2406.11430). It is a
    proxy: H2O accumulates the attention itself.
    """
    planes = as_planes(kv)
    return -np.linalg.norm(planes.values[0::2], axis=2).mean(axis=0)


def heavy_hitters(scores: np.ndarray, keep: float) -> np.ndarray:
    """Tokens to keep: half of the budget most recent, half with the highest scores; bool.

    Examples
    --------
    >>> heavy_hitters(np.array([9.0, 1, 2, 8, 3, 0, 1, 1]), 0.5).nonzero()[0].tolist()
    [0, 3, 6, 7]
    """
    tokens = len(scores)
    budget = max(1, round(keep * tokens))
    recent = (budget + 1) // 2
    mask = np.zeros(tokens, bool)
    mask[tokens - recent :] = True
    rest = np.argsort(-scores[: tokens - recent], kind="stable")[: budget - recent]
    mask[rest] = True
    return mask


class DroppingCodec(Codec):
    """Drop tokens, then code the rest with another codec.

    One set of tokens is kept for all layers and heads, so that an attention mask over tokens
    describes it (H2O itself chooses per head). Dropped tokens come back as zeros; :meth:`kept`
    gives the mask. The mask travels, one bit a token.

    Parameters
    ----------
    inner : Codec
        For the kept tokens.
    keep : float
        Share of the tokens, 0 to 1; H2O's usual budgets are 0.4 to 0.5.
    """

    name = "h2o"

    def __init__(self, inner: Codec, *, keep: float = 0.45) -> None:
        super().__init__(threads=inner.threads)
        if not 0 < keep <= 1:
            raise ValueError(f"keep={keep}: a share above 0 and at most 1")
        self.inner, self.keep = inner, keep
        self.name = f"h2o+{inner.name}"
        self.levels, self.needs_profile = inner.levels, inner.needs_profile

    @property
    def options(self) -> dict[str, Any]:
        """Budget and the inner codec's options."""
        return {"keep": self.keep, **self.inner.options}

    def fit(self, kvs: Any, *, fingerprint: str = "") -> Profile | None:
        """Fit the inner codec (on undropped caches)."""
        return self.inner.fit(kvs, fingerprint=fingerprint)

    def encode(
        self,
        kv: Any,
        *,
        level: str | None = None,
        profile: Profile | None = None,
        place: str = "whole",
        scores: np.ndarray | None = None,
    ) -> EncodedChunk:
        """Encode the kept tokens.

        Parameters
        ----------
        kv, level, profile, place
            As in :meth:`Codec.encode`.
        scores : ndarray, shape (tokens,), optional
            Attention that each token received, summed over layers, heads and queries. Without
            them :func:`key_norm_scores` stands in.
        """
        array = stacked(kv)
        tokens = as_planes(array).tokens
        scores = key_norm_scores(array) if scores is None else np.asarray(scores)
        if scores.shape != (tokens,) or not np.isfinite(scores).all():
            raise ValueError(f"{tokens} finite scores needed, got shape {scores.shape}")
        mask = heavy_hitters(scores, self.keep)
        chunk = self.inner.encode(
            array[:, :, np.flatnonzero(mask)], level=level, profile=profile, place=place
        )
        payload = _KEPT.pack(int(mask.sum())) + np.packbits(mask).tobytes() + chunk.payload
        return replace(chunk, codec=self.name, tokens=tokens, payload=payload)

    def decode(self, chunk: EncodedChunk, *, profile: Profile | None = None) -> np.ndarray:
        """Decode; dropped tokens are zero."""
        mask, inner = self._opened_inner(chunk)
        part = self.inner.decode(inner, profile=profile)
        out = np.zeros((*part.shape[:2], chunk.tokens, *part.shape[3:]), part.dtype)
        out[:, :, mask] = part
        return out

    def kept(self, chunk: EncodedChunk) -> np.ndarray:
        """Return the mask of kept tokens, bool (tokens,)."""
        return self._opened_inner(chunk)[0]

    def decode_planes(
        self, chunk: EncodedChunk, *, profile: Profile | None = None
    ) -> Iterator[np.ndarray]:
        """Yield K and V of each layer in turn, dropped tokens zero."""
        mask, inner = self._opened_inner(chunk)
        for part in self.inner.decode_planes(inner, profile=profile):
            x = np.zeros((chunk.tokens, part.shape[1]), np.float32)
            x[mask] = part
            yield x

    def encode_plane(self, x: np.ndarray, plane: int, task: Task) -> bytes:
        """Code one plane of kept tokens with the inner codec."""
        return self.inner.encode_plane(x, plane, task)

    def decode_plane(self, part: memoryview, plane: int, task: Task) -> np.ndarray:
        """Undo :meth:`encode_plane`."""
        return self.inner.decode_plane(part, plane, task)

    def _opened_inner(self, chunk: EncodedChunk) -> tuple[np.ndarray, EncodedChunk]:
        size = _KEPT.size + (chunk.tokens + 7) // 8
        if len(chunk.payload) < size:
            raise CorruptStreamError("the stream ends inside the mask of kept tokens")
        bits = np.frombuffer(chunk.payload[_KEPT.size : size], np.uint8)
        mask = np.unpackbits(bits, count=chunk.tokens).astype(bool)
        kept = _KEPT.unpack_from(chunk.payload)[0]
        if kept != mask.sum() or not kept:
            raise CorruptStreamError(f"{mask.sum()} tokens are marked as kept, {kept} are counted")
        return mask, replace(
            chunk, codec=self.inner.name, tokens=kept, payload=chunk.payload[size:]
        )
