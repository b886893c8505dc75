"""Chunks of prompts in a folder or behind an address, named by what they hold."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from projects.cachegen.container import Container

log = logging.getLogger(__name__)
SUFFIX = ".kvg"
_SAMPLES, _SAMPLE_BYTES = 16, 1 << 16


def chunk_names(tokens: Sequence[int], seed: str, block: int) -> dict[int, str]:
    """Name the prefixes of a prompt at block ends: SHA-256 of the seed and the tokens.

    The prompt's last token is left out, because vLLM has to compute one.

    Examples
    --------
    >>> sorted(chunk_names(range(9), "model", 4)), sorted(chunk_names(range(8), "model", 4))
    ([4, 8], [4])
    """
    digest = hashlib.sha256(seed.encode() + b"\0")
    names = {}
    for end in range(block, len(tokens), block):
        digest.update(np.asarray(tokens[end - block : end], "<i8").tobytes())
        names[end] = digest.hexdigest()
    return names


def chunk_ends(last: int, chunk: int) -> list[int]:
    """Ends of the chunks of the first ``last`` tokens; the last chunk may be short.

    Examples
    --------
    >>> chunk_ends(10, 4), chunk_ends(8, 4), chunk_ends(0, 4)
    ([4, 8, 10], [4, 8], [])
    """
    return [min(start + chunk, last) for start in range(0, last, chunk)]


def longest_stored(
    names: dict[int, str], chunk: int, exists: Callable[[str], bool], block: int
) -> int:
    """Tokens of the longest prefix whose chunks are all there.

    Where the next full chunk is missing, shorter ones that ended another prompt are looked for.
    """
    stored, last = 0, max(names, default=0)
    while stored < last:
        full = min(stored + chunk, last)
        end = next((e for e in range(full, stored, -block) if exists(names[e])), stored)
        if end < stored + chunk:
            return end
        stored = end
    return stored


def model_fingerprint(config: str, weights: Path | None = None) -> str:
    """SHA-256 of a configuration and of a sample of the weight files, 32 hexadecimal digits.

    Parameters
    ----------
    config : str
        Everything that changes keys and values: architecture, position encoding, types, revision.
    weights : Path, optional
        Folder; of every ``.safetensors``, ``.bin`` or ``.pt`` file the size and 16 pieces of 64 KiB
        spread over it are read, so that large models take no longer than small ones.
    """
    digest = hashlib.sha256(config.encode())
    files = sorted(weights.iterdir()) if weights is not None and weights.is_dir() else []
    for path in files:
        if path.suffix not in (".safetensors", ".bin", ".pt"):
            continue
        size = path.stat().st_size
        digest.update(f"{path.name}{size}".encode())
        with path.open("rb") as file:
            for begin in np.linspace(0, max(size - _SAMPLE_BYTES, 0), _SAMPLES, dtype=np.int64):
                file.seek(int(begin))
                digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()[:32]


class FolderStore:
    """A folder of ``NAME.kvg`` files; what ``cachegen serve`` gives out."""

    writable = True

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self.path.mkdir(parents=True, exist_ok=True)

    def exists(self, name: str) -> bool:
        """Whether a chunk is there; not whether it is sound."""
        return self._file(name).is_file()

    def read(self, name: str) -> Container:
        """Read a chunk; raises OSError or an error of :mod:`projects.cachegen.errors`."""
        from projects.cachegen.container import Container

        return Container.open(self._file(name))

    def write(self, name: str, data: bytes) -> None:
        """Write or replace a chunk at once: readers see the old or the new one."""
        partial = self.path / f".{name}.{os.getpid()}.part"
        partial.write_bytes(data)
        partial.replace(self._file(name))

    def _file(self, name: str) -> Path:
        return self.path / f"{name}{SUFFIX}"


class RemoteStore:
    """The HTTP store of :mod:`projects.cachegen.server`, read only."""

    writable = False

    def __init__(self, url: str, timeout: float) -> None:
        from projects.cachegen.client import StoreClient

        # The scheduler waits for these answers: one retry, then the text is computed.
        self._client = StoreClient(url, attempts=1, timeout=timeout)

    def exists(self, name: str) -> bool:
        """Whether the store gives the chunk's first byte; no connection counts as no."""
        try:
            return len(self._client.read(name, 0, 1)) == 1
        except OSError as error:
            log.debug("%s: %s", name, error)
            return False

    def read(self, name: str) -> Container:
        """Fetch a chunk; raises as :meth:`FolderStore.read`."""
        from projects.cachegen.container import Container

        header = self._client.header(name)
        return Container(self._client.read(name, 0, header.file_bytes))


def open_store(where: str, timeout: float) -> FolderStore | RemoteStore:
    """Return a store by folder or address."""
    if re.match(r"https?://", where):
        return RemoteStore(where, timeout)
    return FolderStore(where)
