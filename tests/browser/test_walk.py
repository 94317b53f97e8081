"""What README and the demo tell people to do in a browser, done in one."""

from __future__ import annotations

import asyncio
import base64
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from proxy.core.otp import code_at
from tests.browser.test_pages import Watch
from tests.live.conftest import reader
from tests.reader import ROOT

__all__ = ["reader"]

README = (ROOT / "README.md").read_text()
WALK = README.partition("## From the sign-in to the revocation")[2].partition("**In a browser**")[0]


async def sign_in(page, url, name, password, then=None):
    """Open a page that is guarded, and be led to the sign-in; from there back to it, or `then`."""
    await page.goto(url)
    await page.wait_for_url("**/_auth/login?next=*")
    await page.fill("#username", name)
    await page.fill("#password", password)
    await page.press("#password", "Enter")
    await page.wait_for_url(then or url)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_the_walk_of_readme_in_a_browser(reader, chromium):
    """The page's own configuration: sign in and out; set an app up for a page that wants it; end it all."""
    assert 1 == await asyncio.to_thread(reader.follow, WALK)
    base = f"http://127.0.0.1:{reader.ports['8080']}"
    passwords = {
        n: (reader.directory / f"{n}.password").read_text().strip() for n in ("ada", "eve")
    }
    page = await (await chromium.new_context()).new_page()
    watch = Watch(page)
    await sign_in(page, f"{base}/account", "ada", passwords["ada"])
    assert "ada" == await page.inner_text("footer strong")

    await page.goto(f"{base}/_auth/login")
    await page.click("text=Sign out")
    await page.wait_for_selector("text=You are signed out.")

    await sign_in(page, f"{base}/admin", "eve", passwords["eve"], "**/_auth/step-up?*")
    await page.click("text=Set up an app")
    await page.wait_for_selector("text=With an authenticator app")
    await page.click("text=Set up an app")
    await page.wait_for_selector("img.qr")
    secret = base64.b32decode((await page.inner_text("main code")).replace(" ", ""))
    await page.fill("#code", code_at(secret, time.time()))
    await page.press("#code", "Enter")
    await page.wait_for_selector("ol.codes")
    await page.click("text=Continue")
    await page.wait_for_url(f"{base}/admin")
    assert "eve" == await page.inner_text("footer strong")

    await page.goto(f"{base}/_auth/sessions")
    await page.click("text=Sign out")
    await page.wait_for_selector("text=You are signed out.")
    await page.goto(f"{base}/admin")
    assert "/_auth/login?next=%2Fadmin" in page.url
    assert [] == [text for text in watch.complaints() if "Cleared data types" not in text]


@pytest.fixture
def demo():
    """Run the demo; give its address and what it printed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "proxy", "demo", "--port", str(port)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield f"http://127.0.0.1:{port}", _until_help(process)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def _until_help(process):
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("Ctrl-C ends everything"):
            return "".join(lines)
    raise AssertionError("".join(lines))


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_the_demo_in_a_browser(chromium, demo):
    """With what it prints: the sign-in, a page that wants a code, and back to that page."""
    base, printed = demo
    password = re.search(r"^  eve \(admin\), password (\S+)$", printed, re.MULTILINE)[1]
    secret = re.search(r"otpauth://totp/\S+?secret=(\w+)", printed)[1]
    page = await (await chromium.new_context()).new_page()
    await sign_in(page, f"{base}/account", "eve", password)
    await page.click("nav >> text=Admin")
    await page.wait_for_url("**/_auth/step-up?next=*")
    await page.fill("#code", code_at(base64.b32decode(secret), time.time()))
    await page.press("#code", "Enter")
    await page.wait_for_url(f"{base}/admin")
    assert "eve" == await page.inner_text("footer strong")
