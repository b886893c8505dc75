"""Trains a reference model within a budget of tokens and time; can be stopped and goes on."""

from __future__ import annotations

import contextlib
import logging
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from tqdm.auto import tqdm

from common.errors import RepriseError, require
from common.llm.batches import Batch, Batches
from common.llm.corpus import Corpus
from common.llm.corpus import corpus as python_sources
from common.llm.loading import Model, load
from common.llm.recall import Recall
from common.llm.reference import ReferenceSpec
from common.llm.report import CARD, card
from common.llm.tokenizer import encode, train_tokenizer
from common.results import atomic, write_json

log = logging.getLogger(__name__)

LOWEST_RATE = 0.05  # of the peak, at the end
CURVE_EVERY = 10  # steps per point of the loss curve
CHECKPOINT = "checkpoint.pt"


class Trainer:
    """Network, optimizer and how far they are.

    Parameters
    ----------
    spec : ReferenceSpec
        What to train and how.
    batches : Batches
        The data.
    tokenizer
        Gives the special tokens.
    device : str
        ``"cpu"`` (float32) or ``"cuda"`` (bfloat16 arithmetic, float32 weights).

    Attributes
    ----------
    step, tokens : int
        Steps made and tokens seen.
    seconds : float
        Training time, that of interrupted executions included up to their last checkpoint.
    curve : list of dict
        ``tokens``, ``seconds``, ``text`` and ``recall`` loss (nats per token), every few steps.
    """

    def __init__(self, spec: ReferenceSpec, batches: Batches, tokenizer: Any, device: str) -> None:
        transformers = require("transformers", "llm")
        config = spec.config(tokenizer.eos_token_id, tokenizer.pad_token_id)
        with torch.random.fork_rng():
            torch.manual_seed(spec.seed)
            self.network = transformers.LlamaForCausalLM(config).to(device)
        matrices = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim <= 1]
        groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others}]
        self.optimizer = torch.optim.AdamW(
            groups, lr=spec.rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True
        )
        self.spec, self.batches, self.device = spec, batches, torch.device(device)
        self.step, self.tokens, self.seconds = 0, 0, 0.0
        self.curve: list[dict[str, float]] = []
        self._recent: list[torch.Tensor] = []

    @property
    def progress(self) -> float:
        """Share used of the budget that is used up faster."""
        return max(self.tokens / self.spec.tokens, self.seconds / self.spec.seconds)

    @property
    def stopped_by(self) -> str:
        """The budget that is used up, or an empty string."""
        if self.tokens >= self.spec.tokens:
            return "tokens"
        return "seconds" if self.seconds >= self.spec.seconds else ""

    def rate(self) -> float:
        """Learning rate of the next step: linear warm-up, then half a cosine."""
        done, warmup = min(1.0, self.progress), self.spec.warmup
        if done < warmup:
            return self.spec.rate * (done + self.spec.batch / self.spec.tokens) / warmup
        angle = math.pi * (done - warmup) / (1 - warmup)
        share = LOWEST_RATE + (1 - LOWEST_RATE) * (1 + math.cos(angle)) / 2
        return self.spec.rate * share

    def advance(self) -> None:
        """Make one step."""
        begun = time.perf_counter()
        batch = self.batches.batch(self.step, self.progress)
        for group in self.optimizer.param_groups:
            group["lr"] = min(self.spec.rate, self.rate())
        losses = self._losses(batch)
        weights = losses.new_tensor([batch.text.any(1).sum(), batch.recall.any(1).sum()])
        (losses * weights / weights.sum()).sum().backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._recent.append(torch.where(weights > 0, losses.detach(), torch.nan))
        self.step += 1
        self.tokens += batch.tokens.size
        if self.step % CURVE_EVERY == 0:
            self._note()
        self.seconds += time.perf_counter() - begun

    def _losses(self, batch: Batch) -> torch.Tensor:
        """Mean loss on text and on recall, shape (2,); zero where a batch has none."""
        tokens = torch.from_numpy(batch.tokens).to(self.device)
        kinds = torch.from_numpy(np.stack([batch.text, batch.recall])).to(self.device)
        with self._arithmetic():
            hidden = self.network.model(tokens, use_cache=False).last_hidden_state
            # Only what is to be predicted goes through the (large) output layer.
            wanted = kinds.any(0)[:, 1:]
            logits = self.network.lm_head(hidden[:, :-1][wanted])
        each = functional.cross_entropy(logits.float(), tokens[:, 1:][wanted], reduction="none")
        of_kind = kinds[:, :, 1:][:, wanted]
        return (of_kind * each).sum(1) / of_kind.sum(1).clamp(min=1)

    def _arithmetic(self) -> contextlib.AbstractContextManager[Any]:
        if self.device.type == "cpu":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def _note(self) -> None:
        text, recall = torch.stack(self._recent).nanmean(0).tolist()
        self._recent.clear()
        losses = {"text": text, "recall": recall}
        finite = {kind: round(loss, 4) for kind, loss in losses.items() if math.isfinite(loss)}
        self.curve.append({"tokens": self.tokens, "seconds": round(self.seconds, 1), **finite})

    def save(self, path: Path, key: str) -> None:
        """Write a checkpoint, atomically; ``key`` says what it belongs to."""
        state = {
            "key": key,
            "done": {name: getattr(self, name) for name in ("step", "tokens", "seconds", "curve")},
            "recent": self._recent,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        with atomic(path) as temporary:
            torch.save(state, temporary)

    def resume(self, path: Path, key: str) -> None:
        """Go on from a checkpoint, if there is one of the same ``key`` that can be read."""
        if not path.is_file():
            return
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
        except Exception as error:  # torch.load raises whatever its readers raise
            log.warning("%s cannot be read (%s): training starts anew", path.name, error)
            return
        if not isinstance(state, dict) or state.get("key") != key:
            log.warning("%s belongs to another recipe or corpus: training starts anew", path.name)
            return
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._recent = state["recent"]
        for name, value in state["done"].items():
            setattr(self, name, value)
        log.info("training goes on after %d tokens", self.tokens)


def train(
    spec: ReferenceSpec,
    folder: Path,
    *,
    device: str = "cpu",
    corpus: Corpus | None = None,
    checkpoint_seconds: float = 30.0,
    on_step: Callable[[Trainer], None] | None = None,
) -> dict[str, Any]:
    """Train a model and write it as a Hugging Face model directory.

    Killed and started again it goes on from the last checkpoint, in ``<folder>.unfinished``. The
    folder appears complete or not at all. On one machine the same specification gives the same
    weights as long as the budget of tokens is ahead of that of seconds all the time; their shares
    used up decide the learning rate and the length of the rows.

    Parameters
    ----------
    spec : ReferenceSpec
        What to train and how.
    folder : Path
        Where to write; must not exist or be empty.
    device : str
        ``"cpu"`` or ``"cuda"``.
    corpus : Corpus, optional
        Text to train on instead of ``spec.source``.
    checkpoint_seconds : float
        Time between two checkpoints.
    on_step : callable, optional
        Called after each step; what it raises stops the training.

    Returns
    -------
    dict
        The card, also written to ``card.json``: what was trained, how far, how good it is.

    Raises
    ------
    RepriseError
        If the folder exists already, or CUDA is asked for and there is none.
    MissingExtra
        If transformers is not installed.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RepriseError(f"{folder} exists; remove it to train again, or choose another folder")
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise RepriseError(f"there is no GPU for device={device!r}; use device='cpu'")
    text = corpus or python_sources(spec.source)
    texts = text.split("train").texts()
    start = _start(spec, device)
    tokenizer = start.tokenizer if start else train_tokenizer(texts, spec.vocabulary)
    stream = encode(tokenizer, texts)
    recall = Recall(tokenizer, spec.separator) if spec.recall else None
    trainer = Trainer(spec, Batches(spec, stream, recall), tokenizer, device)
    if start:
        trainer.network.load_state_dict(start.network.state_dict())
    work = folder.with_name(f"{folder.name}.unfinished")
    key = spec.digest() + text.digest
    trainer.resume(work / CHECKPOINT, key)
    _run(trainer, work / CHECKPOINT, key, checkpoint_seconds, on_step)
    # The card is of the weights that are stored, not of those before rounding.
    trainer.network.to(getattr(torch, spec.weights)).float()
    facts = card(trainer, tokenizer, text, recall, train_tokens=len(stream))
    _publish(trainer, tokenizer, facts, folder)
    shutil.rmtree(work, ignore_errors=True)
    return facts


def _start(spec: ReferenceSpec, device: str) -> Model | None:
    """The model that training starts from, itself trained first if there is none yet."""
    from common.llm.store import reference_model

    if not spec.start:
        return None
    return load(reference_model(spec.start, device=device), device=device, dtype="float32")


def _run(
    trainer: Trainer,
    checkpoint: Path,
    key: str,
    every: float,
    on_step: Callable[[Trainer], None] | None,
) -> None:
    trainer.network.train()
    saved = time.monotonic()
    with _bar(trainer) as bar:
        while not trainer.stopped_by:
            trainer.advance()
            bar.update(trainer.tokens - bar.n)
            if trainer.curve and trainer.step % CURVE_EVERY == 0:
                last = trainer.curve[-1]
                losses = {kind: last[kind] for kind in ("text", "recall") if kind in last}
                bar.set_postfix(budget=f"{trainer.progress:.0%}", **losses)
            if on_step is not None:
                on_step(trainer)
            if time.monotonic() - saved >= every:
                trainer.save(checkpoint, key)
                saved = time.monotonic()
    # The evaluation after this is minutes of nobody's work to repeat, the training is not.
    trainer.save(checkpoint, key)


@contextlib.contextmanager
def _bar(trainer: Trainer) -> Iterator[Any]:
    with tqdm(
        total=trainer.spec.tokens,
        initial=trainer.tokens,
        desc="training",
        unit="tok",
        unit_scale=True,
        mininterval=1.0,
    ) as bar:
        yield bar


def _publish(trainer: Trainer, tokenizer: Any, facts: dict[str, Any], folder: Path) -> None:
    """Write everything into a neighbouring folder, then rename it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        made = Path(scratch) / "model"
        dtype = getattr(torch, trainer.spec.weights)
        trainer.network.to(dtype).save_pretrained(made)
        tokenizer.save_pretrained(made)
        write_json(made / CARD, facts)
        made.rename(folder)
