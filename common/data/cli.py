"""The ``reprise data`` commands: which datasets there are, where they are, if they are whole."""

from __future__ import annotations

from typing import Annotated

import typer

from common import terminal
from common.errors import DataError

app = typer.Typer(
    name="data",
    help="List, fetch and verify the datasets that the papers are tested on.",
    no_args_is_help=True,
)

Names = Annotated[list[str] | None, typer.Argument(help="Datasets; 'list' names them all.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List every dataset: size, licence, and whether it is on this machine.

    HERE is 'mirror' (a folder named in $REPRISE_DATA), 'cache', 'partly' or 'no'; this looks at
    names only, 'verify' reads the files.
    """
    from common.data.inspection import cache_status, presence
    from common.data.registry import list_datasets, load_entry

    rows = []
    for name in list_datasets():
        entry = load_entry(name)
        row = {"name": name, "title": entry.title, "files": len(entry.files), "bytes": entry.bytes}
        row |= {"licence": entry.licence, "redistribution": entry.redistribution}
        rows.append(row | {"here": presence(name)})
    cache = cache_status()
    if as_json:
        terminal.emit({"datasets": rows, "cache": cache._asdict()})
        return
    columns = ("dataset", "files", "size", "licence", "redistribution", "here")
    cells = [
        (r["name"], r["files"], _size(r["bytes"]), r["licence"], r["redistribution"], r["here"])
        for r in rows
    ]
    terminal.show(terminal.table(columns, cells))
    unfinished = f", {_size(cache.unfinished)} unfinished" if cache.unfinished else ""
    typer.echo(f"cache {cache.path}: {cache.files} files, {_size(cache.bytes)}{unfinished}")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of the dataset.")], as_json: Json = False
) -> None:
    """Show one dataset: what it is, licence, citation, files, addresses and digests."""
    from common.data.registry import load_entry

    entry = load_entry(name)
    if as_json:
        content = entry.model_dump(mode="json", exclude_none=True)
        for file, item in zip(entry.files, content["files"], strict=True):
            item["url"] = entry.url_of(file)
        terminal.emit(content)
        return
    keys = ("title", "about", "licence", "redistribution", "terms", "citation", "homepage", "label")
    rows = [(key, getattr(entry, key)) for key in keys]
    rows += [("by hand", entry.manual)] if entry.manual else []
    facts = terminal.table(("", ""), rows)
    facts.show_header, facts.box = False, None
    files = []
    for file in entry.files:
        address = entry.url_of(file) or "(by hand)"
        if file.parts:
            address = f"{len(file.parts.indices)} parts {file.parts.index} of {address}"
        files.append((file.name, _size(file.bytes), file.sha256[:12], address))
    terminal.show(facts, terminal.table(("file", "size", "sha256", "address"), files))


@app.command()
def fetch(
    names: Names = None,
    every: Annotated[bool, typer.Option("--all", help="Every registered dataset.")] = False,
    mode: Annotated[
        str,
        typer.Option(help="real: what cannot be had fails; auto: it is only said; synthetic: none"),
    ] = "real",
) -> None:
    """Bring datasets onto this machine and check them.

    A dataset that a mirror or the cache already holds is checked, not downloaded again. An
    interrupted download goes on where it stopped. Ends with status 1 if a dataset is corrupted or,
    unless --mode says otherwise, could not be had.
    """
    from common.data import DataUnavailable, resolve

    failed = False
    for name in _chosen(names, every):
        try:
            found = resolve(name, mode=mode)
        except DataUnavailable as error:
            failed |= mode == "real"
            typer.echo(str(error) if mode == "real" else f"{name}: {error.reason}", err=True)
            continue
        except DataError as error:
            failed = True
            typer.echo(str(error), err=True)
            continue
        size = sum(path.stat().st_size for path in found.files.values())
        typer.echo(f"{name}: {len(found.files)} files, {_size(size)}, from {found.source}")
    if failed:
        raise typer.Exit(1)


@app.command()
def verify(names: Names = None, as_json: Json = False) -> None:
    """Check the digest of every copy in the mirrors and the cache.

    Ends with status 1 if a copy is corrupted, or if a file of a dataset named here is absent.
    Without names every dataset is checked, and absent files are only counted.
    """
    from common.data.inspection import verify as check

    chosen = _chosen(names, every=not names)
    rows = [{"dataset": name, **row._asdict()} for name in chosen for row in check(name)]
    if as_json:
        terminal.emit(rows)
    else:
        _print_counts(chosen, rows)
    bad = {"corrupted", "absent"} if names else {"corrupted"}
    faults = [row for row in rows if row["status"] in bad]
    for row in faults:
        where = row["path"] or f"{row['dataset']}/{row['file']}"
        typer.echo(f"{row['status']}: {where}: {row['detail']}", err=True)
    if faults:
        raise typer.Exit(1)


def _print_counts(names: list[str], rows: list[dict[str, str]]) -> None:
    counted = []
    for name in names:
        own = [row for row in rows if row["dataset"] == name]
        whole = [row["place"] for row in own if row["status"] == "ok"]
        counts = [whole.count("mirror"), whole.count("cache")]
        counts += [sum(row["status"] == bad for row in own) for bad in ("corrupted", "absent")]
        counted.append((name, *counts))
    columns = ("dataset", "in mirrors", "in cache", "corrupted", "absent")
    terminal.show(terminal.table(columns, counted))


def _chosen(names: list[str] | None, every: bool) -> list[str]:
    from common.data.registry import list_datasets, load_entry

    if bool(names) == every:
        raise typer.BadParameter("give the names of datasets, or --all")
    for name in names or ():
        load_entry(name)
    return names or list_datasets()


def _size(count: int) -> str:
    """Format a number of bytes, decimal units."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"
