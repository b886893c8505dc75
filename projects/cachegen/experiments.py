"""The experiments on caches: what they are like, and what coding them does to the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from common.llm.loading import Model
    from common.run import Run
    from projects.cachegen.interface import Codec
    from projects.cachegen.profile import Profile
    from projects.cachegen.quality import Coded

    Variant = tuple[str, Codec, Profile | None, list[str], int | None]


def locality(run: Run) -> None:
    """Figures 3 and 5: variance of differences by distance, entropy by grouping."""
    from common.llm import prefill
    from projects.cachegen import statistics
    from projects.cachegen.attention import unrotated_keys
    from projects.cachegen.data import TEXT, load_model, text_contexts

    params, model = run.params, load_model(run)
    contexts = text_contexts(run, model, "evaluation", params["contexts"], params["tokens"], 0)
    for context in run.cells(contexts):
        labels = {"dataset": TEXT, "item": context.name}
        kv = prefill(model, context.tokens)
        planes = _planes(kv.float().cpu().numpy())
        raw = unrotated_keys(model, kv).float().cpu().numpy()
        kinds = {
            "keys": planes[0::2],
            "values": planes[1::2],
            "keys before rotation": raw.reshape(*raw.shape[:2], -1),
        }
        for kind, layers in kinds.items():
            for distance in params["distances"]:
                ratio = np.mean([statistics.variance_ratio(x, distance) for x in layers])
                run.observe({"variance_ratio": ratio}, variant=kind, distance=distance, **labels)
            ratio = np.mean([statistics.anchor_ratio(x, params["group"]) for x in layers])
            run.observe({"anchor_ratio": ratio}, variant=kind, **labels)
        symbols = statistics.token_symbols(planes, params["bins"])
        for grouping in statistics.GROUPINGS:
            bits = statistics.grouped_entropy(symbols, grouping)
            run.observe({"entropy": bits}, variant=grouping, unit="bits", **labels)


def sensitivity(run: Run) -> None:
    """Figure 4: the same rounding in the first, middle and last third of the layers."""
    from common.llm import prefill
    from projects.cachegen.data import TEXT, load_model, text_contexts
    from projects.cachegen.quality import Coded, Judge
    from projects.cachegen.statistics import rounded, third

    params, model = run.params, load_model(run)
    contexts = text_contexts(
        run, model, "evaluation", params["contexts"], params["tokens"], params["continuation"]
    )
    for context in run.cells(contexts):
        kv = prefill(model, context.tokens).float().cpu().numpy()
        judge = Judge(model, kv, context.continuation)
        for step in params["steps"]:
            for number, name in enumerate(("first third", "middle third", "last third")):
                coarse = rounded(kv, step, third(number, len(kv)))
                lost = judge.compare(Coded(coarse, float("nan")))
                labels = {"dataset": TEXT, "item": context.name, "step": step}
                run.observe({"agreement": lost.pop("agreement")}, variant=name, **labels)
                rise = {"perplexity_rise": lost["perplexity_rise"]}
                run.observe(rise, variant=name, unit="%", **labels)


def quality(run: Run) -> None:
    """Tables 1 and figures 8 and 15: size and quality of every codec at every level."""
    from common.llm import prefill
    from projects.cachegen.attention import attention_received
    from projects.cachegen.data import load_model, recall_questions, text_contexts

    params, model = run.params, load_model(run)
    lengths = params["tokens"], params["continuation"]
    caches = offline_caches(run, model, *lengths)
    variants = list(_variants(params["variants"], caches, model.fingerprint))
    contexts = text_contexts(run, model, "evaluation", params["contexts"], *lengths)
    questions = recall_questions(run, model, params["questions"], params["pairs"])
    for kind, number in run.cells(
        [("text", n) for n in range(len(contexts))] + [("recall", n) for n in range(len(questions))]
    ):
        if kind == "text":
            context = contexts[number]
            kv = prefill(model, context.tokens).float().cpu().numpy()
            scores = attention_received(model, context.tokens)
            _judge_text(run, model, variants, context, kv, scores)
        else:
            _judge_recall(run, model, variants, questions[number], number)


def retrieval(run: Run) -> None:
    """Table 1 on long prompts: lines retrieved by a model that can, with its cache coded."""
    from projects.cachegen.data import load_model, load_prompts
    from projects.cachegen.retrieval import answer, is_right

    params, model = run.params, load_model(run)
    prompts = load_prompts(run, params["file"], params["prompts"] + params["profile_prompts"])
    longest = max(len(model.encode(prompt.text)) for prompt in prompts)
    if longest + params["new_tokens"] > model.context:
        run.skip("fp16", f"prompts of {longest} tokens; {model.path.name} takes {model.context}")
        run.observe({"prompt_tokens": longest}, variant="prompts", dataset="longeval")
        return
    profiled = prompts[params["prompts"] :]
    caches = [cache_of(model, model.encode(prompt.text)) for prompt in profiled]
    variants = list(_variants(params["variants"], caches, model.fingerprint))
    for number in run.cells(range(params["prompts"])):
        prompt = prompts[number]
        tokens = model.encode(prompt.text)
        exact = cache_of(model, tokens[:-1])
        for name, level, made in _each_coded(variants, exact):
            said = answer(model, made.kv, tokens[-1:], params["new_tokens"])
            scores = {"accuracy": is_right(said, prompt.number), "bits": made.bits}
            run.observe(scores, variant=name, level=level, dataset="longeval", item=prompt.name)


# -- parts ---------------------------------------------------------------------------------


def _planes(kv: np.ndarray) -> np.ndarray:
    """A cache as K and V of every layer in turn, [2 x layers, tokens, channels]."""
    layers, two, tokens = kv.shape[:3]
    return kv.reshape(layers * two, tokens, -1)


def cache_of(model: Model, tokens: Any) -> np.ndarray:
    """The cache in 16 bits, as it would be stored."""
    from common.llm import prefill

    return prefill(model, tokens).float().cpu().numpy().astype(np.float16)


def offline_caches(run: Run, model: Model, tokens: int, continuation: int = 0) -> list[np.ndarray]:
    """Caches of other contexts than those that codecs are judged on, to fit profiles on."""
    from projects.cachegen.data import text_contexts

    count = run.params["profile_contexts"]
    contexts = text_contexts(run, model, "validation", count, tokens, continuation)
    return [cache_of(model, context.tokens) for context in contexts]


def _variants(
    declared: dict[str, dict[str, Any]], caches: list[np.ndarray], fingerprint: str
) -> list[Variant]:
    """Codecs with their profiles, levels and chunk sizes as ``paper.yaml`` names them."""
    from projects.cachegen.codecs import codec

    made = []
    for name, entry in declared.items():
        coder = codec(entry.get("codec", name), **entry.get("options", {}))
        profile = coder.fit(caches, fingerprint=fingerprint)
        levels = entry.get("levels") or list(coder.levels)
        made.append((name, coder, profile, levels, entry.get("chunk_tokens")))
    return made


def _each_coded(
    variants: list[Variant], kv: np.ndarray, scores: np.ndarray | None = None
) -> Iterator[tuple[str, str, Coded]]:
    """Code a cache with every variant at every level of it; yields variant, level and result."""
    from projects.cachegen.quality import coded

    for name, codec, profile, levels, chunk in variants:
        for level in levels:
            options = {"level": level, "profile": profile, "chunk_tokens": chunk, "scores": scores}
            yield name, level, coded(kv, codec, **options)


def _judge_text(
    run: Run, model: Model, variants: list[Variant], context: Any, kv: np.ndarray, scores: Any
) -> None:
    """Observe size and damage to the continuation for every variant at every level."""
    from projects.cachegen.data import TEXT
    from projects.cachegen.quality import Judge

    judge = Judge(model, kv, context.continuation)
    labels = {"dataset": TEXT, "item": context.name}
    stored: Counter[str] = Counter()
    for name, level, made in _each_coded(variants, kv.astype(np.float16), scores):
        lost = judge.compare(made)
        at = {"variant": name, "level": level, **labels}
        rise = lost.pop("perplexity_rise")
        run.observe({"bits": made.bits}, unit="bits/element", rise=rise, **at)
        run.observe({"perplexity_rise": rise}, unit="%", **at)
        run.observe(lost, **at)
        stored[name] += made.bits
    for name, _, profile, _, _ in variants:
        run.observe({"stored_bits": stored[name]}, variant=name, unit="bits/element", **labels)
        for predictor, share in _predictors(profile).items():
            run.observe({"planes": share}, variant=name, predictor=predictor, **labels)


def _predictors(profile: Profile | None) -> dict[str, float]:
    """Share of the planes that each predictor was chosen for."""
    from projects.cachegen.predict import PREDICTORS

    if profile is None or "predictor" not in profile.arrays:
        return {}
    numbers = profile.arrays["predictor"]
    return {kind: float((numbers == number).mean()) for number, kind in enumerate(PREDICTORS)}


def _judge_recall(
    run: Run, model: Model, variants: list[Variant], question: Any, number: int
) -> None:
    """Observe whether a value is still found by its key."""
    from projects.cachegen.attention import attention_received
    from projects.cachegen.data import RECALL
    from projects.cachegen.quality import answered

    half, scores = cache_of(model, question.context), attention_received(model, question.context)
    for name, level, made in _each_coded(variants, half, scores):
        right = {"recall": float(answered(model, question, made)), "recall_bits": made.bits}
        run.observe(right, variant=name, level=level, dataset=RECALL, item=str(number))
