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

This is the only module that imports vLLM. It was run with 0.32; vLLM calls the interface
experimental. The codecs are imported when a connector is made, not before: they bring Numba, and a
CPU worker of vLLM 0.32 that starts with llvmlite loaded stumbles over it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from common.errors import ConfigError, MissingExtra, RepriseError
from projects.cachegen.chunk_store import chunk_ends, chunk_names, longest_stored, open_store
from projects.cachegen.errors import IncompatibleStreamError
from projects.cachegen.vllm_paging import Paging, gather, paging_of, scatter, slots_of
from projects.cachegen.vllm_settings import fingerprint_of, geometry_of, layer_number, read_settings

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


# A child of vLLM's logger, so that messages appear among vLLM's own.
log = logging.getLogger(f"vllm.{__name__}")


# --- What the scheduler tells the worker -------------------------------------------------------


@dataclass(frozen=True)
class Load:
    """Chunks of one request to load: tokens ``first`` to ``last``, in these blocks."""

    request: str
    first: int
    last: int
    blocks: tuple[int, ...]
    chunks: tuple[tuple[int, int, str], ...]  # start, end, name


@dataclass(frozen=True)
class Prefill:
    """A step computes tokens ``computed`` to ``reached`` of a prompt and completes these chunks."""

    computed: int
    reached: int
    blocks: tuple[int, ...]
    chunks: tuple[tuple[int, int, str], ...]  # start, end, name


@dataclass
class Orders(KVConnectorMetadata):
    """For one step of the engine."""

    loads: list[Load] = field(default_factory=list)
    prefills: list[Prefill] = field(default_factory=list)


