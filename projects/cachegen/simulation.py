"""Loading a context over a link, chunk by chunk, in simulated time (section 5.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from projects.cachegen.link import Link, RatePerChunk
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
    link: Link | RatePerChunk,
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
        choice = policy(request, Situation(chunk, arrived, throughput, concurrency, done))
        size, work = cost(request, chunk, choice)
        transfer = link.arrivals(arrived, np.array([size * concurrency]), chunk)
        begun, arrived = arrived, float(transfer[0])
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


def _infeasible(request: Request, link: Link | RatePerChunk, concurrency: int) -> bool:
    """Whether neither the coarsest level nor the text would be there in time."""
    sizes, work = (form * concurrency for form in request.forms)
    to_do = work[::-1].cumsum(axis=0)[::-1]
    done = (link.arrivals(0.0, sizes) + to_do).max(axis=0)[[0, -1]]
    return bool(done.min() + request.suffix_seconds * concurrency > request.slo)
