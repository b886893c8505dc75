"""The vLLM connector in the scheduler: what each step of the engine loads and stores."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from projects.cachegen.chunk_store import (
    FolderStore,
    RemoteStore,
    chunk_ends,
    chunk_names,
    longest_stored,
)

if TYPE_CHECKING:
    from vllm.v1.core.sched.output import SchedulerOutput
    from vllm.v1.request import Request


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
class _Tracked:
    """A running request."""

    names: dict[int, str]
    external: int
    blocks: list[int] = field(default_factory=list)


class Schedule:
    """The running requests, and the chunks of their prompts.

    Parameters
    ----------
    store : FolderStore or RemoteStore
        Asked which chunks are there.
    fingerprint : str
        Of the model; part of every chunk's name.
    chunk, block : int
        Tokens of a chunk, and of a block of vLLM's.
    loads, saves : bool
        Whether this engine loads chunks, and stores new ones.
    """

    def __init__(
        self,
        store: FolderStore | RemoteStore,
        fingerprint: str,
        chunk: int,
        block: int,
        *,
        loads: bool,
        saves: bool,
    ) -> None:
        self._store, self._fingerprint = store, fingerprint
        self._chunk, self._block = chunk, block
        self._loads, self._saves = loads, saves
        self._requests: dict[str, _Tracked] = {}

    def names(self, request: Request) -> dict[int, str]:
        """Names of a prompt's chunks; none where more than the tokens decides keys and values."""
        tokens = request.prompt_token_ids
        others = ("lora_request", "mm_features", "prompt_embeds")
        if not tokens or any(_present(getattr(request, other, None)) for other in others):
            return {}
        salt = getattr(request, "cache_salt", None) or ""
        seed = json.dumps([self._fingerprint, self._chunk, salt])
        return chunk_names(tokens, seed, self._block)

    def stored(self, request: Request) -> int:
        """Leading tokens of a prompt that may be loaded; looks, and changes nothing."""
        if not self._loads or getattr(request, "skip_reading_prefix_cache", False):
            return 0
        return longest_stored(self.names(request), self._chunk, self._store.exists, self._block)

    def begin(self, request: Request, external: int) -> None:
        """Remember a request that is about to run, and how many of its tokens are to be loaded.

        A preempted request comes here once more, and all its blocks will be new.
        """
        self._requests[request.request_id] = _Tracked(self.names(request), external)

    def end(self, request: Request) -> None:
        """Forget a request."""
        self._requests.pop(request.request_id, None)

    def step(self, output: SchedulerOutput) -> tuple[list[Load], list[Prefill]]:
        """Say what a step has to load, and which chunks it completes."""
        loads, prefills = [], []
        for name, computed in self._scheduled(output):
            tracked = self._requests[name]
            if tracked.external:
                loads.append(self._load(name, tracked, computed))
                tracked.external = 0
            if self._saves and computed < max(tracked.names, default=0):
                reached = computed + output.num_scheduled_tokens[name]
                prefills.append(self._prefill(tracked, computed, reached))
        return loads, prefills

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
        first, chunk = last - tracked.external, self._chunk
        ends = [end for end in chunk_ends(last, chunk) if end > first]
        chunks = tuple(((end - 1) // chunk * chunk, end, tracked.names[end]) for end in ends)
        return Load(name, first, last, tuple(tracked.blocks[: last // self._block]), chunks)

    def _prefill(self, tracked: _Tracked, computed: int, reached: int) -> Prefill:
        """Chunks whose last token this step computes: not those that were loaded."""
        chunk = self._chunk
        chunks = tuple(
            ((end - 1) // chunk * chunk, end, tracked.names[end])
            for end in chunk_ends(max(tracked.names), chunk)
            if computed < end <= reached
        )
        return Prefill(computed, reached, tuple(tracked.blocks), chunks)


def _present(value: Any) -> bool:
    """Whether an optional part of a request is there; tensors have no truth value."""
    return value is not None and (not hasattr(value, "__len__") or len(value) > 0)
