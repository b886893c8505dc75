"""A net under changes to the machine: undone on leaving, at exit and on SIGTERM."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

_log = logging.getLogger(__name__)
_pending: list[Undo] = []


class Undo:
    """Context manager that runs ``action`` on the way out, or at exit if it never gets there.

    Parameters
    ----------
    name : str
        What is undone; for the log.
    action : callable
        Puts the setting back. If it raises, the error passes on and the action runs once more
        at exit.
    """

    def __init__(self, name: str, action: Callable[[], None]) -> None:
        self.name = name
        self._action = action
        self._pid = os.getpid()

    def __enter__(self) -> Undo:
        _pending.append(self)
        _watch_sigterm()
        return self

    def __exit__(self, *_: object) -> None:
        self.run()

    def run(self) -> None:
        """Undo, unless that is done or this is a forked copy of the process that changed it."""
        if self not in _pending or self._pid != os.getpid():
            return
        self._action()
        _pending.remove(self)
        if not _pending:
            _unwatch_sigterm()


def _undo_all() -> None:
    for undo in reversed(_pending.copy()):
        try:
            undo.run()
        except Exception as error:  # the next one may still succeed
            _log.error("%s could not be put back: %s", undo.name, error)


def _leave(number: int, frame: FrameType | None) -> None:
    # as an exception, so that every block is left in order; 128 + n is the shell's convention
    raise SystemExit(128 + number)


def _watch_sigterm() -> None:
    """Let SIGTERM unwind the stack while a change stands; an own handler is left alone."""
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _leave)


def _unwatch_sigterm() -> None:
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and signal.getsignal(signal.SIGTERM) is _leave:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


atexit.register(_undo_all)
