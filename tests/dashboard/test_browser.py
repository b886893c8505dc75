"""The results browser in a real web browser: served, clicked, deep-linked."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import ConfigError
from dashboard import serve

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def address(store) -> Iterator[str]:
    port = free_port()
    server = subprocess.Popen(
        serve.command(port, headless=True),
        env=serve.environment(store),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        health = f"http://127.0.0.1:{port}/_stcore/health"
        for _ in range(300):
            try:
                urllib.request.urlopen(health, timeout=1).close()
                break
            except OSError:
                assert server.poll() is None, "the server ended at once"
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=20)


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine (apt-get install chromium)")
def test_navigation_and_deep_link(address, tmp_path):
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(60_000)
        page.goto(address)
        page.get_by_text("1 of 8 claims reproduced in 2 papers").wait_for()
        page.get_by_role("link", name="Runs", exact=True).click()
        page.get_by_text("7 runs, 1 failed").wait_for()
        page.goto(f"{address}/paper?paper=beta&size=quick&target=cpu")
        page.get_by_role("heading", name="Better F1 than every baseline").wait_for()
        page.get_by_text("Beta, a <b>bold</b> $name$").first.wait_for()
        page.locator(".js-plotly-plot").first.wait_for()
        page.set_viewport_size({"width": 400, "height": 900})
        page.wait_for_function("document.documentElement.scrollWidth <= 400")
        page.screenshot(path=tmp_path / "paper.png")
        # a tile of the overview leads to its paper, in the same tab
        page.set_viewport_size({"width": 1440, "height": 900})
        page.goto(address)
        page.locator('a[title^="Better F1"]').first.click()
        page.get_by_role("heading", name="Alpha: finding stragglers").wait_for()
        assert "paper=alpha" in page.url
        browser.close()
    assert (tmp_path / "paper.png").stat().st_size > 10_000


def test_server_listens_on_loopback_alone_and_reports_nothing():
    line = serve.command(8501, headless=True)
    assert "--server.address=127.0.0.1" in line
    assert "--browser.gatherUsageStats=false" in line


def test_a_taken_port_is_said_clearly():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="--port"):
            serve.serve("sqlite:///x.db", port=taken.getsockname()[1])


def test_environment_names_the_store_and_the_package(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    environment = serve.environment("http://server:5000")
    assert environment["MLFLOW_TRACKING_URI"] == "http://server:5000"
    root, elsewhere = environment["PYTHONPATH"].split(os.pathsep)
    assert elsewhere == "/elsewhere" and (Path(root) / "dashboard" / "app.py").exists()
