"""The vLLM connector in the worker: chunks into vLLM's paged caches, and out of them.

The codecs are imported when a connector is made, not before: they bring Numba, and a CPU worker of
vLLM 0.32 that starts with llvmlite loaded stumbles over it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import torch

from common.errors import ConfigError, RepriseError
from projects.cachegen.chunk_store import FolderStore, RemoteStore
from projects.cachegen.errors import IncompatibleStreamError
from projects.cachegen.vllm_paging import Paging, gather, paging_of, scatter, slots_of
from projects.cachegen.vllm_schedule import Load, Prefill
from projects.cachegen.vllm_settings import Settings

if TYPE_CHECKING:
    from projects.cachegen.interface import Codec
    from projects.cachegen.profile import Profile
    from projects.cachegen.tensors import Geometry

# A child of vLLM's logger, so that messages appear among vLLM's own.
log = logging.getLogger(f"vllm.{__name__}")

COUNTED = (
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


class Coding(NamedTuple):
    """What new chunks are encoded with."""

    codec: Codec
    level: str
    profile: Profile | None

    @classmethod
    def of(cls, settings: Settings) -> Coding:
        """Make what the settings ask for.

        Raises
        ------
        ConfigError
            For a codec that drops tokens, or one without the profile that it needs.
        ValueError
            For an unknown codec or level.
        """
        from projects.cachegen.codecs import codec as codec_by_name
        from projects.cachegen.profile import Profile

        codec = codec_by_name(settings.codec, **settings.options)
        if hasattr(codec, "kept"):
            raise ConfigError(f"codec {codec.name!r} drops tokens, which vLLM would attend to")
        level = codec.known_level(settings.level)
        profile = Profile.load(settings.profile) if settings.profile else None
        if codec.needs_profile and profile is None:
            raise ConfigError(f"codec {codec.name!r} needs profile=FILE, from codec.fit")
        return cls(codec, level, profile)


class Transfer:
    """Loads and stores chunks; what cannot be loaded is noted, and vLLM computes it.

    Parameters
    ----------
    settings : Settings
        Codec, size of a chunk, length of the queue.
    store : FolderStore or RemoteStore
        Where the chunks are.
    fingerprint : str
        Of the model; a chunk of another one is not loaded.
    geometry : Geometry
        Of the model's cache.
    block : int
        Tokens of a block of vLLM's.

    Attributes
    ----------
    counters : dict
        What was done since the start, by :data:`COUNTED`.
    paging : list of Paging
        Layout of every layer's cache.
    """

    def __init__(
        self,
        settings: Settings,
        store: FolderStore | RemoteStore,
        fingerprint: str,
        geometry: Geometry,
        block: int,
    ) -> None:
        self._coding = Coding.of(settings)
        self._chunk, self._queue = settings.chunk_tokens, settings.queue
        self._store, self._fingerprint = store, fingerprint
        self._geometry, self._block = geometry, block
        self.counters = dict.fromkeys(COUNTED, 0)
        self.paging: list[Paging] = []
        self._caches: list[torch.Tensor] = []
        self._errors: set[int] = set()
        self._doubtful: set[int] = set()
        self._damaged: set[str] = set()
        self._encoder: ThreadPoolExecutor | None = None
        self._waiting: list[Future[None]] = []

    def attach(self, caches: list[torch.Tensor], writers: list[Callable[..., None] | None]) -> None:
        """Take the layers' caches, in the model's order, and find out how they are laid out."""
        self._caches = caches
        self.paging = [
            paging_of(cache, self._geometry, write)
            for cache, write in zip(caches, writers, strict=True)
        ]
        self._warm_up()
        log.info("%d layers, paging %r", len(caches), self.paging[0].kind)

    def _warm_up(self) -> None:
        """Compile the codec's kernels now: the first request should not wait for them."""
        g, (codec, level, profile) = self._geometry, self._coding
        kv = torch.ones(g.layers, 2, self._block, g.heads, g.head_dim, dtype=self._caches[0].dtype)
        codec.decode(codec.encode(kv, level=level, profile=profile), profile=profile)

    def load(self, load: Load) -> None:
        """Write chunks into their blocks; from the first that cannot be used on, note the rest."""
        for start, end, name in load.chunks:
            first = max(start, load.first)
            try:
                kv = self._decoded(name, end - start)
            # A chunk is a stranger's file: whatever is wrong with it, the text is still there.
            except (OSError, RepriseError, ValueError, TypeError) as error:
                blocks = load.blocks[first // self._block : load.last // self._block]
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
            self._doubtful.difference_update(load.blocks[first // self._block : end // self._block])
            slots = slots_of(load.blocks, self._block, first, end)
            for layer, (cache, paging) in enumerate(zip(self._caches, self.paging, strict=True)):
                scatter(cache, slots.to(cache.device), kv[layer, :, first - start :], paging)
            self.counters["loaded chunks"] += 1
            self.counters["loaded tokens"] += end - first

    def save(self, prefill: Prefill) -> None:
        """Copy completed chunks out of the cache; they are encoded in the background."""
        self._judge(prefill)
        for start, end, name in prefill.chunks:
            blocks = prefill.blocks[: end // self._block]
            if self._doubtful.isdisjoint(blocks):
                self._save(start, end, name, blocks)

    def failed_blocks(self) -> set[int]:
        """Blocks that could not be loaded since the last call."""
        errors, self._errors = self._errors, set()
        return errors

    def flush(self) -> None:
        """Wait until every chunk is stored."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            future.result()

    def shutdown(self) -> None:
        """Finish encoding."""
        self.flush()
        if self._encoder is not None:
            self._encoder.shutdown()

    def _judge(self, prefill: Prefill) -> None:
        """Follow what a failed load spoils until vLLM has computed it anew.

        vLLM may have scheduled further steps of the request before it learns of the failure.
        """
        before = prefill.blocks[: prefill.computed // self._block]
        behind = -(-prefill.reached // self._block)
        if self._doubtful.isdisjoint(before):
            self._doubtful.difference_update(prefill.blocks[len(before) : behind])

    def _decoded(self, name: str, tokens: int) -> torch.Tensor:
        """Read, check and decode one chunk: [layers, 2, tokens, heads, dim]."""
        from projects.cachegen.container import codec_of

        stream = self._store.read(name)
        header = stream.header
        header.require(fingerprint=self._fingerprint, geometry=self._geometry)
        if header.tokens != tokens or len(header.chunks) != 1:
            raise IncompatibleStreamError(
                f"{name} holds {header.tokens} tokens in {len(header.chunks)} chunks, expected are "
                f"{tokens} in one"
            )
        if hasattr(codec_of(header), "kept"):
            raise IncompatibleStreamError(f"{name} holds a part of its tokens only: {header.codec}")
        level = self._coding.level if self._coding.level in header.levels else header.levels[0]
        kv = stream.decode(level, profile=self._coding.profile if header.profile else None)
        self.counters["loaded bytes"] += header.size(0, level)
        return torch.from_numpy(kv)

    def _save(self, start: int, end: int, name: str, blocks: Sequence[int]) -> None:
        self._waiting = [future for future in self._waiting if not future.done()]
        if self._store.exists(name) and name not in self._damaged:
            return
        if len(self._waiting) >= self._queue:
            self.counters["skipped chunks"] += 1
            log.warning("%d chunks wait to be encoded; not storing one", len(self._waiting))
            return
        slots = slots_of(blocks, self._block, start, end)
        layers = [
            gather(cache, slots.to(cache.device), paging).cpu()
            for cache, paging in zip(self._caches, self.paging, strict=True)
        ]
        self._damaged.discard(name)
        if self._encoder is None:
            self._encoder = ThreadPoolExecutor(1, thread_name_prefix="cachegen")
        self._waiting.append(self._encoder.submit(self._encode, start, name, torch.stack(layers)))

    def _encode(self, start: int, name: str, kv: torch.Tensor) -> None:
        from projects.cachegen.container import pack

        codec, level, profile = self._coding
        try:
            place = "middle" if start else "first"
            encoded = codec.encode(kv, level=level, profile=profile, place=place)
            data = pack(
                [{level: encoded}],
                codec=codec,
                fingerprint=self._fingerprint,
                chunk_tokens=self._chunk,
                profile=profile,
            )
            self._store.write(name, data)
        # Storing is a favour to later requests; this one must not fail for it.
        except (OSError, RepriseError, ValueError, TypeError) as error:
            log.warning("%d tokens from %d cannot be stored: %s", kv.shape[2], start, error)
            self.counters["unstored chunks"] += 1
            return
        self.counters["stored chunks"] += 1
        self.counters["stored tokens"] += kv.shape[2]
        self.counters["stored bytes"] += len(data)
