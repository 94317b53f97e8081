"""Real proxies on what `latchgate emit` writes, a gate that they ask, and applications behind them.

The gates and applications run on an event loop of their own thread, so that whole modules share them.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from proxy.cli.emit import LUA, written
from proxy.config.addresses import Address
from proxy.edge.decision import DecisionServer
from proxy.edge.server import GateServer
from proxy.services.runtime import Runtime, load

PROXIES = ("nginx", "traefik", "caddy", "envoy", "haproxy")
START_S = 30.0
PACKAGES = {"nginx": "apt-get install nginx-light", "haproxy": "apt-get install haproxy"}


def tool(name):
    """Return the path of a program: of this environment, or of the system; `None` without it."""
    if name == "envoy":  # the wheel's command is a script around it
        found = importlib.util.find_spec("envoy")
        path = Path(found.origin).parent / "_bin" / "envoy" if found and found.origin else None
        if path is not None and path.exists():
            return str(path)
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin"]
    return shutil.which(name, path=os.pathsep.join(places))


def missing(name):
    """Say why a proxy cannot be started here; nothing where it can."""
    how = PACKAGES.get(name, "pip install '.[edges]'")
    return "" if tool(name) else f"{name} is not installed: {how}, as .ci/run does"


def bound(port=0, path=None):
    """Return a socket that listens on a port, on a free one, or at a path."""
    if path is not None:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(path))
        sock.listen(128)
        return sock
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen(128)
    return sock


def free_port():
    """Return a port that is free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Answer:
    """What a client got."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def values(self, name):
        """Return every value of a header."""
        return [value for key, value in self.headers if key == name]

    @property
    def seen(self):
        """What the application saw of the request; `None` where it never came there."""
        if "x-application" not in {key for key, _ in self.headers}:
            return None
        return json.loads(self.values("x-seen")[0])


def exchange(port, raw, patience_s=10.0):
    """Send a request on a connection of its own; return the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=patience_s) as sock:
        sock.sendall(raw)
        data = b""
        while chunk := sock.recv(65536):
            data += chunk
            if is_whole(data):
                break
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = [line.partition(":") for line in lines]
    pairs = [(name.lower(), value.strip()) for name, _, value in headers]
    if ("transfer-encoding", "chunked") in pairs:
        body = unchunked(body)
    return Answer(int(first.split()[1]) if first else 0, pairs, body)


def is_whole(data):
    """Tell whether an answer is there to its end, as far as it says where that is."""
    head, end, body = data.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    if not end:
        return False
    if lines[0].split()[1] in (b"101", b"204"):
        return True
    length = next((line[16:] for line in lines if line.startswith(b"content-length: ")), None)
    if length is not None:
        return len(body) >= int(length)
    return b"transfer-encoding: chunked" in lines and body.endswith(b"0\r\n\r\n")


def _address(sock):
    return "{}:{}".format(*sock.getsockname())


async def _remove(directories):
    for directory in directories:
        shutil.rmtree(directory)


def unchunked(body):
    """Return what chunks carry."""
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        if not length:
            break
        whole += body[:length]
        body = body[length + 2 :]
    return whole


async def echo(name, request):
    """Tell what came, as it came; switch protocols where that is asked for."""
    seen = {
        "app": name,
        "method": request.method,
        "target": request.raw_path,
        "headers": [
            [name.decode("latin-1").lower(), value.decode("latin-1")]
            for name, value in request.raw_headers
        ],
    }
    told = {"X-Application": name, "X-Seen": json.dumps(seen)}
    if request.headers.get("Upgrade", "").lower() == "websocket":
        ws = web.WebSocketResponse()
        ws.headers.update(told)
        await ws.prepare(request)
        await ws.close()
        return ws
    return web.json_response(seen, headers=told)


