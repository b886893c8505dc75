"""Loading a context over a link, chunk by chunk, in simulated time (section 5.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from projects.cachegen.link import Link
from projects.cachegen.policy import TEXT, Policy, Request, Situation


@dataclass(frozen=True)
class Outcome:
    """What happened to one request.

    Attributes
    ----------
    ttft : float
        Time to the first token [s].
    choices : ndarray of int, shape (chunks,)
        Level of each chunk; :data:`~projects.cachegen.policy.TEXT` where it was computed.
    sent : float
        Bytes on the wire.
    violated : bool
        Whether the first token came after the objective.
    slo_infeasible : bool
        Whether the coarsest level alone and the text alone would both have missed it.
    """

    ttft: float
    choices: np.ndarray
    sent: float
    violated: bool
    slo_infeasible: bool


def simulate(
    request: Request,
    link: Link,
    policy: Policy,
    *,
    concurrency: int = 1,
    prior_throughput: float | None = None,
) -> Outcome:
    """Load one context and return what it took.

    Transfers follow each other on the link; the processor decodes a chunk, or computes it from
    text, once it has arrived and all earlier chunks are done. Requests that are served at the same
    time share both evenly.

    Parameters
    ----------
    request : Request
        Sizes, times and the objective.
    link : Link
        Time 0 is the moment of the request.
    policy : Policy
        Chooses before every chunk.
    concurrency : int
        Requests of the same kind at the same time.
    prior_throughput : float, optional
        Known from an earlier request [bytes/s].

    Returns
    -------
    Outcome
    """
    if concurrency < 1:
        raise ValueError(f"concurrency={concurrency}: at least one request")
    arrived = done = sent = 0.0
    throughput, choices = prior_throughput, np.empty(request.chunks, int)
    for chunk in range(request.chunks):
        choice = policy(request, Situation(chunk, arrived, throughput, concurrency))
        size, work = cost(request, chunk, choice)
        begun, arrived = arrived, link.finish(arrived, size * concurrency)
        # A text is too short to tell the rate of the link.
        if choice != TEXT and arrived > begun:
            throughput = size * concurrency / (arrived - begun)
        done = max(done, arrived) + work * concurrency
        choices[chunk], sent = choice, sent + size
    ttft = done + request.suffix_seconds * concurrency
    return Outcome(ttft, choices, sent, ttft > request.slo, _infeasible(request, link, concurrency))


def cost(request: Request, chunk: int, choice: int) -> tuple[float, float]:
    """Bytes on the wire and seconds of the processor for one choice."""
    if choice == TEXT:
        return float(request.text_bytes[chunk]), float(request.prefill_seconds[chunk])
    if not 0 <= choice < request.levels:
        raise ValueError(f"choice {choice} is no level; levels are 0 to {request.levels - 1}")
    return float(request.level_bytes[chunk, choice]), float(request.decode_seconds[chunk, choice])


def _infeasible(request: Request, link: Link, concurrency: int) -> bool:
    size = float(request.level_bytes[:, -1].sum()) * concurrency
    decode = float(request.decode_seconds[-1, -1]) + request.suffix_seconds
    by_stream = link.finish(0.0, size) + decode * concurrency
    texts = float(request.text_bytes.sum()) * concurrency
    compute = float(request.prefill_seconds.sum()) + request.suffix_seconds
    by_text = link.finish(0.0, texts) + compute * concurrency
    return min(by_stream, by_text) > request.slo
