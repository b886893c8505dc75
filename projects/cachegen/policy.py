"""Which form of the next chunk to fetch: a level of the codec, or its text (section 5.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from common.errors import known
from projects.cachegen.link import Link

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
    """

    chunk: int
    elapsed: float
    throughput: float | None = None
    concurrency: int = 1


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
        if not now.throughput:
            return request.levels // 2
        left = slice(now.chunk, None)
        time = (request.slo - now.elapsed) / now.concurrency - request.suffix_seconds
        text = request.text_bytes[left].sum() / now.throughput + request.prefill_seconds[left].sum()
        if text <= time:
            return TEXT
        arrival = request.level_bytes[left].sum(axis=0) / now.throughput
        # Decoding overlaps with the next transfer: only the last chunk's adds to the time.
        in_time = np.flatnonzero(arrival + request.decode_seconds[-1] <= time)
        return int(in_time[0]) if len(in_time) else request.levels - 1


@dataclass(frozen=True)
class Oracle:
    """The paper's rule with the true rate of everything to come: a bound, not a policy.

    ``link`` is the very link that the request runs over.
    """

    link: Link

    def __call__(self, request: Request, now: Situation) -> int:
        """Choose for one chunk."""
        left = slice(now.chunk, None)

        def arrival(sizes: np.ndarray) -> float:
            size = float(sizes[left].sum()) * now.concurrency
            return self.link.finish(now.elapsed, size)

        time = request.slo - request.suffix_seconds * now.concurrency
        compute = request.prefill_seconds[left].sum() * now.concurrency
        if arrival(request.text_bytes) + compute <= time:
            return TEXT
        for level in range(request.levels):
            decode = request.decode_seconds[-1, level] * now.concurrency
            if arrival(request.level_bytes[:, level]) + decode <= time:
                return level
        return request.levels - 1


@dataclass(frozen=True)
class Artefact:
    """The rule of the authors' released script.

    Every chunk has the same share of the objective and nothing is carried over; the rate of the
    chunk itself is known in advance; computing a chunk takes a constant 0.2 s and is tried last.
    """

    link: Link
    recompute_seconds: float = 0.2

    def __call__(self, request: Request, now: Situation) -> int:
        """Choose for one chunk."""
        share = request.slo / request.chunks
        for level in range(request.levels):
            size = float(request.level_bytes[now.chunk, level]) * now.concurrency
            if self.link.finish(now.elapsed, size) - now.elapsed <= share:
                return level
        return TEXT if self.recompute_seconds <= share else request.levels - 1


POLICIES: dict[str, Callable[[Link], Policy]] = {
    "adaptive": lambda link: Adaptive(),
    "oracle": Oracle,
    "artefact": Artefact,
    "text": lambda link: Fixed(TEXT),
}


def policy(name: str, link: Link) -> Policy:
    """Return a policy by name: ``adaptive``, ``oracle``, ``artefact``, ``text``, ``level-N``.

    Examples
    --------
    >>> policy("level-2", Link.constant(1.0))
    Fixed(choice=2)
    """
    if name.startswith("level-") and name.removeprefix("level-").isdigit():
        return Fixed(int(name.removeprefix("level-")))
    return POLICIES[known(name, [*POLICIES, "level-0"], "policy")](link)
