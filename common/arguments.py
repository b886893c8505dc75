"""Arguments and options that several verbs of the command share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from common.errors import known
from common.papers import SIZES, TARGETS


def _size(value: str) -> str:
    return known(value, SIZES, "size")


def _target(value: str) -> str:
    return known(value, TARGETS, "target")


PaperName = Annotated[str, typer.Argument(help="Paper slug; `reprise list` shows them.")]
PaperNames = Annotated[list[str] | None, typer.Argument(help="Paper slugs; all by default.")]
Size = Annotated[str, typer.Option(help=" | ".join(SIZES), callback=_size)]
Target = Annotated[str, typer.Option(help=" | ".join(TARGETS), callback=_target)]
Results = Annotated[Path, typer.Option(help="Root of the results tree.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
