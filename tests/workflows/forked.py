"""Snakemake in a fork of a process that has imported it, which takes longer than most runs."""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["snakemake.cli"])


def snakemake(
    options: Sequence[str | Path], cwd: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """What ``python -m snakemake`` with these options does and prints."""
    options = [str(option) for option in options]
    with tempfile.NamedTemporaryFile() as output:
        process = _CONTEXT.Process(
            target=_run, args=(options, str(cwd), dict(environment), output.name)
        )
        process.start()
        process.join()
        printed = Path(output.name).read_text()
    return subprocess.CompletedProcess(options, process.exitcode, printed)


def stop() -> None:
    """End the processes behind the forks: the meters' tests count the children of this one."""
    multiprocessing.forkserver._forkserver._stop()
    multiprocessing.resource_tracker._resource_tracker._stop()


def _run(options: list[str], cwd: str, environment: dict[str, str], output: str) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    with Path(output).open("w") as written, Path(os.devnull).open() as nothing:
        for stream, number in ((nothing, 0), (written, 1), (written, 2)):
            os.dup2(stream.fileno(), number)
    # Found from the working directory by `python -m`; the tests' own root stays out.
    sys.path[0] = cwd
    sys.argv = ["snakemake", *options]

    from snakemake.cli import main

    main()
