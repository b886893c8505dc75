"""Byte-level byte-pair encoding (Sennrich et al. 2016) trained on the corpus."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import ConfigError, require

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

END = "<|endoftext|>"  # ends a document; the model sees it before every document too
PAD = "<|pad|>"
SMALLEST = 256 + 2  # all bytes and the two special tokens


def train_tokenizer(texts: Iterable[str], vocabulary: int = 2048) -> PreTrainedTokenizerFast:
    r"""Train a tokenizer that can encode every text without an unknown token.

    Digits are tokens of their own, so that numbers are spelt.

    Parameters
    ----------
    texts : iterable of str
        Training texts.
    vocabulary : int
        Number of tokens at most, special tokens included.

    Raises
    ------
    ConfigError
        If the vocabulary cannot hold the bytes.
    MissingExtra
        If tokenizers or transformers is not installed.

    Examples
    --------
    >>> tokenizer = train_tokenizer(["def f(x):", "def g(x):"], 300)
    >>> tokenizer.decode(tokenizer.encode("def \u00fc(2024):")) == "def \u00fc(2024):"
    True
    """
    if vocabulary < SMALLEST:
        raise ConfigError(f"a vocabulary of {vocabulary} is too small; take at least {SMALLEST}")
    tokenizers = require("tokenizers", "llm")
    transformers = require("transformers", "llm")
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Digits(individual_digits=True),
            tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    model.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END, PAD],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    model.train_from_iterator(texts, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=model, bos_token=END, eos_token=END, pad_token=PAD
    )


def encode(tokenizer: Any, texts: list[str]) -> np.ndarray:
    """Return all texts as one stream of tokens, each text after an end-of-document token.

    Returns
    -------
    ndarray of int32, shape (tokens,)
        Empty for no texts.
    """
    end = tokenizer.eos_token_id
    encoded = tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=False)
    parts = [np.asarray([end, *one.ids], dtype=np.int32) for one in encoded]
    return np.concatenate(parts) if parts else np.empty(0, np.int32)
