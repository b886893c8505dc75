"""Line retrieval of LongEval: the number registered under a name somewhere in a long prompt."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from common.llm.loading import Model

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Prompt:
    """One prompt and the number that is asked for."""

    name: str
    text: str
    number: int


def answer(model: Model, kv: Any, tokens: list[int], new_tokens: int) -> str:
    """Return what the model goes on with, greedily.

    Parameters
    ----------
    model : Model
        Loaded model.
    kv : array, shape [layers, 2, tokens, heads, head_dim]
        Cache of the prompt without its last tokens.
    tokens : list of int
        Those last tokens.
    new_tokens : int
        Tokens to make at most.
    """
    from common.llm import greedy

    return model.tokenizer.decode(greedy(model, kv, tokens, new_tokens))


def is_right(said: str, number: int) -> bool:
    """Whether the first number of an answer is the expected one.

    Examples
    --------
    >>> is_right("The <REGISTER_CONTENT> is <8731>.", 8731), is_right("unknown", 8731)
    (True, False)
    """
    found = _NUMBER.findall(said)
    return bool(found) and int(found[0]) == number