@dataclass
class Rig:
    """Two gates under one configuration: one that forwards, and one that proxies ask."""

    directory: Path
    text: str
    """The configuration, with `@listen@`, `@decision@`, `@from@`, `@dialect@`, `@app@`, `@api@`, `@trusted@`."""
    sockets: bool = False
    """True where questions come by unix sockets."""
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    ports: dict[str, int] = field(default_factory=dict)
    configs: dict[str, object] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    records: list = field(default_factory=list)
    _asking: dict = field(default_factory=dict)
    _deciding: dict = field(default_factory=dict)
    _closing: list = field(default_factory=list)
    _processes: dict = field(default_factory=dict)

    def __enter__(self):
        """Start both gates and the applications."""
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.run(self._start())
        return self

    def __exit__(self, *_):
        """End everything, the proxies first."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.wait()
        self.run(self._stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def run(self, work):
        """Await something in the rig's own loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(START_S)

    async def _start(self):
        places = {}
        for name in ("app", "api"):
            application = web.Application()
            application.router.add_route("*", "/{tail:.*}", functools.partial(echo, name))
            runner = web.AppRunner(application, access_log=None)
            await runner.setup()
            sock = bound()
            await web.SockSite(runner, sock).start()
            self._closing.append(runner.cleanup)
            places[name] = sock.getsockname()[1]
        alone, edge = bound(), bound()
        # A path has room for 107 bytes, and the directory may be deep.
        paths = {name: Path(tempfile.mkdtemp(prefix="lge-")) / "s" for name in PROXIES}
        self._closing.append(functools.partial(_remove, [path.parent for path in paths.values()]))
        asked = {name: bound(path=paths[name] if self.sockets else None) for name in PROXIES}
        self.ports["gate"], self.ports["pages"] = alone.getsockname()[1], edge.getsockname()[1]
        for name, sock in asked.items():
            values = {
                **places,
                "listen": self.ports["pages"],
                "decision": f"unix:{paths[name]}" if self.sockets else _address(sock),
                "from": "unix" if self.sockets else "127.0.0.1",
                "dialect": name,
                "trusted": "127.0.0.1",
            }
            self.configs[name], self.files[name] = self._load(name, values)
        values |= {"listen": self.ports["gate"], "trusted": ""}
        config, _ = self._load("gate", values)
        await self._serve(config, alone)
        runtime, server = await self._serve(self.configs["nginx"], edge)
        for name, sock in asked.items():
            section = self.configs[name].config.decision
            self._asking[name] = (runtime, section, server.counters)
            await self._answer(name, sock)

    async def _answer(self, name, sock):
        decision = DecisionServer(*self._asking[name], self.records.append)
        await decision.start([sock])
        self._deciding[name] = decision

    @contextlib.contextmanager
    def silent(self, name):
        """Have nobody answer one proxy's questions for a while."""
        port = self.configs[name].config.decision.listen.port
        self.run(self._deciding[name].drain(0.0))
        try:
            yield
        finally:
            self.run(self._answer(name, bound(port)))

    def last_record(self, path):
        """Return the last log line about a path, once everything that was answered is logged."""
        self.run(asyncio.sleep(0.01))
        return next(record for record in reversed(self.records) if record.path == path)

    def _load(self, name, values):
        text = self.text
        for key, value in values.items():
            text = text.replace(f"@{key}@", str(value))
        file = self.directory / f"{name}.yaml"
        file.write_text(text)
        return load(file), file

    async def _serve(self, loaded, sock):
        runtime = await Runtime.start(loaded, watches_revocations=True)
        server = GateServer(runtime, access_log=self.records.append)
        await server.start([sock])
        self._closing.append(runtime.close)
        self._closing.append(lambda: server.drain(1.0))
        self.runtime = runtime
        return runtime, server

    async def _stop(self):
        for decision in self._deciding.values():
            await decision.drain(1.0)
        for close in reversed(self._closing):
            with contextlib.suppress(Exception):
                await close()

    # Proxies

    def proxy(self, name):
        """Start a proxy on what `emit` writes, if it does not run; return its port."""
        if name == "gate":
            return self.ports["gate"]
        if name not in self._processes:
            self.ports[name] = free_port()
            directory = self.directory / name
            directory.mkdir()
            command, environment = getattr(self, f"_{name}")(directory)
            with (directory / "output").open("wb") as log:
                self._processes[name] = subprocess.Popen(
                    [str(part) for part in command],
                    cwd=directory,
                    env={**os.environ, **environment},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            self._await_start(name, directory)
        return self.ports[name]

    def emitted(self, name, **options):
        """Return what `latchgate emit` writes for a proxy on its port."""
        listen = Address("127.0.0.1", self.ports[name])
        config = self.configs[name].config
        return written(config, name, file="latchgate.yaml", listen=listen, **options)

    def _await_start(self, name, directory):
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            if self._processes[name].poll() is not None:
                break
            with contextlib.suppress(OSError):
                raw = b"GET /public/a HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n"
                if exchange(self.ports[name], raw).seen is not None:
                    return
            time.sleep(0.02)
        output = (directory / "output").read_text(errors="replace")[-3000:]
        raise AssertionError(f"{name} does not serve: {output}")

    def _nginx(self, directory):
        (directory / "latchgate.conf").write_text(self.emitted("nginx"))
        user = "user root;" if os.geteuid() == 0 else ""
        (directory / "nginx.conf").write_text(
            f"daemon off; master_process off; pid nginx.pid; {user} error_log stderr notice;\n"
            "events {}\nhttp { access_log off; client_body_temp_path body; proxy_temp_path proxy;\n"
            "fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s; include latchgate.conf; }\n"
        )
        own = f"{directory}/"
        return [tool("nginx"), "-p", own, "-c", f"{own}nginx.conf", "-e", "stderr"], {}

    def _traefik(self, directory):
        (directory / "routes.yaml").write_text(self.emitted("traefik"))
        (directory / "traefik.yaml").write_text(
            json.dumps(
                {
                    "entryPoints": {"web": {"address": f"127.0.0.1:{self.ports['traefik']}"}},
                    "providers": {"file": {"filename": "routes.yaml", "watch": False}},
                    "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
                }
            )
        )
        return [tool("traefik"), "--configFile=traefik.yaml"], {"GOMAXPROCS": "1"}

    def _caddy(self, directory):
        (directory / "Caddyfile").write_text(
            "{\n\tadmin off\n\tauto_https off\n\tpersist_config off\n}\n" + self.emitted("caddy")
        )
        own = str(directory)
        command = [tool("caddy"), "run", "--adapter", "caddyfile", "--config", "Caddyfile"]
        return command, {"GOMAXPROCS": "1", "XDG_DATA_HOME": own, "XDG_CONFIG_HOME": own}

    def _envoy(self, directory):
        (directory / "envoy.yaml").write_text(self.emitted("envoy"))
        quiet = ["--log-level", "warning", "--disable-hot-restart", "--concurrency", "1"]
        return [tool("envoy"), "-c", "envoy.yaml", *quiet], {}

    def _haproxy(self, directory):
        (directory / LUA).write_text(self.emitted("haproxy", is_lua=True))
        (directory / "haproxy.cfg").write_text(self.emitted("haproxy"))
        return [tool("haproxy"), "-db", "-f", "haproxy.cfg"], {}
