"""CacheGen: key-value caches as bitstreams, and streaming them under changing bandwidth.

The public names; everything is imported on first use.
"""

from __future__ import annotations

from common.lazy import lazy

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
__getattr__, __dir__ = lazy(__name__, _HOME)
