"""The experiments on links: simulated for a large model, and once over real connections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from common.llm.cost import CostModel
    from common.run import Run
    from projects.cachegen.link import Link, RatePerChunk
    from projects.cachegen.policy import Policy, Request

FP16, EIGHT = "fp16", "uniform8"
RANDOM = "uniform-rates"
KNOWN = "+rate"  # the policy knows what the link gave just before the request
GIGABIT = 1e9 / 8  # bytes per second
MEDIUM = 1  # the level with the paper's steps


def bandwidth(run: Run) -> None:
    """Figures 11 and 12: time to the first token on constant links."""
    from projects.cachegen.data import TEXT
    from projects.cachegen.link import Link
    from projects.cachegen.policy import TEXT as COMPUTED
    from projects.cachegen.policy import Fixed
    from projects.cachegen.simulation import simulate

    params = run.params
    measured = measured_bits(run)
    cells = [(name, device) for name in measured for device in params["devices"]]
    for name, device in run.cells(cells):
        for sweep, gigabits, tokens, requests in _sweeps(params):
            link = Link.constant(gigabits * GIGABIT)
            forms = {
                variant: (bits, Fixed(min(MEDIUM, len(bits) - 1)))
                for variant, bits in measured[name].items()
            }
            forms["text"] = measured[name][FP16], Fixed(COMPUTED)
            for variant, (bits, policy) in forms.items():
                request = request_of(params, device, bits, slo=1e6, tokens=tokens)
                outcome = simulate(request, link, policy, concurrency=requests)
                run.observe(
                    {"ttft": outcome.ttft},
                    variant=variant,
                    dataset=TEXT,
                    item=name,
                    unit="s",
                    sweep=sweep,
                    device=device,
                    gigabits=gigabits,
                    tokens=tokens,
                    concurrency=requests,
                )


def streaming(run: Run) -> None:
    """Figure 13: objectives missed on links whose rate changes."""
    from projects.cachegen.data import TRACES, load_traces, random_rates

    params = run.params
    measured = measured_bits(run)
    mean = {
        variant: np.mean([bits[variant] for bits in measured.values()], axis=0)
        for variant in (params["codec"], EIGHT)
    }
    run.synthetic(RANDOM, "a rate for each chunk from uniform(0.1, 10) Gbit/s, as in the artefact")
    cells = [("random", str(number), 0.0) for number in range(params["random_traces"])]
    links = load_traces(run, params["traces"])
    cells += [("trace", name, rate) for name in links for rate in params["gigabits"]]
    for kind, name, gigabits in run.cells(cells):
        if kind == "random":
            rates = random_rates(run.rng("rates", name), params["random_chunks"])
            labels = {"dataset": RANDOM, "item": name}
            _observe_requests(run, [rates], mean, labels)
        else:
            link = links[name].scaled(gigabits * GIGABIT / links[name].mean_rate)
            length = float(link.seconds.sum())
            moments = length * np.arange(params["requests"]) / params["requests"]
            labels = {"dataset": TRACES, "item": name, "gigabits": gigabits}
            _observe_requests(run, [link.starting_at(t) for t in moments], mean, labels)


def transport(run: Run) -> None:
    """Load real caches over HTTP on a paced link, and simulate the same requests."""
    import tempfile
    from pathlib import Path

    from projects.cachegen.data import TRACES, load_traces
    from projects.cachegen.link import Link

    params = run.params
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder)
        header, decode = _store(run, store)
        finest = sum(header.size(chunk, header.levels[0]) for chunk in range(len(header.chunks)))
        mean = finest / params["seconds"]
        links = {"constant": Link.constant(mean)}
        for name, link in load_traces(run, params["traces"]).items():
            links[name] = link.scaled(mean / link.mean_rate)
        for name, policy in run.cells([(n, p) for n in links for p in params["policies"]]):
            loaded, simulated = _load(store, links[name], policy, params["slo"], decode)
            run.observe(
                {
                    "measured": loaded.seconds,
                    "simulated": simulated,
                    "measured_over_simulated": loaded.seconds / simulated,
                    "violated": float(loaded.violated),
                    "sent": loaded.sent,
                },
                variant=policy,
                dataset=TRACES,
                item=name,
                data=None if name != "constant" else "synthetic",
            )


# -- parts ---------------------------------------------------------------------------------


def measured_bits(run: Run) -> dict[str, dict[str, list[float]]]:
    """Bits per element on contexts of the language model, for each level.

    Returns
    -------
    dict
        By context and codec: that of the parameters, 8-bit quantisation and float16.
    """
    from projects.cachegen.codecs import codec
    from projects.cachegen.data import load_model, text_contexts
    from projects.cachegen.experiments import cache_of, offline_caches

    params, model = run.params, load_model(run)
    ours, eight = codec(params["codec"]), codec(EIGHT)
    caches = offline_caches(run, model, params["tokens"])
    profile = ours.fit(caches, fingerprint=model.fingerprint)
    contexts = text_contexts(run, model, "evaluation", params["contexts"], params["tokens"], 0)
    found = {}
    for context in contexts:
        kv = cache_of(model, context.tokens)
        found[context.name] = {
            params["codec"]: [
                ours.encode(kv, level=level, profile=profile).bits_per_element
                for level in ours.levels
            ],
            EIGHT: [eight.encode(kv).bits_per_element],
            FP16: [16.0],
        }
    return found


def prefill_cost(params: dict[str, Any], device: str) -> CostModel:
    """Prefill time of the large model on a named processor, counted."""
    from common.llm.cost import CostModel

    model = params["model"]
    return CostModel.analytic(
        model["parameters"], model["layers"], model["width"], params["devices"][device]["flops"]
    )


def request_of(
    params: dict[str, Any], device: str, bits: Any, *, slo: float, tokens: int | None = None
) -> Request:
    """Return the request for one long context of the large model.

    Parameters
    ----------
    params : dict
        Of the experiment: model, chunks, processors.
    device : str
        Which processor computes and decodes.
    bits : sequence of float, shape (levels,)
        Bits per element of each level.
    slo : float
        Objective [s].
    tokens : int, optional
        Length of the context; by default that of the parameters.
    """
    from projects.cachegen.data import bytes_of_8b
    from projects.cachegen.policy import Request

    model, length = params["model"], params["chunk_tokens"]
    total = tokens or params["context_tokens"]
    starts = np.arange(0, total, length)
    chunks = np.minimum(length, total - starts)
    shape = (model["layers"], model["kv_heads"], model["head_dim"])
    cost = prefill_cost(params, device)
    fp16 = bytes_of_8b([16.0], chunks, shape)
    decode = fp16 / params["devices"][device]["decode_bytes"]
    return Request(
        level_bytes=bytes_of_8b(bits, chunks, shape),
        text_bytes=params["text_bytes_per_token"] * chunks.astype(float),
        prefill_seconds=np.array([cost.seconds(n, c) for n, c in zip(chunks, starts, strict=True)]),
        decode_seconds=np.repeat(decode, len(bits), axis=1),
        slo=slo,
        suffix_seconds=cost.seconds(params["suffix_tokens"], total),
    )


def _sweeps(params: dict[str, Any]) -> Iterator[tuple[str, float, int, int]]:
    """Sweep, rate [Gbit/s], tokens and requests at once of every point."""
    tokens = params["context_tokens"]
    for gigabits in params["gigabits"]:
        yield "bandwidth", gigabits, tokens, 1
    for length in params["lengths"]:
        yield "length", 3.0, length, 1
    for requests in params["concurrency"]:
        yield "concurrency", 3.0, tokens, requests


def _observe_requests(
    run: Run,
    links: list[Link] | list[RatePerChunk],
    bits: dict[str, np.ndarray],
    labels: dict[str, Any],
) -> None:
    """Simulate requests on some links under every policy; observe means over them."""
    params = run.params
    for device in params["devices"]:
        for slo in params["slo"]:
            at = {"device": device, "slo": slo, **labels}
            ours = request_of(params, device, bits[params["codec"]], slo=slo)
            for name in params["policies"]:
                family = "fixed" if name.startswith("level-") else name
                _observe_policy(run, ours, links, name, family, at)
            eight = request_of(params, device, bits[EIGHT], slo=slo)
            _observe_policy(run, eight, links, EIGHT, EIGHT, at)


def _observe_policy(
    run: Run,
    request: Request,
    links: list[Link] | list[RatePerChunk],
    name: str,
    family: str,
    labels: dict[str, Any],
) -> None:
    from projects.cachegen.policy import TEXT
    from projects.cachegen.simulation import simulate

    outcomes = [
        simulate(
            request,
            link,
            _policy(name.removesuffix(KNOWN), link),
            concurrency=run.params["concurrency"],
            # What the link gave right before: its pieces come round again.
            prior_throughput=float(link.rates[-1]) if name.endswith(KNOWN) else None,
        )
        for link in links
    ]
    choices = np.array([outcome.choices for outcome in outcomes])
    metrics = {
        "violated": np.mean([outcome.violated for outcome in outcomes]),
        "infeasible": np.mean([outcome.slo_infeasible for outcome in outcomes]),
        "text": np.mean(choices == TEXT),
    }
    if name != EIGHT:
        metrics["mean_level"] = np.maximum(choices, 0).mean()
    run.observe(metrics, variant=name, family=family, **labels)
    ttft = np.mean([outcome.ttft for outcome in outcomes])
    run.observe({"ttft": ttft}, variant=name, family=family, unit="s", **labels)


def _policy(name: str, link: Link | RatePerChunk) -> Policy:
    from projects.cachegen.policy import Fixed, policy

    return Fixed(0) if name == EIGHT else policy(name, link)


def _store(run: Run, folder: Path) -> tuple[Any, Any]:
    """Encode a context into a store; return its header and the function that decodes a chunk."""
    from projects.cachegen.codecs import codec
    from projects.cachegen.container import encode_context
    from projects.cachegen.data import load_model, text_contexts
    from projects.cachegen.experiments import cache_of, offline_caches
    from projects.cachegen.header import read_header

    params, model = run.params, load_model(run)
    coder = codec(params["codec"])
    caches = offline_caches(run, model, params["tokens"])
    profile = coder.fit(caches, fingerprint=model.fingerprint)
    context = text_contexts(run, model, "evaluation", 1, params["tokens"], 0)[0]
    data = encode_context(
        cache_of(model, context.tokens),
        coder,
        chunk_tokens=params["chunk_tokens"],
        fingerprint=model.fingerprint,
        profile=profile,
    )
    (folder / "context.kvg").write_bytes(data)
    header = read_header(data)
    coder.decode(_first_chunk(data), profile=profile)  # compiles what decoding needs
    return header, lambda chunk: coder.decode(chunk, profile=profile)


def _first_chunk(data: bytes) -> Any:
    from projects.cachegen.container import Container

    stream = Container(data)
    return stream.chunk(0, stream.header.levels[0])


def _load(store: Path, link: Link, name: str, slo: float, decode: Any) -> tuple[Any, float]:
    """Load the context over HTTP; return what happened and the time that the simulation gives."""
    from projects.cachegen.client import StoreClient, request_for
    from projects.cachegen.policy import policy
    from projects.cachegen.server import make_app, running
    from projects.cachegen.simulation import simulate

    with running(make_app(store, link)) as url:
        client = StoreClient(url)
        loaded = client.load("context", policy(name, link), slo=slo, decode=decode)
    request = request_for(loaded.header, slo, None, 0.0)
    return loaded, simulate(request, link, policy(name, link)).ttft
