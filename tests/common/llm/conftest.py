"""Toy sources, their tokenizer, a model trained on them and random ones of each architecture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.llm.corpus import Corpus, corpus
from common.llm.reference import ReferenceSpec

WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"]
WORDS += ["theta", "iota", "kappa", "lambda", "sigma", "omega"]


def write_sources(folder: Path, files: int = 120) -> Path:
    """Files whose words follow one another in a circle: easily learnt, and no two alike."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        turn = [WORDS[(number + i) % len(WORDS)] for i in range(4 * 40)]
        lines = [" ".join(turn[i : i + 4]) for i in range(0, len(turn), 4)]
        (folder / f"f{number:03}.py").write_text("\n".join([f"# {number}", *lines, ""]))
    return folder


def write_random(folder: Path, kind: str, **changes: Any) -> Path:
    """A model of random weights, large enough that tokens and positions matter."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    own: dict[str, dict[str, Any]] = {
        "llama": {},
        "mistral": {"sliding_window": None},
        "qwen2": {},
        "qwen3": {"head_dim": 12},  # not the width over the heads
    }
    classes = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3"}
    settings = {
        "vocab_size": 97,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "initializer_range": 0.3,
        "bos_token_id": 1,
        "eos_token_id": 1,
        **own[kind],
        **changes,
    }
    config = getattr(transformers, f"{classes[kind]}Config")(**settings)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = getattr(transformers, f"{classes[kind]}ForCausalLM")(config)
        for parameter in network.parameters():  # biases and norms are constants otherwise
            torch.nn.init.normal_(parameter, 1.0 if parameter.ndim < 2 else 0.0, 0.3)
    network.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return corpus(roots=[write_sources(tmp_path_factory.mktemp("sources"))])


@pytest.fixture(scope="session")
def tokenizer(sources: Corpus) -> Any:
    pytest.importorskip("transformers")
    from common.llm.tokenizer import train_tokenizer

    return train_tokenizer(sources.split("train").texts(), 400)


@pytest.fixture(scope="session")
def tiny() -> Callable[..., ReferenceSpec]:
    """Makes specifications that train within a second."""

    def make(**changes: Any) -> ReferenceSpec:
        settings = {
            "layers": 1,
            "width": 32,
            "heads": 2,
            "kv_heads": 1,
            "hidden": 64,
            "vocabulary": 400,
            "context": 128,
            "batch": 256,
            "tokens": 256 * 8,
            "seconds": 1e9,  # never the budget that decides
            **changes,
        }
        return ReferenceSpec(**settings)

    return make


@pytest.fixture(scope="session")
def learnt(
    sources: Corpus, tiny: Callable[..., ReferenceSpec], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """Folder and card of a model trained until it knows the circle of words."""
    pytest.importorskip("transformers")
    from common.llm import report
    from common.llm.training import train

    folder = tmp_path_factory.mktemp("learnt") / "model"
    spec = tiny(layers=2, tokens=256 * 320, rate=1e-2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "QUESTIONS", 4)
        return folder, train(spec, folder, corpus=sources)


@pytest.fixture(scope="session")
def random_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Gives the folder of a random model of an architecture, written once."""
    written: dict[str, Path] = {}

    def give(kind: str, **changes: Any) -> Path:
        name = "-".join([kind, *(f"{key}={value}" for key, value in sorted(changes.items()))])
        if name not in written:
            written[name] = write_random(tmp_path_factory.mktemp("random") / name, kind, **changes)
        return written[name]

    return give
