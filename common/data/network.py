"""Is there a network? Asked once for every first hop, quickly, and said once."""

from __future__ import annotations

import logging
import socket
import threading
from urllib.parse import urlsplit

from requests.utils import get_environ_proxies, select_proxy

from common.errors import DataError

log = logging.getLogger(__name__)

CONNECT_SECONDS = 4.0
DEFAULT_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}

_reached: dict[tuple[str, int], str] = {}
_reached_lock = threading.Lock()


class DownloadFailed(DataError):
    """The network or the server did not give the file; another place may still have it."""


def require_network(url: str) -> None:
    """Raise :class:`DownloadFailed` if the first hop to ``url`` cannot be reached.

    The first hop is the host, or the proxy that the environment names for it. It is tried once in a
    process, for at most a few seconds; the answer is remembered and a failure logged once.
    """
    host, port = _first_hop(url)
    with _reached_lock:
        if (host, port) not in _reached:
            _reached[host, port] = reason = _try_connect(host, port)
            if reason:
                log.warning("no network: cannot reach %s:%d (%s)", host, port, reason)
    if _reached[host, port]:
        raise DownloadFailed(f"cannot reach {host}:{port} ({_reached[host, port]})")


def _first_hop(url: str) -> tuple[str, int]:
    proxy = select_proxy(url, get_environ_proxies(url))
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"
    parts = urlsplit(proxy or url)
    return parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme, 443)


def _try_connect(host: str, port: int) -> str:
    """Return why a TCP connection fails, or the empty string.

    Runs beside the caller because a name lookup has no timeout of its own.
    """
    outcome: list[str] = []

    def connect() -> None:
        try:
            socket.create_connection((host, port), CONNECT_SECONDS).close()
            outcome.append("")
        except OSError as error:
            outcome.append(error.strerror or str(error))

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    return outcome[0] if outcome else f"no answer in {CONNECT_SECONDS:g} s"
