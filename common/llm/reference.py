"""Specifications of the models that the project trains for itself."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from common.errors import known, require

RECIPE = 1  # part of every digest: raise it when training changes what comes out


class ReferenceSpec(BaseModel):
    """A Llama-type model and how it is trained.

    Attributes
    ----------
    layers, width, heads, kv_heads, hidden : int
        Shape of the network; ``hidden`` is the width of the gated feed-forward part.
    vocabulary, context : int
        Tokens known, and tokens in the longest training rows.
    source : {"stdlib", "environment"}
        See :func:`common.llm.corpus.corpus`.
    tokens : int
        Budget of training tokens.
    seconds : float
        Budget of training time. The learning rate falls with whichever budget is used up faster,
        so a slow machine gets a finished, if less trained, model.
    batch : int
        Tokens per step.
    rate : float
        Peak learning rate of AdamW.
    warmup : float
        Share of the budget in which the rate rises.
    recall : float
        Share of the rows that hold the recall task.
    lists : float
        Share of the budget in which that task is the repetition of lists.
    separator : str
        Between key and value of the task; one token, or nothing.
    start : str
        Model whose weights and tokenizer training starts from; none by default.
    seed : int
        Of the weights and of the order of the data.
    weights : {"float32", "bfloat16"}
        Type in which the weights are stored.

    Examples
    --------
    >>> tiny = ReferenceSpec(layers=1, width=32, heads=2, kv_heads=1, hidden=64)
    >>> tiny.head_dim, tiny.digest() == tiny.model_copy(update={"seed": 1}).digest()
    (16, False)
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    layers: int = Field(6, ge=1)
    width: int = Field(192, ge=8)
    heads: int = Field(6, ge=1)
    kv_heads: int = Field(2, ge=1)
    hidden: int = Field(384, ge=8)
    vocabulary: int = Field(2048, ge=258)
    context: int = Field(1024, ge=128, multiple_of=4)
    source: Literal["stdlib", "environment"] = "stdlib"
    tokens: int = Field(8_000_000, ge=1)
    seconds: float = Field(3600.0, gt=0)
    batch: int = Field(2048, ge=128)
    rate: float = Field(3e-3, gt=0)
    warmup: float = Field(0.05, ge=0, lt=1)
    recall: float = Field(0.25, ge=0, le=1)
    lists: float = Field(0.0, ge=0, le=1)
    separator: str = ""
    start: str = ""
    seed: int = Field(0, ge=0)
    weights: Literal["float32", "bfloat16"] = "bfloat16"

    @model_validator(mode="after")
    def _fits(self) -> ReferenceSpec:
        if self.width % (2 * self.heads):
            raise ValueError(
                f"width {self.width} over {self.heads} heads does not give an even head size"
            )
        if self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} heads cannot share {self.kv_heads} KV heads evenly")
        if self.batch % self.context:
            raise ValueError(
                f"a batch of {self.batch} tokens does not hold whole rows of {self.context}"
            )
        return self

    @property
    def head_dim(self) -> int:
        """Channels of one head."""
        return self.width // self.heads

    @property
    def rows(self) -> int:
        """Rows of one batch."""
        return self.batch // self.context

    def digest(self) -> str:
        """SHA-256 of the specification: the same on every machine, however fast."""
        content = {"recipe": RECIPE, **self.model_dump()}
        if self.start:
            content["start"] = preset(self.start).digest()
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def config(self, end: int, pad: int) -> Any:
        """Return the configuration of transformers' Llama with these special tokens."""
        return require("transformers", "llm").LlamaConfig(
            vocab_size=self.vocabulary,
            hidden_size=self.width,
            intermediate_size=self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            head_dim=self.head_dim,
            max_position_embeddings=self.context,
            tie_word_embeddings=True,
            bos_token_id=end,
            eos_token_id=end,
            pad_token_id=pad,
        )


# `reference` ships with the package; `small` is for who trains one of that shape anew on
# a laptop, within six minutes. A network that has read text first learns to look tokens up some
# ten times faster than one that starts with it.
PRESETS = {
    "base": ReferenceSpec(separator=":"),
    "reference": ReferenceSpec(
        start="base",
        tokens=3_000_000,
        seconds=1800.0,
        batch=4096,
        rate=1.5e-3,
        recall=0.6,
        lists=0.45,
    ),
    "small": ReferenceSpec(tokens=1_500_000, seconds=360.0),
    "draft": ReferenceSpec(
        layers=2, width=96, heads=3, kv_heads=1, hidden=192, tokens=4_000_000, seconds=600.0
    ),
}


def preset(name: str) -> ReferenceSpec:
    """Return a named specification.

    Raises
    ------
    ConfigError
        For an unknown name; says which there are.

    Examples
    --------
    >>> preset("reference").kv_heads * preset("reference").head_dim
    64
    """
    return PRESETS[known(name, PRESETS, "reference model")]
