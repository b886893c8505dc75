"""The results browser in a real web browser, in front of a tracking server as a lab has one."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from common.errors import ConfigError
from dashboard import serve

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
CONTRAST = Path(__file__).with_name("contrast.js").read_text().partition("\n")[2].rstrip(";\n")
WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 400, "height": 900}
HEADINGS = {
    "Overview": "Which claims stood?",
    "Paper": "Provenance",
    "Explore": "Explore",
    "Compare": "Claims side by side",
    "Runs": "Configuration",
}
browser_test = pytest.mark.browser


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def served(command: list[str], health: str, **options: object) -> Iterator[None]:
    """Run a server while the block runs, which begins once the server answers."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(command, **quiet, **options)
    try:
        for _ in range(900):
            try:
                urllib.request.urlopen(health, timeout=1).close()
                break
            except OSError:
                assert server.poll() is None, "the server ended at once"
                time.sleep(0.1)
        yield
    finally:
        server.terminate()
        server.wait(timeout=30)


@pytest.fixture(scope="module")
def remote(store, tmp_path_factory) -> Iterator[str]:
    """The tracking server of a lab: artifacts come from it, not from a folder that both see."""
    root, port = tmp_path_factory.mktemp("server"), free_port()
    source = Path(store.removeprefix("sqlite:///")).parent
    shutil.copy(source / "mlflow.db", root / "mlflow.db")
    shutil.copytree(source / "mlartifacts", root / "artifacts")
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as database, database:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            change = f"update {table} set {column} = replace({column}, ?, 'mlflow-artifacts:/')"
            database.execute(change, (f"{(source / 'mlartifacts').as_uri()}/",))
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1"]
    command += ["--port", str(port), "--backend-store-uri", f"sqlite:///{root / 'mlflow.db'}"]
    command += ["--artifacts-destination", (root / "artifacts").as_uri()]
    # Without the processes that wait for jobs which nobody gives it.
    options = {"cwd": root, "env": {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}}
    with served(command, f"http://127.0.0.1:{port}/health", **options):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def address(remote) -> Iterator[str]:
    port = free_port()
    command = serve.command(port, headless=True)
    health = f"http://127.0.0.1:{port}/_stcore/health"
    with served(command, health, env=serve.environment(remote)):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def page(address) -> Iterator[Page]:
    """One page for all tests: each opens what it needs, by a click where that will do."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport=WIDE)
        page.set_default_timeout(60_000)
        yield page
        browser.close()


def turn_to(page: Page, name: str) -> None:
    """Open a page by its link, and wait until it stands."""
    page.get_by_role("link", name=name, exact=True).click()
    page.get_by_role("heading", name=HEADINGS[name]).wait_for()
    page.wait_for_selector(".stApp[data-test-script-state=notRunning]")


@browser_test
def test_every_page_is_one_click_away_legible_in_both_themes_and_fits_a_telephone(address, page):
    page.goto(address)
    page.get_by_text("1 verdict moved since the commit before").wait_for()
    for name, says in (
        ("Overview", "1 of 8 claims reproduced in 2 papers"),
        ("Paper", "F1 by method."),
        ("Explore", "Numbers"),
        ("Compare", "Ratio to a baseline"),
        ("Runs", "8 runs, 1 failed"),
    ):
        steps = page.evaluate("history.length")
        turn_to(page, name)
        page.get_by_text(says).first.wait_for()
        # The page, and its choices all at once: two steps back are enough.
        assert page.evaluate("history.length") <= steps + 2
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            assert illegible(page) == [], (name, theme)
        page.set_viewport_size(NARROW)
        page.wait_for_function("document.documentElement.scrollWidth <= innerWidth")
        page.set_viewport_size(WIDE)


def illegible(page: Page) -> list[tuple[float, str]]:
    """Text with too little contrast, once the theme has faded in."""
    from playwright.sync_api import TimeoutError

    with contextlib.suppress(TimeoutError):
        page.wait_for_function(f"!({CONTRAST})().length", timeout=5_000, polling=250)
    return page.evaluate(CONTRAST)


@browser_test
def test_a_number_leads_to_its_run(address, page):
    page.goto(f"{address}/paper?paper=beta&size=quick&target=cpu")
    page.get_by_role("heading", name="Better F1 than every baseline").wait_for()
    page.get_by_text("Beta, a <b>bold</b> $name$").first.wait_for()
    page.get_by_role("img", name=re.compile("accepted ≥ 0.05")).first.wait_for()
    page.get_by_role("link", name="run of prediction").first.click()
    page.get_by_role("heading", name="beta / prediction").wait_for()
    page.get_by_text("Configuration").wait_for()


@browser_test
def test_a_tile_leads_to_its_claim_by_keyboard(address, page):
    page.goto(address)
    tile = page.locator('a[title^="Better F1"]').first
    tile.wait_for()
    tile.focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    assert tile.evaluate("tile => tile === document.activeElement")
    assert tile.evaluate("tile => getComputedStyle(tile).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Alpha: finding stragglers").wait_for()
    assert "paper=alpha" in page.url


@browser_test
def test_filters_narrow_and_stay_in_the_address(address, page):
    page.goto(f"{address}/?data=synthetic")
    page.get_by_text("0 of 2 claims reproduced in 1 paper").wait_for()
    page.goto(f"{address}/runs?status=failed")
    page.get_by_role("heading", name="beta / cost").wait_for()
    page.get_by_text("ValueError: 3 is not <b>2</b>").first.wait_for()
    turn_to(page, "Explore")
    lines = page.locator(".js-plotly-plot .legendtext")
    lines.first.wait_for()
    assert set(lines.all_text_contents()) == {"ours", "trees"}
    page.get_by_role("button", name="trees").click()
    page.wait_for_function("document.querySelectorAll('.scatterlayer .trace').length == 1")


@browser_test
def test_figures_are_drawn_and_what_is_folded_up_opens(address, page):
    page.goto(f"{address}/paper?paper=alpha&size=quick&target=cpu")
    page.get_by_role("img", name="F1 by method").scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('.figures img').naturalWidth > 100")
    page.get_by_text("The whole paper card").click()
    page.get_by_text("The idea in five lines.").wait_for()
    turn_to(page, "Explore")
    page.get_by_text("Numbers").click()
    page.locator("[data-testid=stDataFrame] canvas").first.wait_for()


@browser_test
def test_downloads(address, page):
    page.goto(f"{address}/paper?paper=alpha")
    for name, button, begins in (
        ("Paper", "CSV", b"paper,claim"),
        ("Paper", "PNG", b"\x89PNG"),
        ("Compare", "LaTeX table", b"% needs"),
        ("Explore", "CSV", b"line,x,y"),
    ):
        turn_to(page, name)
        with page.expect_download() as caught:
            page.get_by_role("button", name=button, exact=True).first.click()
        assert Path(caught.value.path()).read_bytes().startswith(begins)


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
