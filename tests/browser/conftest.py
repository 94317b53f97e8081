"""A real Chromium that looks at a real gate; without one these tests are skipped."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live.conftest import start_gate

__all__ = ["start_gate"]

OPTIONS = [
    "--headless",
    "--remote-debugging-port=0",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]
"""Nothing is asked for but by the tests, on a machine that may have no way out."""


@pytest.fixture(scope="session")
def devtools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run one Chromium for all tests, which share nothing in it; return its DevTools address."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("there is no chromium (Debian: apt-get install chromium)")
    profile = tmp_path_factory.mktemp("chromium")
    # Chromium's own sandbox does not work for root, and in few containers at all.
    options = [*OPTIONS, "--no-sandbox"] if os.getuid() == 0 else OPTIONS
    with (profile / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, *options, f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
    try:
        yield _address(process, profile / "DevToolsActivePort")
    finally:
        process.terminate()
        process.wait(30)


def _address(process: subprocess.Popen[bytes], file: Path) -> str:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        if file.exists() and len(lines := file.read_text().split()) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(0.05)
    raise RuntimeError((file.parent / "log").read_text(errors="replace"))


@pytest.fixture
async def chromium(devtools: str) -> AsyncIterator[Any]:
    """Return the browser, driven by Playwright; what a test opens in it ends with the test."""
    playwright = pytest.importorskip(
        "playwright.async_api", reason="Playwright is not installed (pip install '.[browser]')"
    )
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.connect_over_cdp(devtools)
        yield browser
        await browser.close()
