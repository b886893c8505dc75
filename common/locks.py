"""One process at a time."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from common.errors import DataError

log = logging.getLogger(__name__)


@contextlib.contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file inside the block; without ``fcntl`` (Windows) nobody waits.

    Parameters
    ----------
    path : Path
        The lock file, in the user's cache; made if need be, its folder too.
    what : str
        What another process does meanwhile, for the message of the one that waits.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("a")
    except OSError as error:
        raise DataError(
            f"cannot write to {path.parent} ({error}); set REPRISE_CACHE to a writable folder"
        ) from error
    with lock:
        with contextlib.suppress(ImportError):
            import fcntl

            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.info("waiting for another process that %s", what)
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield
