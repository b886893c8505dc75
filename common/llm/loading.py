"""Loads a Llama-type model from a folder, or the project's own by name; never from a network."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import ConfigError, DataError, RepriseError, did_you_mean, require
from common.llm.reference import PRESETS
from common.results import read_json

# Their caches hold, per layer, keys after rotary embedding and values: one tensor of each.
ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")


@dataclass(frozen=True)
class Model:
    """A network ready for inference, and what identifies it.

    Attributes
    ----------
    network
        Causal language model of transformers, in evaluation mode.
    tokenizer
        Its tokenizer; None if the folder has none.
    fingerprint : str
        SHA-256 of configuration and weights: caches of another fingerprint do not fit.
    path : Path
        Where it was loaded from.
    """

    network: Any
    tokenizer: Any
    fingerprint: str
    path: Path

    @property
    def layers(self) -> int:
        """Number of layers."""
        return self.network.config.num_hidden_layers

    @property
    def kv_heads(self) -> int:
        """Heads that keys and values have."""
        return self.network.config.num_key_value_heads

    @property
    def head_dim(self) -> int:
        """Channels of one head."""
        config = self.network.config
        own = getattr(config, "head_dim", None)
        return own or config.hidden_size // config.num_attention_heads

    @property
    def context(self) -> int:
        """Tokens that the model was made for."""
        return self.network.config.max_position_embeddings

    @property
    def device(self) -> Any:
        """Device of the weights."""
        return self.network.device

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, without special tokens.

        Raises
        ------
        ConfigError
            If the folder came without a tokenizer.
        """
        if self.tokenizer is None:
            raise ConfigError(f"{self.path} has no tokenizer; add its tokenizer.json, or give ids")
        return self.tokenizer.encode(text, add_special_tokens=False)


def load(source: str | Path, *, device: str = "cpu", dtype: str | None = None) -> Model:
    """Load a model from a folder, or a reference model by name (trained if it is not there yet).

    Parameters
    ----------
    source : str or Path
        ``"reference"``, ``"draft"``, or a Hugging Face model directory with ``config.json`` and
        safetensors weights.
    device : str
        ``"cpu"`` or ``"cuda"``.
    dtype : str, optional
        ``"float32"``, ``"bfloat16"`` or ``"float16"``; by default float32 on a CPU, bfloat16 on
        a GPU.

    Returns
    -------
    Model

    Raises
    ------
    ConfigError
        For an unknown name, architecture or dtype.
    DataError
        If the folder is missing or incomplete, or its weights do not fit its configuration.
    RepriseError
        If CUDA is asked for and there is none.
    MissingExtra
        If transformers is not installed.
    """
    if isinstance(source, str) and source in PRESETS:
        from common.llm.store import reference_model

        return load(reference_model(source), device=device, dtype=dtype)
    folder = _folder(source)
    kind = _kind(folder)
    if kind not in ARCHITECTURES:
        raise ConfigError(
            f"{folder} holds a model of type {kind!r}{did_you_mean(str(kind), ARCHITECTURES)}"
        )
    print_ = fingerprint(folder)
    transformers = require("transformers", "llm")
    torch = require("torch", "llm")
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise RepriseError(f"there is no GPU for device={device!r}; use device='cpu'")
    chosen = dtype or ("float32" if torch.device(device).type == "cpu" else "bfloat16")
    if chosen not in ("float32", "bfloat16", "float16"):
        allowed = ("float32", "bfloat16", "float16")
        raise ConfigError(f"unknown dtype {chosen!r}{did_you_mean(chosen, allowed)}")
    network = _network(getattr(transformers, ARCHITECTURES[kind]), folder, getattr(torch, chosen))
    tokenizer = None
    if any((folder / name).is_file() for name in _TOKENIZER_FILES):
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return Model(network.to(device).eval(), tokenizer, print_, folder)


def _folder(source: str | Path) -> Path:
    folder = Path(source).expanduser()
    if not folder.is_dir():
        hint = did_you_mean(str(source), PRESETS)
        raise DataError(
            f"there is no folder {folder}{hint}, or the path of a model directory; nothing is "
            "downloaded: fetch the weights yourself first"
        )
    if not (folder / "config.json").is_file():
        raise DataError(f"{folder} has no config.json, so it is no Hugging Face model directory")
    return folder


def _kind(folder: Path) -> Any:
    config = read_json(folder / "config.json")
    if not isinstance(config, dict):
        raise DataError(f"{folder / 'config.json'} is not the configuration of a model")
    return config.get("model_type")


def _network(architecture: Any, folder: Path, dtype: Any) -> Any:
    unreadable = require("safetensors", "llm").SafetensorError
    try:
        network, found = architecture.from_pretrained(
            folder,
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (OSError, RuntimeError, ValueError, unreadable) as error:
        raise DataError(f"{folder} cannot be loaded: {error}") from error
    # transformers fills them with random numbers and goes on.
    missing = sorted(found["missing_keys"])
    if missing:
        raise DataError(
            f"{folder} lacks {', '.join(missing[:3])}{' and more' * (len(missing) > 3)}; fetch its "
            "weights again"
        )
    return network


def fingerprint(folder: str | Path) -> str:
    """Return the SHA-256 of a model directory's configuration and weights.

    Raises
    ------
    DataError
        If there are no safetensors weights, or a shard that the index names is missing.
    """
    folder = _folder(folder)
    weights = sorted(folder.glob("*.safetensors"))
    index = folder / "model.safetensors.index.json"
    named = set(read_json(index)["weight_map"].values()) if index.is_file() else set()
    missing = sorted(named - {file.name for file in weights})
    if missing:
        raise DataError(f"{folder} lacks {', '.join(missing)}, which {index.name} names")
    if not weights:
        pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt*"))
        why = "; pickled weights are not read: convert them to safetensors" if pickled else ""
        raise DataError(f"{folder} has no *.safetensors weights{why}")
    whole = hashlib.sha256()
    for file in [folder / "config.json", *weights]:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        whole.update(f"{file.name} {digest}\n".encode())
    return whole.hexdigest()
