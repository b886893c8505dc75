"""The card of a trained model: what it is, what it has seen, how good it is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from common.llm.corpus import Corpus
from common.llm.recall import Recall, accuracy, by_prompt, lengths
from common.llm.tokenizer import encode

if TYPE_CHECKING:
    from common.llm.training import Trainer

CARD = "card.json"
VALIDATION_ROWS = 128
QUESTIONS = 200


def card(
    trainer: Trainer, tokenizer: Any, text: Corpus, recall: Recall | None, *, train_tokens: int
) -> dict[str, Any]:
    """Evaluate the trained network on unseen files and unseen questions.

    Parameters
    ----------
    trainer : Trainer
        Training that is done.
    tokenizer
        Its tokenizer.
    text : Corpus
        The whole corpus; the split ``validation`` is scored.
    recall : Recall or None
        The recall task, if it was trained.
    train_tokens : int
        Tokens of the training text.
    """
    from common.hardware.machine import cpu_model, versions

    spec, network = trainer.spec, trainer.network.eval()
    seen = trainer.batches.text_rows(trainer.step) * spec.context
    return {
        "spec": spec.model_dump(),
        "spec_digest": spec.digest(),
        "corpus": {
            "source": spec.source,
            "digest": text.digest,
            "files": len(text.files),
            "train_tokens": train_tokens,
            "licence": "the sources' own: PSF-2.0 for the Python standard library",
        },
        "parameters": sum(p.numel() for p in network.parameters()),
        "training": {
            "tokens": trainer.tokens,
            "text_tokens": seen,
            "epochs": round(seen / train_tokens, 3),
            "steps": trainer.step,
            "seconds": round(trainer.seconds, 1),
            "stopped_by": trainer.stopped_by,
            "curve": trainer.curve,
        },
        "validation": validation(
            network, encode(tokenizer, text.split("validation").texts()), spec.context
        ),
        "recall": None if recall is None else recalled(network, recall, spec.context),
        "device": "cpu" if trainer.device.type == "cpu" else torch.cuda.get_device_name(),
        "processor": cpu_model(),
        "threads": torch.get_num_threads(),
        "versions": versions(["torch", "transformers", "tokenizers"]),
    }


def validation(network: Any, stream: np.ndarray, context: int) -> dict[str, Any]:
    """Score evenly spread rows of a stream of tokens.

    Returns
    -------
    dict
        ``loss`` (nats per token), ``perplexity``, ``tokens`` scored, and ``uniform``, the loss
        of guessing among all tokens. Loss and perplexity are None for less than a row.
    """
    rows = len(stream) // context
    uniform = round(math.log(network.config.vocab_size), 4)
    if not rows:
        return {"loss": None, "perplexity": None, "tokens": 0, "uniform": uniform}
    picked = np.unique(np.linspace(0, rows - 1, min(rows, VALIDATION_ROWS)).astype(int))
    total = 0.0
    with torch.inference_mode():
        for row in picked:
            part = stream[row * context : (row + 1) * context].astype(np.int64)
            tokens = torch.from_numpy(part).to(network.device)
            logits = network(tokens[None], use_cache=False).logits[0, :-1].float()
            total += float(functional.cross_entropy(logits, tokens[1:], reduction="sum"))
    count = len(picked) * (context - 1)
    return {
        "loss": round(total / count, 4),
        "perplexity": round(math.exp(total / count), 3),
        "tokens": count,
        "uniform": uniform,
    }


def recalled(network: Any, recall: Recall, context: int) -> dict[str, Any]:
    """Return the accuracy of recall by number of pairs, on questions never trained on."""
    rng = np.random.default_rng(20240804)  # any seed that training does not use
    counts = [n for n in lengths(context, recall.pair) if n <= len(recall.keys)]
    return {
        "accuracy": {
            str(n): round(accuracy(by_prompt(network), recall.questions(rng, QUESTIONS, n)), 4)
            for n in counts
        },
        "questions": QUESTIONS,
        "chance": round(recall.chance, 5),
    }
