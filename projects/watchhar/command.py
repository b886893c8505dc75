"""The console script: ``watchhar data import-samosa`` and ``import-esc50``, with a path."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from common.errors import RepriseError
from projects.watchhar.esc50 import import_esc50
from projects.watchhar.samosa import import_folder

BAD_INPUT = 2

_EPILOG = """\
Neither is downloaded here. SAMoSA is for non-commercial research and may not be passed on: get it
from https://github.com/cmusmashlab/SAMoSA and name its TrainingDataset folder; its pickles are read
by an unpickler that makes arrays and refuses everything else. ESC-50 is CC BY-NC 3.0: get it from
https://github.com/karolpiczak/ESC-50 and name its folder or its zip file.

exit codes: 0 when all recordings were kept, 2 when some were refused (the message says why)."""


def parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    made = argparse.ArgumentParser(prog="watchhar", description="WatchHAR: your own recordings.")
    data = made.add_subparsers(required=True).add_parser("data", help="recordings of your own")
    sources = data.add_subparsers(required=True)

    def source(name: str, what: str, path: str) -> argparse.ArgumentParser:
        described = {"epilog": _EPILOG, "formatter_class": argparse.RawDescriptionHelpFormatter}
        brings = sources.add_parser(name, help=f"convert {what} into the cache", **described)
        brings.add_argument("path", type=Path, help=path)
        return brings

    samosa = source("import-samosa", "your download of SAMoSA", "its folder TrainingDataset")
    samosa.add_argument(
        "--low-pass",
        action="store_true",
        help="filter before keeping every 16th sample of the sound; the released code does not",
    )
    samosa.set_defaults(bring=lambda o: import_folder(o.path, low_pass=o.low_pass))
    esc50 = source("import-esc50", "ten classes of your download of ESC-50", "folder or zip file")
    esc50.set_defaults(bring=lambda o: import_esc50(o.path))
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = parser().parse_args(arguments)
    try:
        kept, refused = options.bring(options)
    except RepriseError as error:
        sys.stderr.write(f"watchhar: {error}\n")
        return BAD_INPUT
    for name, reason in refused.items():
        sys.stderr.write(f"refused {name}: {reason}\n")
    sys.stdout.write(f"{kept} recordings imported, {len(refused)} refused\n")
    return BAD_INPUT if refused else 0
