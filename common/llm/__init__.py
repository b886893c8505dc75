"""Small Llama-type language models: trained here or loaded from a folder, with their KV caches.

``load("reference")`` gives the project's own reference model, which ships with the package;
``load(folder)`` gives any Llama-type Hugging Face model. Nothing is downloaded. PyTorch and
transformers (extra ``llm``) are imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "CostModel": "cost",
    "Model": "loading",
    "ReferenceSpec": "reference",
    "continuation_logits": "kv",
    "continuation_loss": "kv",
    "greedy": "kv",
    "load": "loading",
    "prefill": "kv",
    "reference_model": "store",
    "to_cache": "kv",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
