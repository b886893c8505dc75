"""The console script: ``watchhar data import-samosa FOLDER``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from common.errors import RepriseError
from projects.watchhar.samosa import import_folder

BAD_INPUT = 2

_EPILOG = """\
SAMoSA is for non-commercial research and may not be passed on, so it is not downloaded here: get it
from https://github.com/cmusmashlab/SAMoSA and name its TrainingDataset folder. Pickles are read by
an unpickler that makes arrays and refuses everything else.

exit codes: 0 when all recordings were kept, 2 when some were refused (the message says why)."""


def parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    made = argparse.ArgumentParser(prog="watchhar", description="WatchHAR: your own recordings.")
    data = made.add_subparsers(required=True).add_parser("data", help="recordings of your own")
    brings = data.add_subparsers(required=True).add_parser(
        "import-samosa",
        help="convert your download of SAMoSA into the cache",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    brings.add_argument("folder", type=Path, help="TrainingDataset of the download")
    brings.add_argument(
        "--low-pass",
        action="store_true",
        help="filter before keeping every 16th sample of the sound; the released code does not",
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = parser().parse_args(arguments)
    try:
        kept, refused = import_folder(options.folder, low_pass=options.low_pass)
    except RepriseError as error:
        sys.stderr.write(f"watchhar: {error}\n")
        return BAD_INPUT
    for name, reason in refused.items():
        sys.stderr.write(f"refused {name}: {reason}\n")
    sys.stdout.write(f"{kept} recordings imported, {len(refused)} refused\n")
    return BAD_INPUT if refused else 0
