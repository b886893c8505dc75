"""Loading a context from a store: chunk by chunk, each at the level that the policy chooses."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import requests

from projects.cachegen.errors import CorruptStreamError
from projects.cachegen.header import PREFIX, Header, header_bytes, read_header, read_record
from projects.cachegen.interface import EncodedChunk
from projects.cachegen.policy import TEXT, Policy, Request, Situation

log = logging.getLogger(__name__)
PIECE = 1 << 16
# The link's failures that a new request may mend; a refusal by the server is none of them.
BROKEN = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)


class StoreError(OSError):
    """The store refused, or could not be reached in spite of several attempts."""


@dataclass(frozen=True)
class Loaded:
    """A context that was loaded.

    Attributes
    ----------
    header : Header
        Of the stream.
    choices : tuple of int
        Level of each chunk by number; :data:`~projects.cachegen.policy.TEXT` where the chunk has to
        be computed from its text.
    results : tuple
        What ``decode`` gave for each chunk; None for text.
    seconds : float
        From the request to the last decoded chunk.
    sent : int
        Bytes of chunks that arrived.
    resumed : int
        Transfers that were taken up again after a broken connection.
    violated : bool
        Whether it took longer than the objective.
    """

    header: Header
    choices: tuple[int, ...]
    results: tuple[Any, ...]
    seconds: float
    sent: int
    resumed: int
    violated: bool


class StoreClient:
    """A connection to a store of encoded contexts.

    Parameters
    ----------
    url : str
        Such as ``http://127.0.0.1:8750``.
    attempts : int
        How often a broken transfer is taken up again before it fails.
    timeout : float
        Longest silence of the server [s].
    """

    def __init__(self, url: str, *, attempts: int = 5, timeout: float = 10.0) -> None:
        self.url, self.attempts, self.timeout = url.rstrip("/"), attempts, timeout
        self.resumed = 0
        self._session = requests.Session()

    def contexts(self) -> dict[str, int]:
        """Names and sizes [bytes] of what the store holds."""
        answer = self._session.get(f"{self.url}/contexts", timeout=self.timeout)
        answer.raise_for_status()
        return dict(answer.json()["contexts"])

    def header(self, name: str) -> Header:
        """Fetch and check the header of a context.

        Raises
        ------
        StoreError
            If there is no such context, or no connection.
        CorruptStreamError, IncompatibleStreamError
            If it is no stream of this version.
        """
        prefix = self.read(name, 0, PREFIX.size)
        return read_header(prefix + self.read(name, PREFIX.size, header_bytes(prefix)))

    def chunk(self, name: str, header: Header, number: int, level: str) -> EncodedChunk:
        """Fetch and check one chunk at one level."""
        begin, end = header.span(number, level)
        return read_record(header, number, level, self.read(name, begin, end))

    def read(self, name: str, begin: int, end: int) -> bytes:
        """Fetch bytes ``begin`` to ``end`` of a file; a broken transfer goes on where it broke."""
        got, failure = bytearray(), None
        for attempt in range(self.attempts + 1):
            if attempt:
                self.resumed += 1
                log.warning("connection lost at byte %d of %s: %s", begin + len(got), name, failure)
                time.sleep(min(0.05 * 2**attempt, 2.0))
            try:
                self._receive(name, begin + len(got), end, got)
            except BROKEN as error:
                failure = error
            if len(got) == end - begin:
                return bytes(got)
        raise StoreError(
            f"{self.url}: {len(got)} of {end - begin} bytes of {name!r} after "
            f"{self.attempts + 1} attempts: {failure or 'the answers were short'}"
        )

    def _receive(self, name: str, begin: int, end: int, into: bytearray) -> None:
        wanted = {"Range": f"bytes={begin}-{end - 1}"}
        with self._session.get(
            f"{self.url}/contexts/{name}", headers=wanted, stream=True, timeout=self.timeout
        ) as answer:
            if answer.status_code == 503:
                raise requests.ConnectionError("the store is busy")
            if answer.status_code not in (200, 206):
                raise StoreError(f"{self.url}: {name!r}: status {answer.status_code}")
            if answer.status_code == 200 and begin:
                raise StoreError(f"{self.url} gives no byte ranges")
            room = end - begin
            for piece in answer.iter_content(PIECE):
                into += piece[:room]
                room -= len(piece)
                if room <= 0:
                    return

    def load(
        self,
        name: str,
        policy: Policy,
        *,
        slo: float,
        decode: Callable[[EncodedChunk], Any] = lambda chunk: chunk,
        prefill_seconds: Callable[[int, int], float] | None = None,
        decode_seconds: float = 0.0,
        throughput: float | None = None,
        fingerprint: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> Loaded:
        """Load a whole context.

        Transfers follow each other; a chunk is decoded while the next one is on its way. A chunk
        that arrives damaged twice is left to be computed from its text.

        Parameters
        ----------
        name : str
            Of the context.
        policy : Policy
            Chooses before every chunk, as in :func:`projects.cachegen.simulation.simulate`.
        slo : float
            Objective for the whole loading [s].
        decode : callable
            Applied to every chunk, in order, on a thread of its own.
        prefill_seconds : callable, optional
            Expected time to compute ``tokens`` after ``cached`` ones; without it text is never
            expected to be in time.
        decode_seconds : float
            Expected time to decode one chunk.
        throughput : float, optional
            Known from an earlier request [bytes/s].
        fingerprint : str, optional
            Of the model that the cache must be of.

        Returns
        -------
        Loaded
        """
        begun, resumed = clock(), self.resumed
        header = self.header(name)
        header.require(fingerprint=fingerprint)
        request = request_for(header, slo, prefill_seconds, decode_seconds)
        choices: list[int] = []
        waiting: list[Future[Any] | None] = []
        sent = 0
        with ThreadPoolExecutor(max_workers=1) as decoder:
            for number in range(request.chunks):
                now = Situation(number, clock() - begun, throughput)
                choice, chunk = policy(request, now), None
                start = clock()
                if choice != TEXT:
                    chunk = self._sound(name, header, number, header.levels[choice])
                if chunk is None:
                    choice = TEXT
                else:
                    size = header.size(number, chunk.level)
                    throughput = size / max(clock() - start, 1e-9)
                    sent += size
                choices.append(choice)
                waiting.append(None if chunk is None else decoder.submit(decode, chunk))
            results = tuple(None if future is None else future.result() for future in waiting)
        seconds = clock() - begun
        resumed = self.resumed - resumed
        return Loaded(header, tuple(choices), results, seconds, sent, resumed, seconds > slo)

    def _sound(self, name: str, header: Header, number: int, level: str) -> EncodedChunk | None:
        for _ in range(2):
            try:
                return self.chunk(name, header, number, level)
            except CorruptStreamError as error:
                log.warning("%s, chunk %d: %s", name, number, error)
        return None


def request_for(
    header: Header,
    slo: float,
    prefill_seconds: Callable[[int, int], float] | None,
    decode_seconds: float,
) -> Request:
    """Return the request that a policy sees for a stored context.

    Parameters
    ----------
    header : Header
        Of the stream.
    slo : float
        Objective [s].
    prefill_seconds : callable or None
        Time to compute ``tokens`` after ``cached`` ones; without it text is never in time.
    decode_seconds : float
        Time to decode one chunk.
    """
    tokens = np.array([entry.tokens for entry in header.chunks])
    sizes = np.array([[r.bytes for r in entry.records] for entry in header.chunks], float)
    cached = np.cumsum(tokens) - tokens
    prefill = np.full(len(tokens), np.inf)
    if prefill_seconds is not None:
        prefill = np.array([prefill_seconds(*pair) for pair in zip(tokens, cached, strict=True)])
    # Whoever asks for a context has its text: nothing of it travels.
    return Request(sizes, np.zeros(len(tokens)), prefill, np.full(sizes.shape, decode_seconds), slo)
