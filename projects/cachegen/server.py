"""A store of encoded contexts over HTTP: byte ranges of files, at the rate of an emulated link."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import re
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from common.errors import ConfigError
from projects.cachegen.link import Link
from projects.cachegen.pacing import Pacer

if TYPE_CHECKING:
    from starlette.requests import Request

log = logging.getLogger(__name__)
SUFFIX = ".kvg"
PIECE = 1 << 16
MOST_TRANSFERS = 64
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{1,18})?")


def make_app(
    store: Path, link: Link | None = None, most_transfers: int = MOST_TRANSFERS
) -> Starlette:
    """Return the application.

    ``GET /contexts`` lists the names, ``GET /contexts/NAME`` gives a file or one byte range of it
    (``Range: bytes=FIRST-LAST``), ``HEAD`` its size. Nothing can be written.

    Parameters
    ----------
    store : Path
        Folder of ``NAME.kvg`` files.
    link : Link, optional
        All transfers together are held to its rate.
    most_transfers : int
        Transfers at the same time; one more gets status 503.
    """
    if not store.is_dir():
        raise ConfigError(f"{store} is no folder; encode a context into it first")
    pace, active = Pacer(link) if link else None, set()

    async def contexts(_request: Request) -> Response:
        files = sorted(store.glob(f"*{SUFFIX}"))
        return JSONResponse({"contexts": {path.stem: path.stat().st_size for path in files}})

    async def context(request: Request) -> Response:
        path = _path(store, request.path_params["name"])
        size = path.stat().st_size
        first, last = _byte_range(request.headers.get("range"), size)
        partial = (first, last) != (0, size - 1)
        headers = {"Accept-Ranges": "bytes", "Content-Length": str(last - first + 1)}
        if partial:
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        status = 206 if partial else 200
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers)
        if len(active) >= most_transfers:
            raise HTTPException(503, "too many transfers at the same time; try again")
        body = _body(path, first, last, pace, active)
        kind = "application/octet-stream"
        return StreamingResponse(body, status, headers=headers, media_type=kind)

    routes = [
        Route("/contexts", contexts, methods=["GET"]),
        Route("/contexts/{name}", context, methods=["GET", "HEAD"]),
    ]
    return Starlette(routes=routes)


async def _body(
    path: Path, first: int, last: int, pace: Pacer | None, active: set[object]
) -> AsyncIterator[bytes]:
    token, left = object(), last - first + 1
    active.add(token)
    try:
        with path.open("rb") as file:
            file.seek(first)
            while left and (piece := file.read(min(PIECE, left))):
                left -= len(piece)
                if pace is not None:
                    await pace(len(piece))
                yield piece
    finally:
        active.discard(token)


def _path(store: Path, name: str) -> Path:
    path = store / f"{name}{SUFFIX}"
    if not _NAME.fullmatch(name) or not path.is_file():
        raise HTTPException(404, "no such context")
    return path


def _byte_range(header: str | None, size: int) -> tuple[int, int]:
    """First and last byte that a ``Range`` header asks for; the whole file without one."""
    if header is None:
        return 0, size - 1
    found = _RANGE.fullmatch(header.strip())
    if not found:
        raise HTTPException(400, "a range is written bytes=FIRST-LAST, one per request")
    first, last = int(found[1]), min(int(found[2] or size - 1), size - 1)
    if first > last:
        raise HTTPException(416, headers={"Content-Range": f"bytes */{size}"})
    return first, last


def serve(
    store: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8750,
    link: Link | None = None,
    allow_remote: bool = False,
) -> None:
    """Serve a folder until interrupted.

    Parameters
    ----------
    store : Path
        Folder of ``NAME.kvg`` files.
    host, port : str and int
        Where to listen.
    link : Link, optional
        Emulated link.
    allow_remote : bool
        Without it only an address of this very machine is accepted: whoever reaches the port can
        read every stored context.
    """
    import uvicorn

    if not allow_remote and not _is_loopback(host):
        raise ConfigError(
            f"host {host!r} is reachable from other machines, which could read every context; "
            "pass --allow-remote if that is meant"
        )
    uvicorn.run(make_app(store, link), host=host, port=port, log_level="warning")


@contextlib.contextmanager
def running(app: Any) -> Iterator[str]:
    """Serve an application on a free port of this machine alone, inside a ``with`` block.

    Yields
    ------
    str
        Its address, such as ``http://127.0.0.1:43211``.
    """
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError("the store did not start; its log says why")
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
