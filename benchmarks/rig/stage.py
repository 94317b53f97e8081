"""What stands around the peers: a store, an application of two servers, an echo, people."""

from __future__ import annotations

import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from benchmarks.rig import people, traffic
from benchmarks.rig.contenders import Places, ask, render, tool, user_line
from benchmarks.rig.credentials import write_keys
from benchmarks.rig.procs import Running, free_port
from benchmarks.rig.servers import Store

TOKENS, SESSIONS = 1_000, 5_000
LARGE = 64 * 1024


class Stage:
    """All of it, running on the load's cores; and files of requests, each made once."""

    def __init__(self, directory, cores):
        self.directory = Path(directory)
        self.cores = cores
        self.store = Store(directory)
        self.private_key = rsa.generate_private_key(65537, 2048)
        ports = [free_port() for _ in range(3)]
        self.places = Places(
            *ports,
            store_port=self.store.port,
            jwks=write_keys(self.private_key, self.directory / "jwks.json"),
            pem=people.pem_of(self.private_key, directory),
        )
        self._started = [self._application(ports), self._echo(ports)]
        self.tokens = people.tokens(self.private_key, TOKENS)
        self.sessions = people.sessions(self.store.port, SESSIONS)
        self._files = {}

    def _application(self, ports):
        own = self.directory / "application"
        own.mkdir()
        values = {"first": ports[0], "second": ports[1], "user": user_line()}
        for template, name in (
            ("upstream.conf", "nginx.conf"),
            ("nginx-common.conf", "common.conf"),
        ):
            (own / name).write_text(render(template, values))
        (own / "64k.txt").write_bytes(b"x" * LARGE)
        command = [tool("nginx"), "-p", own, "-c", own / "nginx.conf", "-g", "daemon off;"]
        return Running(own, command, cores=self.cores, port=ports[0])

    def _echo(self, ports):
        own = self.directory / "echo"
        own.mkdir()
        command = [sys.executable, Path(__file__).with_name("echo.py"), ports[2]]
        return Running(own, command, cores=self.cores, port=ports[2])

    def credentials(self, kind):
        """Return header lines: of `token`, `session`, `either` (both kinds in turn)."""
        if kind == "session":
            return self.sessions
        if kind == "either":
            mixed = zip(self.tokens, self.sessions, strict=False)
            return [one for both in mixed for one in both]
        return self.tokens

    def requests(self, place, kind, headers):
        """Return the file with the requests of all people of a kind."""
        key = (place, kind, headers)
        if key not in self._files:
            made = traffic.pool(place, f"{kind}.test", self.credentials(kind), headers=headers)
            self._files[key] = self.file("-".join(key), made)
        return self._files[key]

    def file(self, name, requests):
        """Write requests as the load reads them."""
        path = self.directory / f"{name}.requests"
        path.write_bytes(traffic.packed(requests))
        return path

    def kill(self):
        for one in self._started:
            one.kill()
        self.store.kill()


def refuses(port, host, kind, good):
    """Show that a contender lets `good` in, and tells who it is, and nobody else; raise otherwise."""
    status, told = ask(port, host, good)
    if status != 200 or (kind != "none" and told != "user-0"):
        raise RuntimeError(f"a good credential: {status} {told!r}")
    if kind == "none":
        return
    for what, wrong in wrong_ones(good).items():
        status, _ = ask(port, host, wrong)
        if status not in (401, 403):
            raise RuntimeError(f"{what}: {status}")


def wrong_ones(good):
    """Return credentials that open nothing."""
    if not good.startswith("Authorization"):
        return {"no session": "", "an unknown session": good[:-1] + "x"}
    head, payload, signature = good.split(".")
    # The first character of each part: the last one holds bits that no decoder looks at.
    return {
        "no token": "",
        "another signature": f"{head}.{payload}.{_other(signature)}",
        "another's claims": f"{head}.{payload[:40]}{_other(payload[40:])}.{signature}",
        "no signature": f"{head}.{payload}.",
    }


def _other(text):
    return ("A" if text[0] != "A" else "B") + text[1:]
