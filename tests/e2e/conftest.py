"""A real aggregator with known batches, a real dashboard, headless Chromium; screenshots stay in the tmp folder."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.fleet import Fleet
from tests.support.aggregators import ROOT, Aggregator, free_port

CHROMIUM = os.environ.get("SONDE_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@contextmanager
def dashboard(sql_url: str, folder: Path) -> Iterator[str]:
    """URL of a `sonde dashboard` process that reads `sql_url`."""
    port = free_port()
    log = folder / f"dashboard-{port}.log"
    command = [sys.executable, "-m", "sonde", "dashboard", "--listen", f"127.0.0.1:{port}", "--sql-url", sql_url]
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out)
    try:
        for _ in range(600):
            assert process.poll() is None, log.read_text()
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            try:
                connection.request("GET", "/healthz")
                if connection.getresponse().status == 200:
                    break
            except OSError:
                time.sleep(0.05)
            finally:
                connection.close()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        code = process.wait(timeout=20)
        text = log.read_text()
    assert code == 0, text
    assert "Traceback" not in text, text


@pytest.fixture(scope="session")
def fleet(tmp_path_factory) -> Iterator[Fleet]:
    aggregator = Aggregator(tmp_path_factory.mktemp("aggregator")).start()
    try:
        fleet = Fleet(aggregator)
        fleet.deliver()
        yield fleet
    finally:
        aggregator.stop()


@pytest.fixture(scope="session")
def shown(fleet, tmp_path_factory) -> Iterator[str]:
    with dashboard(f"http://127.0.0.1:{fleet.aggregator.sql}", tmp_path_factory.mktemp("dashboard")) as url:
        yield url


@pytest.fixture(scope="session")
def browser():
    if not CHROMIUM:
        pytest.skip("no Chromium: apt-get install chromium, or set SONDE_CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


class Tab:
    """A page that remembers everything it should not have done."""

    def __init__(self, page, folder: Path) -> None:
        self.page, self.folder, self.wrong = page, folder, []
        page.set_default_timeout(20_000)
        page.on(
            "console", lambda m: self.wrong.append(f"{m.type}: {m.text}") if m.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: self.wrong.append(f"exception: {error}"))
        page.on("requestfailed", self._failed)
        page.on("response", lambda r: self.wrong.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        page.on("request", self._foreign)

    def _failed(self, request) -> None:
        # What is under way when a test leaves a page is given up by the browser itself.
        if request.failure != "net::ERR_ABORTED":
            self.wrong.append(f"{request.failure} {request.url}")

    def _foreign(self, request) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            self.wrong.append(f"asked another machine: {request.url}")

    def open(self, url: str):
        self.page.goto(url)
        return self.page

    def shoot(self, name: str) -> Path:
        path = self.folder / f"{name}.png"
        self.page.screenshot(path=str(path), full_page=True)
        return path


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory) -> Path:
    folder = os.environ.get("SONDE_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        return Path(folder)
    return tmp_path_factory.mktemp("screenshots")


@pytest.fixture
def tab(browser, screenshots) -> Iterator[Tab]:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    tab = Tab(page, screenshots)
    yield tab
    page.close()
    assert tab.wrong == []
