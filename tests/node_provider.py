"""npm's `oidc-provider`, a certified OpenID provider, as a process of its own.

`python -m tests.node_provider` installs it, and what applications in tests/live/applications need
of npm, as `.ci/run` does. It is put into a cache outside of the
repository, by the lock file; where Node or the network is not there, the tests say so and are skipped.
"""

from __future__ import annotations

import asyncio
import hashlib
import html
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urljoin, urlsplit

HERE = Path(__file__).parent / "live" / "provider"
APPLICATIONS = Path(__file__).parent / "live" / "applications" / "node"
FILES = ("package.json", "package-lock.json", ".npmrc")
INSTALL_S = 120
START_S = 30
OLDEST_NODE = 20


class NotHere(Exception):
    """The provider cannot be run on this machine; the text says why."""


def installed(packages: Path = HERE) -> Path:
    """Return the directory in which the packages are installed; raises `NotHere`."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise NotHere("node and npm are not installed")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    if int(re.sub(r"\D.*", "", version.stdout.strip().lstrip("v")) or 0) < OLDEST_NODE:
        raise NotHere(f"node is older than {OLDEST_NODE}")
    lock = hashlib.sha256((packages / "package-lock.json").read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "latchgate-tests"
    place = cache / f"{packages.name}-{lock}"
    if not (place / "node_modules").is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        _install(npm, place, packages)
    return place


def _install(npm: str, place: Path, packages: Path) -> None:
    """Install beside the place and move it there whole: test runs may do so at once."""
    with tempfile.TemporaryDirectory(dir=place.parent) as draft:
        for name in FILES:
            shutil.copy(packages / name, draft)
        command = [npm, "ci", "--ignore-scripts", "--omit=dev"]
        try:
            done = subprocess.run(
                command, cwd=draft, capture_output=True, text=True, timeout=INSTALL_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise NotHere("npm ci did not end in time") from None
        if done.returncode:
            reason = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise NotHere(f"npm ci failed: {reason[-1] if reason else done.returncode}")
        try:
            Path(draft).rename(place)
            Path(draft).mkdir()  # what the context manager removes
        except OSError:
            if not (place / "node_modules").is_dir():
                raise


class NodeProvider:
    """The running provider."""

    def __init__(self, process: asyncio.subprocess.Process, issuer: str) -> None:
        self._process = process
        self.issuer = issuer

    @classmethod
    async def start(cls, place: Path) -> NodeProvider:
        """Start it; it answers once it was told its client."""
        shutil.copy(HERE / "provider.mjs", place)
        process = await asyncio.create_subprocess_exec(
            "node",
            "provider.mjs",
            cwd=place,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        async with asyncio.timeout(START_S):
            issuer = (await process.stdout.readline()).decode().strip()
        assert issuer.startswith("http://127.0.0.1:"), issuer
        return cls(process, issuer)

    async def serve(self, client: dict[str, object]) -> None:
        """Tell it the one client that it has, and wait until it answers."""
        self._process.stdin.write(json.dumps(client).encode() + b"\n")
        async with asyncio.timeout(START_S):
            while (line := await self._process.stdout.readline()).strip() != b"ready":
                assert line, "the provider ended"

    async def stop(self) -> None:
        """End it, as its input ends."""
        if self._process.returncode is None:
            self._process.stdin.close()
            try:
                async with asyncio.timeout(5):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()


async def run_client(place: Path, script: str, told: dict[str, object]) -> dict[str, object]:
    """Run a client of its own from beside the provider, and return what it says in the end."""
    shutil.copy(HERE / script, place)
    process = await asyncio.create_subprocess_exec(
        "node",
        script,
        cwd=place,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(START_S):
            said, wrong = await process.communicate(json.dumps(told).encode() + b"\n")
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, wrong.decode()[-2000:]
    return json.loads(said)


async def led(session, url, *, ends_at=None, **fields):
    """Go where a provider leads, filling in its forms, until it leads back; return that address.

    `fields` are typed into forms that ask for them; `ends_at` is a path of the provider's own.
    """
    home = url.split("/", 3)[2]
    method, data = "GET", None
    for _ in range(20):
        async with session.request(method, url, data=data, allow_redirects=False) as answer:
            text = await answer.text()
            location = answer.headers.get("Location")
        if location is not None:
            url, method, data = urljoin(url, location), "GET", None
            if url.split("/", 3)[2] != home or urlsplit(url).path == ends_at:
                return url
            continue
        form = re.search(r'(?s)<form[^>]*action="([^"]*)".*?</form>', text)
        assert form is not None, (answer.status, text[:2000])
        url = urljoin(url, html.unescape(form[1]))
        names = re.findall(r'<(?:input|button)[^>]*\bname="([^"]*)"[^>]*', text)  # buttons too
        given = dict(re.findall(r'name="([^"]*)"[^>]*\bvalue="([^"]*)"', form[0]))
        given |= {name: html.unescape(value) for name, value in given.items()}
        data = given | {name: value for name, value in fields.items() if name in names}
        method = "POST"
    raise AssertionError("the provider leads in circles")


if __name__ == "__main__":
    try:
        for packages in (HERE, APPLICATIONS):
            sys.stdout.write(f"{installed(packages)}\n")
    except NotHere as reason:
        sys.stdout.write(f"skipped: {reason}\n")
