"""Which form of the next chunk to fetch: a level of the codec, or its text (section 5.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from common.errors import known
from projects.cachegen.link import Link, RatePerChunk

TEXT = -1
"""Choice of the text itself: no loss, a few kilobytes, and the chunk is computed anew."""


@dataclass(frozen=True)
class Request:
    """A context that is to be loaded in chunks.

    Levels are ordered from the finest, 0, to the coarsest.

    Attributes
    ----------
    level_bytes : ndarray, shape (chunks, levels)
        Size of each chunk's stream at each level.
    text_bytes : ndarray, shape (chunks,)
        Size of each chunk's text.
    prefill_seconds : ndarray, shape (chunks,)
        Time to compute a chunk's cache from its text when all earlier chunks are there.
    decode_seconds : ndarray, shape (chunks, levels)
        Time to decode a stream.
    slo : float
        Objective for the time to the first token [s].
    suffix_seconds : float
        Prefill of the question that follows the context.

    Raises
    ------
    ValueError
        If shapes disagree, the objective is not positive, or a size or time is negative.
    """

    level_bytes: np.ndarray
    text_bytes: np.ndarray
    prefill_seconds: np.ndarray
    decode_seconds: np.ndarray
    slo: float
    suffix_seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.level_bytes.ndim != 2 or not self.level_bytes.size:
            raise ValueError(
                f"level_bytes has shape {self.level_bytes.shape}, not (chunks, levels)"
            )
        chunks = len(self.level_bytes)
        shapes = {
            "text_bytes": ((chunks,), self.text_bytes.shape),
            "prefill_seconds": ((chunks,), self.prefill_seconds.shape),
            "decode_seconds": (self.level_bytes.shape, self.decode_seconds.shape),
        }
        for name, (expected, found) in shapes.items():
            if expected != found:
                raise ValueError(f"{name} has shape {found}; level_bytes asks for {expected}")
        if not self.slo > 0:
            raise ValueError(f"slo={self.slo!r} s: an objective is positive")
        for name in ("level_bytes", *shapes):
            if not (getattr(self, name) >= 0).all():
                raise ValueError(f"{name} holds a negative number or NaN")

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return self.level_bytes.shape[0]

    @property
    def levels(self) -> int:
        """Number of levels."""
        return self.level_bytes.shape[1]

    @cached_property
    def forms(self) -> tuple[np.ndarray, np.ndarray]:
        """Bytes and seconds of every form, text before the levels; (chunks, 1 + levels) each."""
        sizes = np.column_stack([self.text_bytes, self.level_bytes])
        return sizes, np.column_stack([self.prefill_seconds, self.decode_seconds])


@dataclass(frozen=True)
class Situation:
    """What is known when a chunk is to be chosen.

    Attributes
    ----------
    chunk : int
        The next chunk.
    elapsed : float
        Time since the request [s].
    throughput : float or None
        Of the chunk before, or known from an earlier request [bytes/s].
    concurrency : int
        Requests that share the link and the processor.
    busy_until : float
        When the processor will be done with what has arrived [s]; 0 if that is not known.
    """

    chunk: int
    elapsed: float
    throughput: float | None = None
    concurrency: int = 1
    busy_until: float = 0.0


class Policy(Protocol):
    """Anything that chooses: the same object drives the simulation and the real client."""

    def __call__(self, request: Request, now: Situation) -> int:
        """Return a level, or :data:`TEXT`."""


@dataclass(frozen=True)
class Fixed:
    """Always the same choice."""

    choice: int

    def __call__(self, request: Request, now: Situation) -> int:
        """Return the choice; a level beyond the coarsest is the coarsest."""
        return min(self.choice, request.levels - 1)


@dataclass(frozen=True)
class Adaptive:
    """The paper's rule: the least loss that is expected to meet the objective.

    The throughput of the chunk before is expected to last. Text is taken when computing all that
    is left from text fits into the time that is left; else the finest level at which all that is
    left arrives in time; else the coarsest. Times count ``concurrency`` times, because the requests
    share link and processor. Without any measurement the medium level comes first.
    """

    def __call__(self, request: Request, now: Situation) -> int:
        """Choose for one chunk."""
        rate = now.throughput
        if not rate:
            return (request.levels - 1) // 2
        return _least_loss(request, now, lambda sizes: now.elapsed + sizes.cumsum(axis=0) / rate)


@dataclass(frozen=True)
class Oracle:
    """The paper's rule with the true rate of everything to come.

    What the rule would be worth with perfect foresight; not the best plan, because it looks for
    one form for all that is left. ``link`` is the very link that the request runs over.
    """

    link: Link | RatePerChunk

    def __call__(self, request: Request, now: Situation) -> int:
        """Choose for one chunk."""
        return _least_loss(
            request, now, lambda sizes: self.link.arrivals(now.elapsed, sizes, now.chunk)
        )


def _least_loss(
    request: Request, now: Situation, arrivals: Callable[[np.ndarray], np.ndarray]
) -> int:
    """Text, or the finest level, at which all that is left is expected to be in time.

    ``arrivals`` says when chunks of some sizes arrive, a column for each form. The processor works
    on a chunk when it has arrived and those before are done, so the last is done at the latest of
    ``arrival[j] + work of j and all behind it``.
    """
    sizes, work = (form[now.chunk :] * now.concurrency for form in request.forms)
    to_do = work[::-1].cumsum(axis=0)[::-1]
    done = np.maximum((arrivals(sizes) + to_do).max(axis=0), now.busy_until + to_do[0])
    in_time = done <= request.slo - now.concurrency * request.suffix_seconds
    # The text comes first, then the levels; the coarsest where nothing is in time.
    return int(in_time.argmax()) - 1 if in_time.any() else request.levels - 1


@dataclass(frozen=True)
class Artefact:
    """The rule of the authors' released script.

    Every chunk has the same share of the objective and nothing is carried over; the rate of the
    chunk itself is known in advance; computing a chunk takes a constant 0.2 s and is tried last.
    """

    link: Link | RatePerChunk
    recompute_seconds: float = 0.2

    def __call__(self, request: Request, now: Situation) -> int:
        """Choose for one chunk."""
        share = request.slo / request.chunks
        for level in range(request.levels):
            size = float(request.level_bytes[now.chunk, level]) * now.concurrency
            arrival = self.link.arrivals(now.elapsed, np.array([size]), now.chunk)
            if arrival[0] - now.elapsed <= share:
                return level
        return TEXT if self.recompute_seconds <= share else request.levels - 1


POLICIES: dict[str, Callable[[Link | RatePerChunk], Policy]] = {
    "adaptive": lambda link: Adaptive(),
    "oracle": Oracle,
    "artefact": Artefact,
    "text": lambda link: Fixed(TEXT),
}


def policy(name: str, link: Link | RatePerChunk) -> Policy:
    """Return a policy by name: ``adaptive``, ``oracle``, ``artefact``, ``text``, ``level-N``.

    Examples
    --------
    >>> policy("level-2", Link.constant(1.0))
    Fixed(choice=2)
    """
    if name.startswith("level-") and name.removeprefix("level-").isdigit():
        return Fixed(int(name.removeprefix("level-")))
    return POLICIES[known(name, [*POLICIES, "level-0"], "policy")](link)
