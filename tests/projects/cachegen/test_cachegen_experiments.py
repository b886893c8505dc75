"""The experiments, small, with real weights by path: a random Llama that the test writes."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from common.claims import judge_claims
from common.errors import ConfigError
from common.llm.corpus import corpus
from common.llm.tokenizer import train_tokenizer
from common.papers import load_paper
from common.run import Run

SMALL = {"contexts": 2, "tokens": 64}
OVERRIDES = {
    "locality": {**SMALL, "distances": [1, 9]},
    "sensitivity": {**SMALL, "continuation": 16, "steps": [2.0]},
    "quality": {**SMALL, "continuation": 16, "profile_contexts": 1, "questions": 2, "pairs": 2},
    "bandwidth": {**SMALL, "profile_contexts": 1},
    "streaming": {
        **SMALL,
        "profile_contexts": 1,
        "traces": 2,
        "requests": 1,
        "random_traces": 3,
        "slo": [1.0],
    },
    "transport": {
        "tokens": 64,
        "chunk_tokens": 16,
        "profile_contexts": 1,
        "traces": 1,
        "seconds": 0.05,
        "slo": 0.05,
    },
    "throughput": {
        "shape": {"layers": 2, "tokens": 40, "heads": 1, "head_dim": 8},
        "variants": ["nodelta", "uniform8"],
        "repeats": 2,
    },
    "prefill": {"new": [1, 8, 16], "cached": [0, 8], "repeats": 1},
    "retrieval": {"prompts": 2, "profile_prompts": 1, "new_tokens": 4},
}
AT_FULL = ("retrieval",)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A random Llama with a tokenizer, as a model directory."""
    folder = tmp_path_factory.mktemp("weights")
    tokenizer = train_tokenizer(corpus().split("validation").texts()[:20], 400)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def results(weights, tmp_path_factory):
    """Run every experiment once under synthetic data."""
    root = tmp_path_factory.mktemp("results")
    paper = load_paper("cachegen")
    for name, overrides in OVERRIDES.items():
        run = Run(
            paper,
            name,
            size="full" if name in AT_FULL else "quick",
            results=root,
            data_mode="synthetic",
            overrides=overrides,
            language_model=str(weights) if paper.experiment(name).language_model else "",
        )
        assert run.execute(paper.function("experiments", name)).record().status == "done", name
    return root


def folder_of(results, name):
    from common.results import Folder

    return Folder(results, "full" if name in AT_FULL else "quick", "cpu", "cachegen", name)


@pytest.mark.slow
def test_every_claim_is_judged(results):
    verdicts = judge_claims(results, "quick", "cpu", "cachegen")
    assert not [verdict for verdict in verdicts if verdict.verdict == "error"]
    untested = {verdict.claim for verdict in verdicts if verdict.verdict == "untested"}
    # A random network has no level bad enough, or none good enough; either is an answer.
    assert untested <= {"accuracy-longchat", "decode-gpu", "size-at-quality", "size-auto"}
    retrieval = judge_claims(results, "full", "cpu", "cachegen")
    assert next(v for v in retrieval if v.claim == "accuracy-longchat").verdict != "error"


@pytest.mark.slow
def test_the_model_by_path_is_the_one_in_use(results, weights):
    from common.llm.loading import fingerprint

    record = folder_of(results, "quality").record()
    assert record.datasets["python-sources"]["fingerprint"] == fingerprint(weights)


@pytest.mark.slow
def test_exact_and_coded_caches(results):
    rows = folder_of(results, "quality").observations()
    text = rows[rows["dataset"] == "python-sources"]
    bits = text[text["metric"] == "bits"].groupby(["variant", "level"])["value"].mean()
    assert bits["fp16", "medium"] == pytest.approx(16, abs=0.3)
    ours = [bits["cachegen", level] for level in ("high", "medium", "low", "lowest")]
    assert ours == sorted(ours, reverse=True)
    agreement = text[text["metric"] == "agreement"].groupby("variant")["value"].mean()
    assert agreement["fp16"] == pytest.approx(1, abs=0.05)


@pytest.mark.slow
def test_figures_can_be_drawn(results):
    from common.results import paper_observations

    paper, found = load_paper("cachegen"), paper_observations(results, "quick", "cpu", "cachegen")
    for name, figure in paper.figures.items():
        rows = found[found["experiment"].isin(figure.experiments)]
        assert paper.function("figures", name)(rows).axes, name


def test_a_model_for_an_experiment_without_one_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="uses no language model"):
        Run(
            load_paper("cachegen"),
            "throughput",
            size="quick",
            results=tmp_path,
            language_model="reference",
        )


def test_decoding_for_the_gpu_runs_on_any_device(tmp_path):
    """The GPU's experiment with its device set to the processor: the same code, no claim."""
    from projects.cachegen.speed_experiments import throughput_8b

    paper = load_paper("cachegen")
    overrides = {
        "shape": {"layers": 2, "tokens": 40, "heads": 1, "head_dim": 8},
        "chunks": [2],
        "repeats": 1,
        "device": "cpu",
    }
    run = Run(
        paper, "throughput_8b", size="quick", target="gpu", results=tmp_path, overrides=overrides
    )
    rows = run.execute(throughput_8b).observations()
    speeds = rows[rows["metric"] == "decode_gigabytes"].set_index("variant")["value"]
    assert {"nodelta", "cachegen", "copy on the device"} <= set(speeds.index)
    assert np.isfinite(speeds).all() and (speeds > 0).all()