@dataclass
class _Tracked:
    """A running request, as the scheduler's side knows it."""

    names: dict[int, str]
    external: int = 0
    blocks: list[int] = field(default_factory=list)


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
        from projects.cachegen.codecs import codec as codec_by_name
        from projects.cachegen.profile import Profile

        super().__init__(vllm_config, role, kv_cache_config)
        transfer = vllm_config.kv_transfer_config
        self.settings = read_settings(transfer.kv_connector_extra_config)
        self.geometry, self.block, names = geometry_of(vllm_config, kv_cache_config)
        if self.settings.chunk_tokens % self.block:
            raise ConfigError(
                f"chunk_tokens={self.settings.chunk_tokens} is no multiple of vLLM's block size "
                f"{self.block}"
            )
        self._layer_names = sorted(names, key=layer_number)
        self._codec = codec_by_name(self.settings.codec, **self.settings.options)
        if hasattr(self._codec, "kept"):
            raise ConfigError(
                f"codec {self._codec.name!r} drops tokens, which vLLM would attend to"
            )
        self._level = self._codec.known_level(self.settings.level)
        self._profile = Profile.load(self.settings.profile) if self.settings.profile else None
        if self._codec.needs_profile and self._profile is None:
            raise ConfigError(f"codec {self._codec.name!r} needs profile=FILE, from codec.fit")
        self.fingerprint = self.settings.fingerprint or fingerprint_of(vllm_config.model_config)
        self.store = open_store(self.settings.store, self.settings.timeout)
        self._loads = bool(transfer.is_kv_consumer)
        self._saves = bool(transfer.is_kv_producer) and self.store.writable
        self.counters = dict.fromkeys(_COUNTED, 0)
        self._reported = dict(self.counters)
        self._requests: dict[str, _Tracked] = {}
        self._caches: list[torch.Tensor] = []
        self._paging: list[Paging] = []
        self._errors: set[int] = set()
        self._doubtful: set[int] = set()
        self._damaged: set[str] = set()
        self._encoder: ThreadPoolExecutor | None = None
        self._waiting: list[Future[None]] = []

    # --- In the scheduler ---

    def get_num_new_matched_tokens(
        self, request: Request, num_computed_tokens: int
    ) -> tuple[int, bool]:
        """Tokens that the store has beyond those computed; looks, and changes nothing."""
        if not self._loads or getattr(request, "skip_reading_prefix_cache", False):
            return 0, False
        names = self._names(request)
        chunk = self.settings.chunk_tokens
        stored = longest_stored(names, chunk, self.store.exists, self.block)
        return max(stored - num_computed_tokens, 0), False

    def update_state_after_alloc(
        self, request: Request, blocks: Any, num_external_tokens: int
    ) -> None:
        """Remember a request that is about to run, and how much of it is to be loaded.

        A preempted request comes here once more, and all its blocks will be new.
        """
        self._requests[request.request_id] = _Tracked(self._names(request), num_external_tokens)

    def build_connector_meta(self, scheduler_output: SchedulerOutput) -> Orders:
        """Say what this step has to load, and which chunks it completes."""
        orders = Orders()
        for name, computed in self._scheduled(scheduler_output):
            tracked = self._requests[name]
            if tracked.external:
                orders.loads.append(self._load(name, tracked, computed))
                tracked.external = 0
            if self._saves and computed < max(tracked.names, default=0):
                reached = computed + scheduler_output.num_scheduled_tokens[name]
                orders.prefills.append(self._prefill(tracked, computed, reached))
        return orders

    def request_finished(
        self, request: Request, block_ids: list[int]
    ) -> tuple[bool, dict[str, Any] | None]:
        """Forget a request; its blocks may be freed at once, chunks were copied."""
        self._requests.pop(request.request_id, None)
        return False, None

    def _names(self, request: Request) -> dict[int, str]:
        """Names of a prompt's chunks; none where more than the tokens decides keys and values."""
        tokens = request.prompt_token_ids
        others = ("lora_request", "mm_features", "prompt_embeds")
        if not tokens or any(_present(getattr(request, other, None)) for other in others):
            return {}
        salt = getattr(request, "cache_salt", None) or ""
        seed = json.dumps([self.fingerprint, self.settings.chunk_tokens, salt])
        return chunk_names(tokens, seed, self.block)

    def _scheduled(self, output: SchedulerOutput) -> Iterator[tuple[str, int]]:
        """Requests of a step and their computed tokens; their blocks are brought up to date."""
        for new in output.scheduled_new_reqs:
            if new.req_id in self._requests:
                self._requests[new.req_id].blocks = list(new.block_ids[0])
                yield new.req_id, new.num_computed_tokens
        old = output.scheduled_cached_reqs
        for name, blocks, computed in zip(
            old.req_ids, old.new_block_ids, old.num_computed_tokens, strict=True
        ):
            if name not in self._requests:
                continue
            if blocks is not None:
                self._requests[name].blocks += blocks[0]
            yield name, computed

    def _load(self, name: str, tracked: _Tracked, last: int) -> Load:
        first, chunk = last - tracked.external, self.settings.chunk_tokens
        ends = [end for end in chunk_ends(last, chunk) if end > first]
        chunks = tuple(((end - 1) // chunk * chunk, end, tracked.names[end]) for end in ends)
        return Load(name, first, last, tuple(tracked.blocks[: last // self.block]), chunks)

    def _prefill(self, tracked: _Tracked, computed: int, reached: int) -> Prefill:
        """Chunks whose last token this step computes: not those that were loaded."""
        chunk = self.settings.chunk_tokens
        chunks = tuple(
            ((end - 1) // chunk * chunk, end, tracked.names[end])
            for end in chunk_ends(max(tracked.names), chunk)
            if computed < end <= reached
        )
        return Prefill(computed, reached, tuple(tracked.blocks), chunks)

    # --- In the worker ---

    def register_kv_caches(self, kv_caches: dict[str, torch.Tensor]) -> None:
        """Take the layers' caches and find out how they are laid out."""
        missing = set(self._layer_names) - set(kv_caches)
        if missing:
            raise ConfigError(f"vLLM registered no cache for {', '.join(sorted(missing))}")
        self._caches = [kv_caches[name] for name in self._layer_names]
        writers = [self._writer(name) for name in self._layer_names]
        self._paging = [
            paging_of(cache, self.geometry, write)
            for cache, write in zip(self._caches, writers, strict=True)
        ]
        self._warm_up()
        log.info("%d layers, paging %r", len(self._caches), self._paging[0].kind)

    def start_load_kv(self, forward_context: Any, **kwargs: Any) -> None:
        """Load what the scheduler ordered, before the step computes."""
        for load in self._orders().loads:
            self._load_chunks(load)

    def wait_for_layer_load(self, layer_name: str) -> None:
        """Nothing to wait for: loading ends before the first layer."""

    def save_kv_layer(
        self, layer_name: str, kv_layer: torch.Tensor, attn_metadata: Any, **kwargs: Any
    ) -> None:
        """Nothing: a chunk is copied when all its layers are computed."""

    def wait_for_save(self) -> None:
        """Copy the completed chunks out of the cache; they are encoded in the background."""
        for prefill in self._orders().prefills:
            self._judge(prefill)
            for start, end, name in prefill.chunks:
                blocks = prefill.blocks[: end // self.block]
                if self._doubtful.isdisjoint(blocks):
                    self._save(start, end, name, blocks)

    def get_block_ids_with_load_errors(self) -> set[int]:
        """Blocks that could not be loaded since the last call; vLLM computes them."""
        errors, self._errors = self._errors, set()
        return errors

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
        self.flush()
        if self._encoder is not None:
            self._encoder.shutdown()

    def flush(self) -> None:
        """Wait until every chunk is stored."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            future.result()

    def _warm_up(self) -> None:
        """Compile the codec's kernels now: the first request should not wait for them."""
        g, coder = self.geometry, self._codec
        kv = torch.ones(g.layers, 2, self.block, g.heads, g.head_dim, dtype=self._caches[0].dtype)
        coder.decode(
            coder.encode(kv, level=self._level, profile=self._profile), profile=self._profile
        )

    def _orders(self) -> Orders:
        orders = self._get_connector_metadata()
        if not isinstance(orders, Orders):
            raise TypeError(f"these orders are another connector's: {type(orders).__name__}")
        return orders

    def _load_chunks(self, load: Load) -> None:
        for start, end, name in load.chunks:
            first = max(start, load.first)
            try:
                kv = self._decoded(name, end - start)
            # A chunk is a stranger's file: whatever is wrong with it, the text is still there.
            except (OSError, RepriseError, ValueError, TypeError) as error:
                blocks = load.blocks[first // self.block : load.last // self.block]
                log.warning(
                    "tokens %d to %d of request %s cannot be loaded, vLLM will compute them: %s",
                    first,
                    load.last,
                    load.request,
                    error,
                )
                self._damaged.add(name)
                self._doubtful.update(blocks)
                self._errors.update(blocks)
                self.counters["failed chunks"] += 1
                self.counters["failed tokens"] += load.last - first
                return
            self._doubtful.difference_update(load.blocks[first // self.block : end // self.block])
            slots = slots_of(load.blocks, self.block, first, end)
            for layer, (cache, paging) in enumerate(zip(self._caches, self._paging, strict=True)):
                scatter(cache, slots.to(cache.device), kv[layer, :, first - start :], paging)
            self.counters["loaded chunks"] += 1
            self.counters["loaded tokens"] += end - first

    def _judge(self, prefill: Prefill) -> None:
        """Follow what a failed load spoils until vLLM has computed it anew.

        vLLM may have scheduled further steps of the request before it learns of the failure.
        """
        before = prefill.blocks[: prefill.computed // self.block]
        behind = -(-prefill.reached // self.block)
        if self._doubtful.isdisjoint(before):
            self._doubtful.difference_update(prefill.blocks[len(before) : behind])

    def _decoded(self, name: str, tokens: int) -> torch.Tensor:
        """Read, check and decode one chunk: [layers, 2, tokens, heads, dim]."""
        from projects.cachegen.container import codec_of

        stream = self.store.read(name)
        header = stream.header
        header.require(fingerprint=self.fingerprint, geometry=self.geometry)
        if header.tokens != tokens or len(header.chunks) != 1:
            raise IncompatibleStreamError(
                f"{name} holds {header.tokens} tokens in {len(header.chunks)} chunks, expected are "
                f"{tokens} in one"
            )
        if hasattr(codec_of(header), "kept"):
            raise IncompatibleStreamError(f"{name} holds a part of its tokens only: {header.codec}")
        level = self._level if self._level in header.levels else header.levels[0]
        kv = stream.decode(level, profile=self._profile if header.profile else None)
        self.counters["loaded bytes"] += header.size(0, level)
        return torch.from_numpy(kv)

    def _save(self, start: int, end: int, name: str, blocks: Sequence[int]) -> None:
        self._waiting = [future for future in self._waiting if not future.done()]
        if self.store.exists(name) and name not in self._damaged:
            return
        if len(self._waiting) >= self.settings.queue:
            self.counters["skipped chunks"] += 1
            log.warning("%d chunks wait to be encoded; not storing one", len(self._waiting))
            return
        slots = slots_of(blocks, self.block, start, end)
        layers = [
            gather(cache, slots.to(cache.device), paging).cpu()
            for cache, paging in zip(self._caches, self._paging, strict=True)
        ]
        self._damaged.discard(name)
        if self._encoder is None:
            self._encoder = ThreadPoolExecutor(1, thread_name_prefix="cachegen")
        self._waiting.append(self._encoder.submit(self._encode, start, name, torch.stack(layers)))

    def _encode(self, start: int, name: str, kv: torch.Tensor) -> None:
        from projects.cachegen.container import pack

        try:
            place = "middle" if start else "first"
            encoded = self._codec.encode(kv, level=self._level, profile=self._profile, place=place)
            data = pack(
                [{self._level: encoded}],
                codec=self._codec,
                fingerprint=self.fingerprint,
                chunk_tokens=self.settings.chunk_tokens,
                profile=self._profile,
            )
            self.store.write(name, data)
        # Storing is a favour to later requests; this one must not fail for it.
        except (OSError, RepriseError, ValueError, TypeError) as error:
            log.warning("%d tokens from %d cannot be stored: %s", kv.shape[2], start, error)
            self.counters["unstored chunks"] += 1
            return
        self.counters["stored chunks"] += 1
        self.counters["stored tokens"] += kv.shape[2]
        self.counters["stored bytes"] += len(data)

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


_COUNTED = (
    "loaded chunks",
    "loaded tokens",
    "loaded bytes",
    "failed chunks",
    "failed tokens",
    "stored chunks",
    "stored tokens",
    "stored bytes",
    "skipped chunks",
    "unstored chunks",
)


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


def _present(value: Any) -> bool:
    """Whether an optional part of a request is there; tensors have no truth value."""
    return value is not None and (not hasattr(value, "__len__") or len(value) > 0)
