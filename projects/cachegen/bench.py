"""The hot path beside its peers: a chunk's KV cache in float16 to bytes and back, on one core.

Every peer codes the symbols of the same quantiser with the same steps, so the error is the same,
and uses our compiled quantiser and our conversion from and to float16. What differs is the
entropy coder. ``agreement`` shows the bits per value of both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from common.bench import Benchmark
from common.errors import require
from projects.cachegen import halves, predict
from projects.cachegen.codecs import codec
from projects.cachegen.interface import EncodedChunk
from projects.cachegen.packing import write_varints
from projects.cachegen.stepping import SteppedCodec, Tools
from projects.cachegen.synthetic import synthetic_kv
from projects.cachegen.tensors import as_planes

SHAPE = {"layers": 8, "tokens": 1500, "heads": 2, "head_dim": 128}


class Coder(Protocol):
    """An entropy coder of one plane's values, int16 [tokens, channels]."""

    name: str

    def encode(self, q: np.ndarray, plane: int) -> Any:
        """Return the stream."""

    def decode(self, stream: Any, plane: int, shape: tuple[int, int]) -> np.ndarray:
        """Undo it."""

    def size(self, stream: Any) -> int:
        """Bytes of a stream."""


class Zstandard:
    """Zstd at level 3 on one byte a value: |q| fits, as the profile has no wider values."""

    name = "zstd level 3 on 8-bit symbols"

    def __init__(self) -> None:
        zstandard = require("zstandard", "cachegen")
        self.compressor = zstandard.ZstdCompressor(level=3)
        self.decompressor = zstandard.ZstdDecompressor()

    def encode(self, q: np.ndarray, plane: int) -> bytes:
        """Compress one plane, token by token."""
        return self.compressor.compress(q.astype(np.int8).tobytes())

    def decode(self, stream: bytes, plane: int, shape: tuple[int, int]) -> np.ndarray:
        """Decompress."""
        data = self.decompressor.decompress(stream)
        return np.frombuffer(data, np.int8).reshape(shape).astype(np.int16)

    def size(self, stream: bytes) -> int:
        """Bytes of the frame."""
        return len(stream)


class Constriction:
    """constriction's coders, one stream per lane as ours, with the same tables, models prebuilt.

    Parameters
    ----------
    tools : Tools
        Tables of the profile.
    kind : {"rans", "range"}
        ``AnsCoder``, or ``RangeEncoder`` with ``RangeDecoder``.
    """

    def __init__(self, tools: Tools, kind: str) -> None:
        stream = require("constriction", "cachegen").stream
        self.stack, self.queue, self.kind = stream.stack, stream.queue, kind
        self.name = f"constriction {'AnsCoder' if kind == 'rans' else 'RangeEncoder'}"
        self.clip = tools.tables.clip
        probabilities = tools.tables.frequencies.astype(np.float32) / 4096
        self.models = [
            [stream.model.Categorical(probabilities[row], perfect=False) for row in rows]
            for rows in tools.tables.index
        ]

    def encode(self, q: np.ndarray, plane: int) -> list[np.ndarray]:
        """One array of 32-bit words per lane."""
        symbols = np.ascontiguousarray((q + self.clip).T.astype(np.int32))
        streams = []
        for lane, model in zip(symbols, self.models[plane], strict=True):
            if self.kind == "rans":
                coder = self.stack.AnsCoder()
                coder.encode_reverse(lane, model)
            else:
                coder = self.queue.RangeEncoder()
                coder.encode(lane, model)
            streams.append(coder.get_compressed())
        return streams

    def decode(self, stream: list[np.ndarray], plane: int, shape: tuple[int, int]) -> np.ndarray:
        """Undo :meth:`encode`."""
        make = self.stack.AnsCoder if self.kind == "rans" else self.queue.RangeDecoder
        lanes = [
            make(words).decode(model, shape[0])
            for words, model in zip(stream, self.models[plane], strict=True)
        ]
        return (np.stack(lanes, axis=1) - self.clip).astype(np.int16)

    def size(self, stream: list[np.ndarray]) -> int:
        """Bytes of all words, and of the lanes' lengths as we write them."""
        lengths = np.array([len(words) for words in stream])
        return 4 * int(lengths.sum()) + len(write_varints(lengths))


