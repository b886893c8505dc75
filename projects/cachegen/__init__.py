"""CacheGen: key-value caches as bitstreams, and streaming them under changing bandwidth.

The public names; everything is imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "Adaptive": "policy",
    "Container": "container",
    "Profile": "profile",
    "StoreClient": "client",
    "codec": "codecs",
    "compress": "hf",
    "decompress": "hf",
    "encode_context": "container",
    "make_app": "server",
    "simulate": "simulation",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
