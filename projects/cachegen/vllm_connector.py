"""A vLLM connector: prefilled keys and values go to a store and come back in another engine.

Select it with ``--kv-transfer-config`` (or ``KVTransferConfig`` in Python)::

    {"kv_connector": "CacheGenConnector",
     "kv_connector_module_path": "projects.cachegen.vllm_connector",
     "kv_role": "kv_both", "kv_load_failure_policy": "recompute",
     "kv_connector_extra_config": {"store": "/var/cache/kv", "codec": "uniform8"}}

A prompt is cut into chunks of ``chunk_tokens``. Each is stored as a container of its own, named by
the SHA-256 of the model and of all tokens up to its end, so that prompts share the chunks of their
common beginning. vLLM computes a prompt's last token itself, so that one is never stored. What is
missing, damaged or another model's is reported to vLLM, which then computes it from the text; its
own default, ``"kv_load_failure_policy": "fail"``, would fail the request.

This is the only module that imports vLLM: its two halves are :mod:`.vllm_schedule` and
:mod:`.vllm_transfer`. It was run with 0.32; vLLM calls the interface experimental.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from common.errors import ConfigError, MissingExtra
from projects.cachegen.chunk_store import open_store
from projects.cachegen.vllm_schedule import Load, Prefill, Schedule
from projects.cachegen.vllm_settings import fingerprint_of, geometry_of, layer_number, read_settings
from projects.cachegen.vllm_transfer import Transfer

try:
    from vllm.distributed.kv_transfer.kv_connector.v1.base import (
        KVConnectorBase_V1,
        KVConnectorMetadata,
        KVConnectorRole,
    )
    from vllm.distributed.kv_transfer.kv_connector.v1.metrics import KVConnectorStats
except ImportError as error:
    raise MissingExtra(
        f"vLLM cannot be imported ({error}); it has an environment of its own: sh envs/vllm-cpu.sh"
    ) from error

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.v1.core.sched.output import SchedulerOutput
    from vllm.v1.kv_cache_interface import KVCacheConfig
    from vllm.v1.request import Request


@dataclass
class Orders(KVConnectorMetadata):
    """What the scheduler tells the worker, for one step of the engine."""

    loads: list[Load] = field(default_factory=list)
    prefills: list[Prefill] = field(default_factory=list)


class CacheGenConnector(KVConnectorBase_V1):
    """See the module; vLLM makes one in its scheduler and one in its worker.

    Raises
    ------
    ConfigError
        For settings, models or parallel layouts that it cannot serve.
    """

    def __init__(
        self, vllm_config: VllmConfig, role: KVConnectorRole, kv_cache_config: KVCacheConfig
    ) -> None:
        super().__init__(vllm_config, role, kv_cache_config)
        transfer = vllm_config.kv_transfer_config
        settings = read_settings(transfer.kv_connector_extra_config)
        geometry, block, names = geometry_of(vllm_config, kv_cache_config)
        chunk = settings.chunk_tokens
        if chunk % block:
            raise ConfigError(f"chunk_tokens={chunk} is no multiple of vLLM's block size {block}")
        self._layer_names = sorted(names, key=layer_number)
        self.fingerprint = settings.fingerprint or fingerprint_of(vllm_config.model_config)
        store = open_store(settings.store, settings.timeout)
        self.transfer = Transfer(settings, store, self.fingerprint, geometry, block)
        self.schedule = Schedule(
            store,
            self.fingerprint,
            chunk,
            block,
            loads=bool(transfer.is_kv_consumer),
            saves=bool(transfer.is_kv_producer) and store.writable,
        )
        self._reported = dict(self.counters)

    @property
    def counters(self) -> dict[str, int]:
        """What the worker has done since its start."""
        return self.transfer.counters

    # --- In the scheduler ---

    def get_num_new_matched_tokens(
        self, request: Request, num_computed_tokens: int
    ) -> tuple[int, bool]:
        """Tokens that the store has beyond those computed; looks, and changes nothing."""
        return max(self.schedule.stored(request) - num_computed_tokens, 0), False

    def update_state_after_alloc(
        self, request: Request, blocks: Any, num_external_tokens: int
    ) -> None:
        """Remember a request that is about to run, and how much of it is to be loaded."""
        self.schedule.begin(request, num_external_tokens)

    def build_connector_meta(self, scheduler_output: SchedulerOutput) -> Orders:
        """Say what this step has to load, and which chunks it completes."""
        return Orders(*self.schedule.step(scheduler_output))

    def request_finished(
        self, request: Request, block_ids: list[int]
    ) -> tuple[bool, dict[str, Any] | None]:
        """Forget a request; its blocks may be freed at once, chunks were copied."""
        self.schedule.end(request)
        return False, None

    # --- In the worker ---

    def register_kv_caches(self, kv_caches: dict[str, torch.Tensor]) -> None:
        """Take the layers' caches and find out how they are laid out."""
        missing = set(self._layer_names) - set(kv_caches)
        if missing:
            raise ConfigError(f"vLLM registered no cache for {', '.join(sorted(missing))}")
        caches = [kv_caches[name] for name in self._layer_names]
        self.transfer.attach(caches, [self._writer(name) for name in self._layer_names])

    def start_load_kv(self, forward_context: Any, **kwargs: Any) -> None:
        """Load what the scheduler ordered, before the step computes."""
        for load in self._orders().loads:
            self.transfer.load(load)

    def wait_for_layer_load(self, layer_name: str) -> None:
        """Nothing to wait for: loading ends before the first layer."""

    def save_kv_layer(
        self, layer_name: str, kv_layer: torch.Tensor, attn_metadata: Any, **kwargs: Any
    ) -> None:
        """Nothing: a chunk is copied when all its layers are computed."""

    def wait_for_save(self) -> None:
        """Copy the completed chunks out of the cache; they are encoded in the background."""
        for prefill in self._orders().prefills:
            self.transfer.save(prefill)

    def get_block_ids_with_load_errors(self) -> set[int]:
        """Blocks that could not be loaded since the last call; vLLM computes them."""
        return self.transfer.failed_blocks()

    def get_kv_connector_stats(self) -> Counts | None:
        """Counts since the last call, for vLLM's log; None without news."""
        news = {name: count - self._reported[name] for name, count in self.counters.items()}
        self._reported = dict(self.counters)
        return Counts(data=news) if any(news.values()) else None

    @classmethod
    def build_kv_connector_stats(cls, data: dict[str, Any] | None = None) -> Counts:
        """Make the object that sums up counts."""
        return Counts(data=dict(data or {}))

    def shutdown(self) -> None:
        """Finish encoding."""
        self.transfer.shutdown()

    def flush(self) -> None:
        """Wait until every chunk is stored."""
        self.transfer.flush()

    def _orders(self) -> Orders:
        orders = self._get_connector_metadata()
        if not isinstance(orders, Orders):
            raise TypeError(f"these orders are another connector's: {type(orders).__name__}")
        return orders

    def _writer(self, name: str) -> Callable[..., None] | None:
        """Return the attention layer's own way to write to a cache, if it shows one."""
        config = getattr(self._vllm_config, "compilation_config", None)
        layer = getattr(config, "static_forward_context", {}).get(name)
        impl = getattr(layer, "impl", None)
        if not hasattr(impl, "do_kv_cache_update"):
            return None

        def write(
            key: torch.Tensor, value: torch.Tensor, cache: torch.Tensor, slots: torch.Tensor
        ) -> None:
            impl.do_kv_cache_update(layer, key, value, cache, slots)

        return write


class Counts(KVConnectorStats):
    """The connector's counters between two lines of vLLM's log."""

    def reset(self) -> None:
        """Begin anew."""
        self.data = {}

    def aggregate(self, other: Counts) -> Counts:
        """Add another worker's or step's counts."""
        for name, count in other.data.items():
            self.data[name] = self.data.get(name, 0) + count
        return self

    def reduce(self) -> dict[str, int]:
        """Return what vLLM writes to its log."""
        return dict(self.data)

    def is_empty(self) -> bool:
        """Whether nothing was counted."""
        return not any(self.data.values())
