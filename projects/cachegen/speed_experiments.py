"""The experiments on speed: codecs on a processor, decoding on a GPU, prefill of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.run import Run

SYNTHETIC = "synthetic-kv"


def throughput(run: Run) -> None:
    """Encode and decode one chunk with every codec, on one core."""
    from projects.cachegen.codecs import codec
    from projects.cachegen.synthetic import synthetic_kv

    params = run.params
    run.synthetic(SYNTHETIC, "first-order processes of a large model's shape, brief section 5")
    kv = synthetic_kv(**params["shape"], seed=1)
    offline = synthetic_kv(**params["shape"], seed=0)
    for name in run.cells(params["variants"]):
        coder = codec(name)
        profile = coder.fit([offline])
        chunk = coder.encode(kv, profile=profile)
        coder.decode(chunk, profile=profile)  # compiled by now
        for repeat in range(params["repeats"]):
            labels = {"variant": name, "dataset": SYNTHETIC, "item": str(repeat), "seed": repeat}
            made = {"bits": chunk.bits_per_element}
            run.observe(made, unit="bits/element", **labels)
            work: dict[str, Callable[[], Any]] = {
                "encode": lambda coder=coder, profile=profile: coder.encode(kv, profile=profile),
                "decode": lambda coder=coder, profile=profile, chunk=chunk: coder.decode(
                    chunk, profile=profile
                ),
            }
            for verb, call in work.items():
                with run.measure(verb, **labels) as meters:
                    call()
                seconds = meters.get("wall_time").value
                run.observe({f"{verb}_megabytes": kv.nbytes / 1e6 / seconds}, unit="MB/s", **labels)


def throughput_8b(run: Run) -> None:
    """Decode chunks of the shape of an 8B model on a GPU, beside copies on it and to it."""
    import torch

    from projects.cachegen.codecs import codec
    from projects.cachegen.device import decode_on
    from projects.cachegen.synthetic import synthetic_kv

    params, device = run.params, run.params["device"]
    run.synthetic(SYNTHETIC, "first-order processes of a large model's shape, brief section 5")
    kv = synthetic_kv(**params["shape"], seed=1)
    offline = synthetic_kv(**params["shape"], seed=0)
    half = torch.from_numpy(kv)
    pinned = half.pin_memory() if torch.cuda.is_available() else half
    there = half.to(device)
    copies = {
        "copy on the device": lambda: there.clone(),
        "copy to the device": lambda: pinned.to(device, non_blocking=True),
    }
    for name in run.cells([*params["variants"], *copies]):
        call = copies.get(name)
        if call is None:
            coder = codec(name)
            profile = coder.fit([offline])
            chunk = coder.encode(kv, profile=profile)

            def call(coder: Any = coder, chunk: Any = chunk, profile: Any = profile) -> Any:
                return decode_on(coder, chunk, profile=profile, device=device)

        call()  # compiled by now
        for chunks in params["chunks"]:
            for repeat in range(params["repeats"]):
                labels = {"variant": name, "dataset": SYNTHETIC, "item": str(repeat)}
                labels |= {"seed": repeat, "chunks": chunks}
                labels |= {"tokens": chunks * params["shape"]["tokens"]}
                with run.measure("decode", **labels) as meters:
                    for _ in range(chunks):
                        call()
                speed = chunks * kv.nbytes / 1e9 / meters.get("wall_time").value
                run.observe({"decode_gigabytes": speed}, unit="GB/s", **labels)


def prefill(run: Run) -> None:
    """Time new tokens after cached ones, and fit the formula."""
    from common.llm import cost
    from common.llm import prefill as compute
    from projects.cachegen.data import TEXT, load_model, text_contexts

    params, model = run.params, load_model(run)
    longest = max(params["new"]) + max(params["cached"])
    tokens = text_contexts(run, model, "evaluation", 1, longest, 0)[0].tokens
    grid = [(new, cached) for cached in params["cached"] for new in params["new"]]
    seconds = []
    for new, cached in grid:  # one cell: a fit needs all of them
        past = compute(model, tokens[:cached]) if cached else None
        part = tokens[cached : cached + new]
        taken = cost.measure(
            lambda part=part, past=past: _finished(compute(model, part, past)), params["repeats"]
        )
        seconds.append(taken)
    found = cost.fit(*zip(*grid, strict=True), seconds)
    for (new, cached), taken in zip(grid, seconds, strict=True):
        expected = found.model.seconds(new, cached)
        at = {"dataset": TEXT, "item": f"{new} after {cached}", "new": new, "cached": cached}
        run.observe({"seconds": taken}, variant="measured", unit="s", **at)
        run.observe({"seconds": expected}, variant="formula", unit="s", **at)
        run.observe({"fit_error": abs(expected / taken - 1)}, variant="formula", **at)


def _finished(kv: Any) -> Any:
    """Wait until a result is there."""
    if kv.is_cuda:
        import torch

        torch.cuda.synchronize()
    return kv
