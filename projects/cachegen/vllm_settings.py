"""What the vLLM connector is told, and what it reads from vLLM's own configuration."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import Field, ValidationError

from common.errors import ConfigError
from common.schema import Model
from projects.cachegen.chunk_store import model_fingerprint

if TYPE_CHECKING:
    from projects.cachegen.tensors import Geometry


class Settings(Model):
    """``kv_connector_extra_config``.

    Attributes
    ----------
    store : str
        Folder of ``NAME.kvg`` files, or the address of a store (``http://...``), then read only.
    codec : str
        What new chunks are encoded with; chunks that are there are decoded with theirs.
    options : dict
        Of the codec.
    level : str or None
        Of new chunks, and of chunks that hold several; None is the codec's default.
    profile : str or None
        File with the profile that the codec needs.
    chunk_tokens : int
        A multiple of vLLM's block size; engines share chunks of the same size only.
    fingerprint : str or None
        Names the model; by default derived from its configuration and a sample of its weights.
    queue : int
        Chunks that wait to be encoded; beyond that new ones are not stored.
    timeout : float
        Longest silence of a remote store [s].
    """

    store: str
    codec: str = "uniform8"
    options: dict[str, Any] = {}
    level: str | None = None
    profile: str | None = None
    chunk_tokens: Annotated[int, Field(ge=1)] = 256
    fingerprint: str | None = None
    queue: Annotated[int, Field(ge=1)] = 64
    timeout: Annotated[float, Field(gt=0)] = 5.0


def read_settings(extra: dict[str, Any]) -> Settings:
    """Check ``kv_connector_extra_config``; a wrong key or value is a ConfigError that names it."""
    try:
        return Settings.model_validate(extra)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        known = ", ".join(Settings.model_fields)
        raise ConfigError(
            f"kv_connector_extra_config: {'; '.join(lines)}; known keys: {known}"
        ) from error


def geometry_of(vllm_config: Any, kv_cache_config: Any) -> tuple[Geometry, int, list[str]]:
    """Shape of the model's cache, tokens of a block, and names of the layers."""
    from projects.cachegen.tensors import Geometry

    parallel = vllm_config.parallel_config
    if parallel.tensor_parallel_size * parallel.pipeline_parallel_size != 1:
        raise ConfigError("a model that is spread over several workers cannot be stored yet")
    groups = kv_cache_config.kv_cache_groups
    spec = groups[0].kv_cache_spec if len(groups) == 1 else None
    heads, dim = getattr(spec, "num_kv_heads", None), getattr(spec, "head_size", None)
    plain = heads and dim and getattr(spec, "head_size_v", dim) in (dim, None)
    if not plain or getattr(spec, "sliding_window", None):
        raise ConfigError(
            "only models whose layers all have plain keys and values of one shape can be stored; "
            f"this one's groups are {[type(group.kv_cache_spec).__name__ for group in groups]}"
        )
    if spec.dtype not in (torch.float16, torch.bfloat16, torch.float32):
        raise ConfigError(f"a cache of type {spec.dtype} cannot be stored; use kv_cache_dtype=auto")
    names = list(groups[0].layer_names)
    return Geometry(len(names), heads, dim), spec.block_size, names


def fingerprint_of(model: Any) -> str:
    """Name a model by its configuration and a sample of its weights."""
    config = model.hf_config.to_dict()
    # The same model may lie in another folder on another machine.
    config = {k: v for k, v in config.items() if k not in ("_name_or_path", "transformers_version")}
    folder = Path(model.model)
    parts = [
        "" if folder.is_dir() else model.model,
        getattr(model, "revision", None),
        getattr(model, "quantization", None),
        model.dtype,
        config,
    ]
    return model_fingerprint(json.dumps(parts, sort_keys=True, default=str), folder)


def layer_number(name: str) -> tuple[int, ...]:
    """Numbers in a layer's name, by which layers are sorted.

    Examples
    --------
    >>> layer_number("model.layers.10.self_attn.attn")
    (10,)
    """
    return tuple(map(int, re.findall(r"\d+", name)))
