"""What coding a cache does to the model's next tokens."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from common.llm.kv import continuation_logits
from projects.cachegen.dropping import DroppingCodec
from projects.cachegen.interface import place_of

if TYPE_CHECKING:
    from common.llm.loading import Model
    from common.llm.recall import Question
    from projects.cachegen.interface import Codec
    from projects.cachegen.profile import Profile


@dataclass(frozen=True)
class Coded:
    """A cache after coding and decoding.

    Attributes
    ----------
    kv : ndarray, shape [layers, 2, tokens, heads, head_dim]
        What a model would get.
    bits : float
        Bits per element of the whole cache, side information included.
    kept : ndarray of bool or None, shape (tokens,)
        Tokens that were not dropped; None for all.
    """

    kv: np.ndarray
    bits: float
    kept: np.ndarray | None = None


def coded(
    kv: np.ndarray,
    codec: Codec,
    *,
    level: str | None = None,
    profile: Profile | None = None,
    chunk_tokens: int | None = None,
    scores: np.ndarray | None = None,
) -> Coded:
    """Encode and decode a cache.

    Parameters
    ----------
    kv : ndarray, shape [layers, 2, tokens, heads, head_dim]
        float16 or float32.
    codec : Codec
        See :func:`projects.cachegen.codecs.codec`.
    level, profile
        As in :meth:`Codec.encode`.
    chunk_tokens : int, optional
        Code chunks of that many tokens on their own; by default the whole context.
    scores : ndarray, shape (tokens,), optional
        Attention received by each token, for a codec that drops tokens.
    """
    tokens = kv.shape[2]
    step = chunk_tokens or tokens
    starts = range(0, tokens, step)
    parts, size, kept = [], 0, []
    for start in starts:
        stop = min(start + step, tokens)
        options: dict[str, Any] = {"place": place_of(start == 0, stop == tokens)}
        if isinstance(codec, DroppingCodec) and scores is not None:
            options["scores"] = scores[start:stop]
        chunk = codec.encode(kv[:, :, start:stop], level=level, profile=profile, **options)
        parts.append(codec.decode(chunk, profile=profile))
        size += chunk.nbytes
        if isinstance(codec, DroppingCodec):
            kept.append(codec.kept(chunk))
    mask = np.concatenate(kept) if kept else None
    return Coded(np.concatenate(parts, axis=2), 8 * size / kv.size, mask)


@dataclass(frozen=True)
class Judge:
    """One context with its continuation, and what the model says with its exact cache.

    Parameters
    ----------
    model : Model
        Loaded model.
    kv : ndarray, shape [layers, 2, tokens, heads, head_dim]
        The exact cache.
    continuation : ndarray of int
        What follows the context.
    """

    model: Model
    kv: np.ndarray
    continuation: np.ndarray

    @cached_property
    def logits(self) -> torch.Tensor:
        """Of the continuation under the exact cache, shape (tokens, vocabulary)."""
        return self._continued(Coded(self.kv, 16.0))

    def compare(self, coded: Coded) -> dict[str, float]:
        """Return what coding changed.

        Returns
        -------
        dict
            ``loss`` [nats per token], ``perplexity_rise`` [%], ``perplexity_rise_absolute``,
            ``agreement`` (share of positions with the same most likely token) and ``divergence``
            (Kullback-Leibler, from exact to coded [nats per token]).
        """
        logits = self._continued(coded)
        exact, loss = self._loss(self.logits), self._loss(logits)
        truth = functional.log_softmax(self.logits, dim=-1)
        found = functional.log_softmax(logits, dim=-1)
        divergence = functional.kl_div(found, truth, log_target=True, reduction="batchmean")
        return {
            "loss": loss,
            "perplexity_rise": 100 * float(np.expm1(loss - exact)),
            "perplexity_rise_absolute": float(np.exp(loss) - np.exp(exact)),
            "agreement": float((logits.argmax(-1) == self.logits.argmax(-1)).double().mean()),
            "divergence": float(divergence),
        }

    def _continued(self, coded: Coded) -> torch.Tensor:
        kv, tokens = coded.kv, self.kv.shape[2]
        if coded.kept is not None:
            kv = kv[:, :, coded.kept]
        return continuation_logits(self.model, kv, self.continuation, position=tokens)

    def _loss(self, logits: torch.Tensor) -> float:
        following = torch.as_tensor(self.continuation[1:], device=logits.device)
        return float(functional.cross_entropy(logits[:-1], following))


def answered(model: Model, question: Question, coded: Coded) -> bool:
    """Whether the most likely token after the query is the answer."""
    kv = coded.kv if coded.kept is None else coded.kv[:, :, coded.kept]
    logits = continuation_logits(model, kv, question.query, position=coded.kv.shape[2])
    return int(logits[-1].argmax()) == question.answer
