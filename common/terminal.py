"""What the commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

# A pipe has no width of its own; eighty columns would fold the scorecard to shreds.
PIPE_WIDTH = 160


def show(*renderables: Any, **options: Any) -> None:
    """Print what rich can render; ``options`` are those of its ``print``."""
    from rich.console import Console

    console = Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)
    console.print(*renderables, **options)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """Build a table whose cells are taken as they are: ".[nurd]" is no markup.

    Examples
    --------
    >>> table(("paper", "claims"), [("nurd", 14)]).row_count
    1
    """
    from rich.table import Table
    from rich.text import Text

    built = Table(header_style="bold")
    for column in columns:
        built.add_column(column, overflow="fold")
    for row in rows:
        built.add_row(*(Text(str(cell)) for cell in row))
    return built


def emit(content: Any) -> None:
    """Print JSON."""
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False))
