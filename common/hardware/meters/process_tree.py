"""The processes that count as this program: itself and its descendants, less the meters' own."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

_helpers: set[int] = set()


def descendants() -> list[psutil.Process]:
    """Living descendants of this process, without helpers that a meter started."""
    if not _has_children():
        return []
    children = psutil.Process(os.getpid()).children(recursive=True)
    return [child for child in children if child.pid not in _helpers]


@contextmanager
def starting_helpers() -> Iterator[None]:
    """Processes started within belong to a meter; they are not part of what is measured."""
    before = {child.pid for child in descendants()}
    try:
        yield
    finally:
        _helpers.update(child.pid for child in descendants() if child.pid not in before)


def children_cpu_seconds() -> float:
    """User and system seconds of all descendants since this process began.

    A child counts while it lives and, once waited for, through this process' own record: the
    sum does not jump when a child ends. Of living children the kernel tells hundredths of a
    second; a grandchild that outlives its parent is lost to the record.
    """
    waited_for = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = waited_for.ru_utime + waited_for.ru_stime
    for child in descendants():
        try:
            times = child.cpu_times()
        except psutil.Error:  # it ended meanwhile
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def resident_bytes(own: int) -> int:
    """Resident bytes of the whole program, given those of this process.

    Pages shared between processes count once in each of them.
    """
    total = own
    for child in descendants():
        try:
            total += child.memory_info().rss
        except psutil.Error:  # it ended meanwhile
            continue
    return total


def _has_children() -> bool:
    """One system call instead of a walk through all processes of the machine."""
    if not hasattr(os, "waitid"):
        return True
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)  # leaves them waitable
    except ChildProcessError:
        return False
    return True
