"""Co-running loads: child processes that are switched on and off around real inference.

``python -m projects.alert.contention memory 60`` is such a process. It is told what to do through
its standard input and ends when that closes, so it cannot outlive the program that started it.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from common.errors import known

if TYPE_CHECKING:
    import numpy as np

QUIET = "none"
KINDS = ("memory", "compute")
GPU = "gpu"
_STREAM_MIB = 64  # each of two arrays: several times the last-level cache of a small machine
_ON, _OFF, _READY = b"1", b"0", b"r"
_PATIENCE_S = 5.0


class Load:
    """Processes that load the machine while they are switched on.

    They are started within the block and wait, so that switching takes a millisecond. Start them
    before a CPU quota is set: a child of a process under a quota would share it.

    Parameters
    ----------
    kind : {"memory", "compute", "gpu"}
        Copies through arrays far larger than the cache, products of small matrices, or products of
        large ones on the current GPU.
    processes : int
        How many; as many as cores leave none to the inference.
    limit : float
        Seconds after which they end by themselves, whatever happens.

    Raises
    ------
    ConfigError
        If the kind is unknown.
    ValueError
        If ``processes`` is below 1 or ``limit`` is not positive.

    Examples
    --------
    >>> with Load("compute") as load:
    ...     load.switch(True)
    ...     load.running
    True
    """

    def __init__(self, kind: str, processes: int = 1, limit: float = 900.0) -> None:
        self.kind = known(kind, (*KINDS, GPU), "kind of load")
        if processes < 1 or not limit > 0:
            raise ValueError(f"processes={processes}, limit={limit}; allowed: >= 1 and > 0 seconds")
        self.processes, self.limit = processes, limit
        self.running = False
        self._children: list[subprocess.Popen[bytes]] = []

    @property
    def pids(self) -> list[int]:
        """Process ids of the children, empty outside the block."""
        return [child.pid for child in self._children]

    def __enter__(self) -> Load:
        command = [sys.executable, "-m", "projects.alert.contention", self.kind, str(self.limit)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        try:
            for _ in range(self.processes):
                # a session of its own: Ctrl-C reaches the parent alone, which then ends this block
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env=environment,
                    bufsize=0,
                    start_new_session=True,
                )
                self._children.append(child)
            for child in self._children:
                self._expect(child, _READY)
        except BaseException:
            self._end()
            raise
        return self

    def switch(self, on: bool) -> None:
        """Turn the load on or off; returns when every process has done so.

        Raises
        ------
        RuntimeError
            If a process has ended, by its time limit or by somebody else.
        """
        order = _ON if on else _OFF
        if not self._children:
            raise RuntimeError("the load is not started: use it as `with Load(...) as load`")
        for child in self._children:
            with suppress(BrokenPipeError):  # its answer, which is missing, says it better
                child.stdin.write(order)
        for child in self._children:
            self._expect(child, order)
        self.running = on

    def __exit__(self, *_: object) -> None:
        self._end()

    def _expect(self, child: subprocess.Popen[bytes], answer: bytes) -> None:
        if child.stdout.read(1) != answer:
            raise RuntimeError(
                f"the {self.kind} load (process {child.pid}) has ended; it runs at most "
                f"{self.limit:g} s, raise limit= for longer work"
            )

    def _end(self) -> None:
        self.running = False
        for child in self._children:
            child.stdin.close()
        for child in self._children:
            try:
                child.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            child.stdout.close()
        self._children = []


@contextmanager
def contention(
    kinds: Sequence[str], processes: int = 1, limit: float = 900.0
) -> Iterator[Callable[[str], None]]:
    """Start one load per kind and give a switch that takes ``"none"`` or one of the kinds.

    Examples
    --------
    >>> with contention(["compute"]) as switch:
    ...     switch("compute")
    ...     switch("none")
    """
    current = QUIET
    with ExitStack() as stack:
        loads = {kind: stack.enter_context(Load(kind, processes, limit)) for kind in kinds}

        def switch(kind: str) -> None:
            nonlocal current
            known(kind, (QUIET, *loads), "load")
            if kind == current:
                return
            if current in loads:
                loads[current].switch(False)
            if kind in loads:
                loads[kind].switch(True)
            current = kind

        yield switch


def bursts(
    inputs: int, length: int, kinds: Sequence[str] = KINDS, rng: np.random.Generator | None = None
) -> list[str]:
    """Load of each input: quiet and loaded stretches in turn, the kinds one after another.

    Parameters
    ----------
    inputs, length : int
        Number of inputs, and of inputs in a stretch.
    kinds : sequence of str
        Loads that take turns.
    rng : Generator, optional
        Draws each stretch's length between half and one and a half of ``length``; without it
        every stretch has exactly that length.

    Examples
    --------
    >>> bursts(6, 2, ["memory"])
    ['none', 'none', 'memory', 'memory', 'none', 'none']
    """
    if inputs < 1 or length < 1:
        raise ValueError(f"inputs={inputs}, length={length}; both must be at least 1")
    plan: list[str] = []
    stretch = 0
    while len(plan) < inputs:
        kind = kinds[stretch // 2 % len(kinds)] if stretch % 2 and kinds else QUIET
        size = length if rng is None else int(rng.integers(-(-length // 2), 3 * length // 2 + 1))
        plan += [kind] * size
        stretch += 1
    return plan[:inputs]


# -- the child -----------------------------------------------------------------------------


def _work(kind: str) -> Callable[[], object]:
    """A piece of load of about a millisecond, to be called again and again."""
    import numpy as np

    if kind == GPU:
        return _gpu_work()
    if kind == "compute":
        matrix = np.full((96, 96), 1e-2, dtype=np.float32)
        return lambda: [matrix @ matrix for _ in range(20)]
    source = np.ones((_STREAM_MIB, 2**17))  # rows of 1 MiB
    target = np.zeros_like(source)
    place = 0

    def stream() -> None:
        nonlocal place
        for _ in range(4):
            np.copyto(target[place], source[place])
            place = (place + 1) % _STREAM_MIB

    return stream


def _gpu_work() -> Callable[[], object]:
    import torch

    matrix = torch.rand(4096, 4096, device="cuda")

    def multiply() -> None:
        torch.mm(matrix, matrix)
        torch.cuda.synchronize()  # or the queue would go on long after the load is off

    return multiply


def serve(kind: str, limit: float) -> None:
    """Obey orders from standard input until it closes or ``limit`` seconds are over."""
    work, end, on = _work(kind), time.monotonic() + limit, False
    os.write(1, _READY)
    while (left := end - time.monotonic()) > 0:
        if select.select([0], [], [], 0 if on else left)[0]:
            order = os.read(0, 1)
            if not order:
                return
            on = order == _ON
            os.write(1, order)
        elif on:
            work()


if __name__ == "__main__":
    serve(sys.argv[1], float(sys.argv[2]))
