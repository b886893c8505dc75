"""Start the results browser on this machine alone."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path

from common.errors import ConfigError, require
from common.plotting import PALETTE
from common.tracking.connection import tracking_uri

HERE = Path(__file__).resolve().parent
HOST = "127.0.0.1"


def serve(uri: str | None = None, port: int = 8501, headless: bool = False) -> int:
    """Serve the results browser until it is interrupted.

    Parameters
    ----------
    uri : str, optional
        Tracking URI; by default as :func:`common.tracking.tracking_uri` finds it.
    port : int
        Port on 127.0.0.1; nobody else on the network can see the pages.
    headless : bool
        Do not open a web browser.

    Returns
    -------
    int
        Exit status of the server; 0 when it was interrupted.

    Raises
    ------
    ConfigError
        If the port is taken.
    MissingExtra
        If Streamlit, plotly or MLflow is not installed.
    """
    for module, extra in (("streamlit", "dash"), ("plotly", "dash"), ("mlflow", "track")):
        if importlib.util.find_spec(module) is None:
            require(module, extra)
    _check_free(port)
    sys.stdout.write(f"results browser: http://{HOST}:{port} (Ctrl+C ends it)\n")
    sys.stdout.flush()
    try:
        return subprocess.run(
            command(port, headless), env=environment(tracking_uri(uri)), check=False
        ).returncode
    except KeyboardInterrupt:
        return 0


def command(port: int, headless: bool) -> list[str]:
    """Command line of the server."""
    options = {
        "server.address": HOST,
        "server.port": port,
        "server.headless": str(headless).lower(),
        "server.fileWatcherType": "none",
        "server.showEmailPrompt": "false",
        # Streamlit's advertisement goes with its welcome; `serve` says the address itself.
        "logger.hideWelcomeMessage": "true",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal",
        # Pages say what they show; Streamlit need not look for values that stand alone.
        "runner.magicEnabled": "false",
        # One colour for both would force the light theme on everybody, and no blue is legible on
        # white and on black.
        "theme.light.primaryColor": PALETTE[0],
        "theme.dark.primaryColor": PALETTE[5],
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "dashboard", "run", str(HERE / "app.py"), *flags]


def environment(uri: str) -> dict[str, str]:
    """Environment of the server: which store it shows, and where this package is."""
    paths = [str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "MLFLOW_TRACKING_URI": uri,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"port {port} on {HOST} cannot be used ({error}); pass another with --port"
            ) from error
