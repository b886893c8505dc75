"""Key-value recall: documents of ``key value`` lines, then questions that name a key.

Values are drawn at random and cannot be guessed, so an answer needs the one earlier token in the
KV cache. Loss on text hides damage to a cache; this task does not (multi-query associative recall,
Arora et al. 2024, arXiv 2312.04927).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.errors import ConfigError

LISTS = (4, 25)  # words of a list that is read twice, from and below
_KEY = re.compile(r"[a-z]{3,}")
_VALUE = re.compile(r" [a-z]{3,}")


@dataclass(frozen=True)
class Question:
    """One question about one document.

    Attributes
    ----------
    context : ndarray of int, shape (tokens,)
        The document, its lines complete: what a KV cache of it would hold.
    query : ndarray of int, shape (1,) or (2,)
        The key, and the separator if there is one.
    answer : int
        The token that has to come next.
    """

    context: np.ndarray
    query: np.ndarray
    answer: int

    @property
    def prompt(self) -> np.ndarray:
        """Context and query, shape ``(tokens + query,)``."""
        return np.concatenate([self.context, self.query])


class Recall:
    """Makes documents and questions from the words that are one token each.

    Parameters
    ----------
    tokenizer
        A tokenizer of transformers with an end-of-document token.
    separator : str
        Between key and value; one token, or nothing.

    Attributes
    ----------
    pair : int
        Tokens of a line: key, separator if any, value, end of line.
    keys, values : ndarray of int
        Tokens of lower-case words of three letters or more, at the start of a line and after a
        space.

    Raises
    ------
    ConfigError
        If the tokenizer has too few such words, or does not split a line into those tokens.
    """

    def __init__(self, tokenizer: Any, separator: str = "") -> None:
        texts = [tokenizer.decode([token]) for token in range(len(tokenizer))]
        self.keys = np.array([t for t, text in enumerate(texts) if _KEY.fullmatch(text)])
        self.values = np.array([t for t, text in enumerate(texts) if _VALUE.fullmatch(text)])
        self.end = tokenizer.eos_token_id
        if min(len(self.keys), len(self.values)) < 2:
            raise ConfigError(
                f"the tokenizer has {len(self.keys)} words to be keys and {len(self.values)} to "
                "be values, at least 2 are needed; train it with a larger vocabulary"
            )
        self.pair = 4 if separator else 3
        line = texts[self.keys[0]] + separator + texts[self.values[0]] + "\n"
        tokens = tokenizer.encode(line, add_special_tokens=False)
        if len(tokens) != self.pair:
            raise ConfigError(
                f"the tokenizer splits {line!r} into {len(tokens)} tokens, not {self.pair}"
            )
        self._separator, self._line_end = tokens[1:-2], tokens[-1]

    def pairs(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw distinct keys, and values for them, each of shape ``(count,)``."""
        if not 1 <= count <= len(self.keys):
            raise ConfigError(f"{count} pairs asked for; 1 to {len(self.keys)} are possible")
        return rng.choice(self.keys, count, replace=False), rng.choice(self.values, count)

    def lines(self, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return the tokens of the lines of some pairs, shape ``(pair * pairs,)``."""
        fixed = [np.full_like(keys, token) for token in self._separator]
        line_end = np.full_like(keys, self._line_end)
        return np.stack([keys, *fixed, values, line_end], axis=1).ravel()

    def row(
        self, rng: np.random.Generator, tokens: int, pairs: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fill a row of training data with documents: all pairs once, then again, shuffled.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of keys, values and orders.
        tokens : int
            Length of the row; a last document that does not fit is cut off.
        pairs : int
            Pairs per document.

        Returns
        -------
        row : ndarray of int, shape (tokens,)
        answers : ndarray of bool, shape (tokens,)
            True at the values of the second pass: the only tokens that follow from the context.
        """
        parts, answers, length = [], [], 0
        while length < tokens:
            keys, values = self.pairs(rng, pairs)
            order = rng.permutation(pairs)
            document = np.concatenate(
                [[self.end], self.lines(keys, values), self.lines(keys[order], values[order])]
            )
            known_by_then = np.zeros(len(document), bool)
            known_by_then[self.pair * (pairs + 1) - 1 :: self.pair] = True
            parts.append(document)
            answers.append(known_by_then)
            length += len(document)
        return np.concatenate(parts)[:tokens], np.concatenate(answers)[:tokens]

    def repetition(self, rng: np.random.Generator, tokens: int) -> tuple[np.ndarray, np.ndarray]:
        """Fill a row with lists of words, each read twice: an easier form of the task.

        Nearly every second token follows from the context, where of key-value lines every sixth
        does, so a network soon learns to look a token up. Lists differ in length, or it would count
        instead.

        Returns
        -------
        row : ndarray of int, shape (tokens,)
        answers : ndarray of bool, shape (tokens,)
            True in the second readings, but for the first word.
        """
        words, parts, answers, length = np.concatenate([self.keys, self.values]), [], [], 0
        while length < tokens:
            count = min(int(rng.integers(*LISTS)), len(words))
            once = rng.choice(words, count, replace=False)
            parts += [[self.end], once, once]
            answers.append(np.arange(1 + 2 * count) > 1 + count)
            length += 1 + 2 * count
        return np.concatenate(parts)[:tokens], np.concatenate(answers)[:tokens]

    def questions(self, rng: np.random.Generator, count: int, pairs: int) -> list[Question]:
        """Return questions, each about a document of its own with ``pairs`` pairs."""
        made = []
        for _ in range(count):
            keys, values = self.pairs(rng, pairs)
            asked = int(rng.integers(pairs))
            context = np.concatenate([[self.end], self.lines(keys, values)])
            query = np.array([keys[asked], *self._separator])
            made.append(Question(context, query, int(values[asked])))
        return made

    @property
    def chance(self) -> float:
        """Accuracy of guessing among all values."""
        return 1 / len(self.values)


def accuracy(answer: Callable[[Question], int], questions: Iterable[Question]) -> float:
    """Return the share of questions that ``answer`` gets right.

    Examples
    --------
    >>> one = Question(np.array([0, 5, 1, 9, 2]), np.array([5, 1]), 9)
    >>> accuracy(lambda question: question.context[3], [one])
    1.0
    """
    right = [answer(question) == question.answer for question in questions]
    if not right:
        raise ValueError("no questions: an accuracy needs at least one")
    return float(np.mean(right))


def by_prompt(network: Any) -> Callable[[Question], int]:
    """Return a function that answers with the most likely token after the whole prompt."""
    import torch

    def answer(question: Question) -> int:
        with torch.inference_mode():
            tokens = torch.as_tensor(question.prompt, device=network.device)[None]
            return int(network(tokens, use_cache=False, logits_to_keep=1).logits[0, -1].argmax())

    return answer


def lengths(context: int, pair: int = 3) -> Sequence[int]:
    """Return numbers of pairs whose documents with all questions fit a context, easiest first.

    Examples
    --------
    >>> lengths(128)
    [2, 4, 8, 16]
    """
    return [2**k for k in range(1, 12) if 1 + 2 * pair * 2**k <= context]