@dataclass(frozen=True)
class Problem:
    """One chunk, our codec with a profile of other data, and what it made of the chunk."""

    kv: np.ndarray
    codec: SteppedCodec
    profile: Any
    chunk: EncodedChunk

    @property
    def tools(self) -> Tools:
        """Steps and tables of the default level."""
        return self.codec.prepare("medium", self.profile.geometry, self.profile)

    def encode_with(self, coder: Coder) -> list[Any]:
        """Quantise as our codec does, then code with a peer."""
        planes, tools = as_planes(self.kv), self.tools
        streams = []
        for plane, x in enumerate(planes.values):
            q = np.empty(x.shape, np.int16)
            predict.quantise(x, tools.mean[plane], tools.step[plane], q)
            streams.append(coder.encode(q, plane))
        return streams

    def decode_with(self, coder: Coder, streams: Sequence[Any]) -> np.ndarray:
        """Decode with a peer, then restore and narrow as our codec does."""
        g, tokens, tools = self.chunk.geometry, self.chunk.tokens, self.tools
        out = np.empty((g.planes, tokens, g.channels), np.float16)
        x = np.empty((tokens, g.channels), np.float32)
        for plane, stream in enumerate(streams):
            q = coder.decode(stream, plane, x.shape)
            predict.restore(q, tools.mean[plane], tools.step[plane], x)
            halves.narrow(x.reshape(-1), out[plane].view(np.uint16).reshape(-1))
        return out.reshape(self.kv.shape)


def problem(**shape: int) -> Problem:
    """Synthetic data of brief section 5, coded without delta, so that all peers can do the same.

    Values beyond the clip are set to it, as the peers know no escape.
    """
    made = codec("nodelta")
    kv = synthetic_kv(seed=1, **shape)
    profile = made.fit([synthetic_kv(seed=0, **shape), kv])
    tools = made.prepare("medium", as_planes(kv[:, :, :1]).geometry, profile)
    values = as_planes(kv).values
    reach = (made.clip + 0.25) * tools.step[:, None]
    inside = np.clip(values, tools.mean[:, None] - reach, tools.mean[:, None] + reach)
    kv = inside.astype(np.float16).reshape(kv.shape)
    return Problem(kv, made, profile, made.encode(kv, level="medium", profile=profile))


def peers(tools: Tools) -> list[Coder]:
    """Entropy coders that are installed, zstd and constriction."""
    coders: list[Coder] = []
    for make in (
        Zstandard,
        partial(Constriction, tools, "rans"),
        partial(Constriction, tools, "range"),
    ):
        try:
            coders.append(make())
        except ImportError:
            continue
    return coders


def benchmarks(**shape: int) -> list[Benchmark]:
    """Encode and decode of one chunk, beside each peer; MB/s are of the float16 cache."""
    task = problem(**(SHAPE | shape))
    sizes = {**(SHAPE | shape), "fp16_MB": round(task.kv.nbytes / 1e6, 1)}
    bits = 8 / task.kv.size

    def pair(coder: Coder) -> list[Benchmark]:
        streams = task.encode_with(coder)
        theirs = sum(coder.size(stream) for stream in streams) * bits

        def encoded(ours: EncodedChunk, peer: list[Any]) -> dict[str, float]:
            peer_bytes = sum(coder.size(stream) for stream in peer)
            return {"bits ours": ours.bits_per_element, "bits peer": peer_bytes * bits}

        def decoded(ours: np.ndarray, peer: np.ndarray) -> dict[str, float]:
            return {
                "bits ours": task.chunk.bits_per_element,
                "bits peer": theirs,
                "equal values": float((ours == peer).mean()),
            }

        encode = partial(task.codec.encode, task.kv, level="medium", profile=task.profile)
        decode = partial(task.codec.decode, task.chunk, profile=task.profile)
        return [
            Benchmark(
                "encode", encode, partial(task.encode_with, coder), coder.name, sizes, encoded
            ),
            Benchmark(
                "decode",
                decode,
                partial(task.decode_with, coder, streams),
                coder.name,
                sizes,
                decoded,
            ),
        ]

    return [one for coder in peers(task.tools) for one in pair(coder)]


def report(repeats: int = 5) -> list[dict[str, Any]]:
    """MB/s of float16 KV, ours and the peer's, for a table."""
    from common.bench import time_pair

    rows = []
    for benchmark in benchmarks():
        timing = time_pair(benchmark, repeats)
        size = benchmark.sizes["fp16_MB"]
        rows.append(
            {
                "path": timing.name,
                "peer": timing.peer_name,
                "ours MB/s": size / timing.ours_seconds,
                "peer MB/s": size / timing.peer_seconds,
                **timing.agreement,
            }
        )
    return rows
