"""Small Llama-type language models: trained here or loaded from a folder, with their KV caches.

``load("reference")`` gives the project's own reference model, which ships with the package;
``load(folder)`` gives any Llama-type Hugging Face model. Nothing is downloaded. PyTorch and
transformers (extra ``llm``) are imported on first use.
"""

from __future__ import annotations

from common.lazy import lazy

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
__getattr__, __dir__ = lazy(__name__, _HOME)
