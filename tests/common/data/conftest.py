"""A registry, a mirror, a cache and a loopback server of the test's own."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from common.data import network, registry


class Server:
    """Serves ``content`` by path on the loopback and remembers what it was asked.

    ``cut`` maps a path to the number of bytes after which its next answer breaks off; before that
    the connection stays silent for as long as ``hold`` is clear.
    """

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.cut: dict[str, int] = {}
        self.redirects: dict[str, str] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.hold = threading.Event()
        self.hold.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                path = self.path.lstrip("/")
                wanted = self.headers.get("Range")
                server.asked.append((path, wanted))
                if path in server.redirects:
                    self._answer(302, b"", {"Location": server.redirects[path]})
                elif path not in server.content:
                    self._answer(404, b"no such file")
                else:
                    body = server.content[path]
                    start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
                    if start and start >= len(body):
                        self._answer(416, b"")
                        return
                    headers = {"Content-Range": f"bytes {start}-/{len(body)}"} if start else {}
                    kept = server.cut.pop(path, None)
                    self._answer(206 if start else 200, body[start:], headers, kept)

            def _answer(self, status, body, headers=None, kept=None) -> None:
                self.send_response(status)
                for key, value in {**(headers or {}), "Content-Length": len(body)}.items():
                    self.send_header(key, str(value))
                self.end_headers()
                self.wfile.write(body[:kept])
                if kept is not None:
                    self.wfile.flush()
                    server.hold.wait(30)
                    self.close_connection = True

        return Handler


class World:
    """Folders of one test, and how to register a dataset in them."""

    def __init__(self, root: Path) -> None:
        self.registry = root / "registry"
        self.mirror = root / "mirror"
        self.cache = root / "cache"
        for folder in (self.registry, self.mirror):
            folder.mkdir()

    def register(self, name: str, files: list[dict], **keys: object) -> None:
        entry = {
            "name": name,
            "title": f"The {name} set",
            "about": "made by a test",
            "licence": "CC0-1.0",
            "redistribution": "allowed",
            "terms": "none",
            "citation": "none",
            "homepage": "https://example.org/",
            "files": files,
            **keys,
        }
        (self.registry / f"{name}.yaml").write_text(yaml.safe_dump(entry))

    def hold(self, name: str, file: str, content: bytes) -> Path:
        """Put a file into the mirror."""
        path = self.mirror / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def cached(self, name: str) -> list[str]:
        """Finished files of the cache."""
        folder = self.cache / "data" / name
        found = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
        return sorted(str(path) for path in found if not path.parts[0].startswith("."))

    @staticmethod
    def file(name: str, content: bytes, **keys: object) -> dict:
        digest = hashlib.sha256(content).hexdigest()
        return {"name": name, "bytes": len(content), "sha256": digest, **keys}


@pytest.fixture
def world(tmp_path, monkeypatch):
    made = World(tmp_path)
    monkeypatch.setattr(registry, "REGISTRY", made.registry)
    monkeypatch.setattr(network, "_reached", {})
    monkeypatch.setenv("REPRISE_DATA", str(made.mirror))
    monkeypatch.setenv("REPRISE_CACHE", str(made.cache))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("REPRISE_OFFLINE", raising=False)
    return made


@pytest.fixture
def server():
    with Server() as running:
        yield running
